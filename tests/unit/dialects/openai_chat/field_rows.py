"""What becomes of each field of a chat request, but for its messages and tools."""

from proxy.dialects.common import AnswerForm
from tests.unit.dialects.openai_chat.rows import (
    ADAPTIVE,
    CLOSED,
    EPHEMERAL,
    HAIKU_45,
    HAIKU_55,
    HOUR,
    JSON_SENTENCE,
    OPEN_SCHEMA,
    OPEN_TEXT,
    OPUS_5,
    SCHEMA,
    SONNET,
    SONNET_46,
    TOOL,
    F,
    Row,
    said,
    text_block,
    turns,
    user,
    with_schema,
)

FIELD_ROWS: dict[str, Row] = {
    "audio": Row(sent={"audio": {"voice": "x"}}, dropped=("audio",)),
    "cache_control": Row(sent={"cache_control": EPHEMERAL}, up={"cache_control": EPHEMERAL}),
    "frequency_penalty": Row(sent={"frequency_penalty": 0.5}, dropped=("frequency_penalty",)),
    "functions": Row(
        sent={"functions": [{"name": "f"}]},
        up={"tools": [TOOL], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        form=AnswerForm(legacy_call=True),
    ),
    "function_call none": Row(
        sent={"functions": [{"name": "f"}], "function_call": "none"},
        up={"tools": [TOOL], "tool_choice": {"type": "none"}},
        form=AnswerForm(legacy_call=True),
    ),
    "function_call named": Row(
        sent={"functions": [{"name": "f"}], "function_call": {"name": "f"}},
        up={
            "tools": [TOOL],
            "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
        },
        model=OPUS_5,
        form=AnswerForm(legacy_call=True),
    ),
    "function_call unknown": Row(
        sent={"functions": [{"name": "f"}], "function_call": {"name": "g"}}, refused="function_call.name"
    ),
    "function_call required": Row(
        sent={"functions": [{"name": "f"}], "function_call": "required"}, refused="function_call"
    ),
    "logit_bias": Row(sent={"logit_bias": {"1": 1}}, dropped=("logit_bias",)),
    "logprobs": Row(sent={"logprobs": True, "top_logprobs": 2}, dropped=("logprobs", "top_logprobs")),
    "max_completion_tokens": Row(
        sent={"max_completion_tokens": 5000, "max_tokens": 6000}, up={"max_tokens": 5000}
    ),
    "max_tokens": Row(sent={"max_tokens": 6000}, up={"max_tokens": 6000}),
    "max_tokens above the model's": Row(
        sent={"max_tokens": 999_999}, up={"max_tokens": 64_000}, model=HAIKU_45
    ),
    "max_tokens small, always thinking": Row(
        sent={"max_tokens": 256}, up={"max_tokens": 256, "output_config": {"effort": "low"}}
    ),
    "max_tokens small, not thinking": Row(
        sent={"max_tokens": 256}, up={"max_tokens": 256}, model="claude-opus-4-8"
    ),
    "messages empty": Row(sent={"messages": []}, refused="messages"),
    "metadata": Row(sent={"metadata": {"a": "b"}}, dropped=("metadata",)),
    "modalities text": Row(sent={"modalities": ["text"]}),
    "modalities audio": Row(sent={"modalities": ["text", "audio"]}, refused="modalities"),
    "moderation": Row(sent={"moderation": {"a": 1}}, dropped=("moderation",)),
    "n one": Row(sent={"n": 1}),
    "n two": Row(sent={"n": 2}, refused="n"),
    "parallel_tool_calls": Row(
        sent={"tools": [F], "parallel_tool_calls": False},
        up={"tools": [TOOL], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
    ),
    "prediction": Row(sent={"prediction": {"type": "content", "content": "x"}}, dropped=("prediction",)),
    "presence_penalty": Row(sent={"presence_penalty": 0.5}, dropped=("presence_penalty",)),
    "prompt_cache_key": Row(sent={"prompt_cache_key": "k"}),
    "prompt_cache_options implicit": Row(
        sent={"prompt_cache_options": {"mode": "implicit"}}, up={"cache_control": EPHEMERAL}
    ),
    "prompt_cache_options for long": Row(
        sent={"prompt_cache_options": {"mode": "implicit", "ttl": "30m"}}, up={"cache_control": HOUR}
    ),
    "prompt_cache_options explicit": Row(sent={"prompt_cache_options": {"mode": "explicit", "ttl": "30m"}}),
    "prompt_cache_retention 24h": Row(sent={"prompt_cache_retention": "24h"}, up={"cache_control": HOUR}),
    "prompt_cache_retention in_memory": Row(sent={"prompt_cache_retention": "in_memory"}),
    "prompt_cache_breakpoint": Row(
        sent=user(
            text_block("a", prompt_cache_breakpoint={"mode": "explicit", "ttl": "12h"}), text_block("b")
        ),
        up=turns(said(text_block("a", cache_control=HOUR), text_block("b"))),
    ),
    "reasoning effort": Row(
        sent={"reasoning": {"effort": "low"}}, up={"thinking": ADAPTIVE, "output_config": {"effort": "low"}}
    ),
    "reasoning budget": Row(
        sent={"reasoning": {"max_tokens": 8000}},
        up={"thinking": ADAPTIVE, "output_config": {"effort": "medium"}},
    ),
    "reasoning off": Row(
        sent={"reasoning": {"enabled": False}}, up={"thinking": {"type": "disabled"}}, model=OPUS_5
    ),
    "reasoning budget, manual": Row(
        sent={"reasoning": {"max_tokens": 3000}},
        up={"max_tokens": 19_000, "thinking": {"type": "enabled", "budget_tokens": 3000}},
        model=HAIKU_45,
    ),
    "response_format text": Row(sent={"response_format": {"type": "text"}}),
    "response_format json_object": Row(
        sent={"response_format": {"type": "json_object"}},
        up={"system": [text_block(JSON_SENTENCE)]},
        form=AnswerForm(unfence=True),
    ),
    "response_format json_schema": Row(
        sent=with_schema(SCHEMA),
        up={"output_config": {"format": {"type": "json_schema", "schema": CLOSED}}},
    ),
    "response_format json_schema that does not compile": Row(
        sent=with_schema(OPEN_SCHEMA),
        up={
            "tools": [
                {
                    "name": "n",
                    "input_schema": OPEN_SCHEMA,
                    "description": "Give your answer by calling this tool.",
                }
            ],
            "tool_choice": {"type": "tool", "name": "n", "disable_parallel_tool_use": True},
        },
        dropped=("response_format.json_schema.schema",),
        model=OPUS_5,
        form=AnswerForm(text_tool="n"),
    ),
    "response_format json_schema that nothing compels": Row(
        sent=with_schema(OPEN_SCHEMA),
        up={
            "system": [text_block(f"{JSON_SENTENCE} It has to follow this JSON schema:\n{OPEN_TEXT}")],
        },
        dropped=("response_format.json_schema.schema",),
        form=AnswerForm(unfence=True),
    ),
    "response_format unknown": Row(
        sent={"response_format": {"type": "grammar"}}, refused="response_format.type"
    ),
    "response_format without a schema": Row(
        sent={"response_format": {"type": "json_schema"}}, refused="response_format.json_schema"
    ),
    "response_format with no schema": Row(
        sent=with_schema([1]), refused="response_format.json_schema.schema"
    ),
    "safety_identifier": Row(
        sent={"safety_identifier": "a", "user": "b"},
        up={"metadata": {"user_id": "55b3a7d26476f7599bfba1ad02451503"}},
        dropped=("user",),
    ),
    "seed": Row(sent={"seed": 1}, dropped=("seed",)),
    "service_tier default": Row(sent={"service_tier": "default"}, up={"service_tier": "standard_only"}),
    "service_tier flex": Row(sent={"service_tier": "flex"}, up={"service_tier": "standard_only"}),
    "service_tier auto": Row(sent={"service_tier": "auto"}),
    "service_tier priority": Row(sent={"service_tier": "priority"}),
    "service_tier fast": Row(sent={"service_tier": "fast"}, up={"speed": "fast"}),
    "service_tier fast without": Row(sent={"service_tier": "fast"}, dropped=("service_tier",), model=SONNET),
    "stop text": Row(sent={"stop": "x"}, up={"stop_sequences": ["x"]}),
    "stop blank": Row(sent={"stop": [" ", "\n"]}),
    "store": Row(sent={"store": True}, dropped=("store",)),
    "stream_options": Row(sent={"stream_options": {"include_usage": True}}),
    "stream_options.include_obfuscation": Row(
        sent={"stream_options": {"include_obfuscation": True}},
        dropped=("stream_options.include_obfuscation",),
    ),
    "temperature": Row(sent={"temperature": 1.7}, up={"temperature": 1.0}, model=SONNET_46),
    "temperature not taken": Row(sent={"temperature": 0.2}, dropped=("temperature",)),
    "temperature of defaults only": Row(sent={"temperature": 0.2}, dropped=("temperature",), model=HAIKU_55),
    "temperature with thinking": Row(
        sent={"temperature": 0.2, "reasoning_effort": "low"},
        up={"thinking": ADAPTIVE, "output_config": {"effort": "low"}},
        dropped=("temperature",),
        model=SONNET_46,
    ),
    "temperature null": Row(sent={"temperature": None}, model=SONNET_46),
    "top_p": Row(sent={"top_p": 0.5}, up={"top_p": 0.5}, model=SONNET_46),
    "top_p with temperature": Row(
        sent={"top_p": 0.5, "temperature": 0.5},
        up={"temperature": 0.5},
        dropped=("top_p",),
        model=SONNET_46,
    ),
    "top_k": Row(sent={"top_k": 5}, up={"top_k": 5}, model=SONNET_46),
    "top_k not taken": Row(sent={"top_k": 5}, dropped=("top_k",)),
    "thinking wins": Row(
        sent={"thinking": {"type": "disabled"}, "reasoning_effort": "high"},
        up={"thinking": {"type": "disabled"}},
        model=OPUS_5,
    ),
    "thinking enabled on an adaptive model": Row(
        sent={"thinking": {"type": "enabled", "budget_tokens": 20_000}},
        up={"thinking": ADAPTIVE, "output_config": {"effort": "xhigh"}},
    ),
    "thinking adaptive on a manual model": Row(
        sent={"thinking": {"type": "adaptive"}},
        up={"max_tokens": 24_192, "thinking": {"type": "enabled", "budget_tokens": 8192}},
        model=HAIKU_45,
    ),
    "effort none, adaptive only": Row(
        sent={"reasoning_effort": "none"}, up={"output_config": {"effort": "low"}}
    ),
    "effort none, between tools": Row(
        sent={"reasoning_effort": "none"}, up={"thinking": {"type": "between_tools"}}, model=SONNET
    ),
    "effort none, disabled": Row(
        sent={"reasoning_effort": "none"}, up={"thinking": {"type": "disabled"}}, model=SONNET_46
    ),
    "effort none, manual": Row(sent={"reasoning_effort": "none"}, model=HAIKU_45),
    "effort minimal": Row(
        sent={"reasoning_effort": "minimal"},
        up={"thinking": ADAPTIVE, "output_config": {"effort": "low"}},
    ),
    "effort minimal, manual": Row(sent={"reasoning_effort": "minimal"}, model=HAIKU_45),
    "effort high": Row(
        sent={"reasoning_effort": "high"}, up={"thinking": ADAPTIVE, "output_config": {"effort": "high"}}
    ),
    "effort xhigh of 4.6": Row(
        sent={"reasoning_effort": "xhigh"},
        up={"thinking": ADAPTIVE, "output_config": {"effort": "high"}},
        model=SONNET_46,
    ),
    "effort low, manual": Row(
        sent={"reasoning_effort": "low", "max_tokens": 500},
        up={"max_tokens": 2548, "thinking": {"type": "enabled", "budget_tokens": 2048}},
        model=HAIKU_45,
    ),
    "user": Row(sent={"user": "a"}, up={"metadata": {"user_id": "55b3a7d26476f7599bfba1ad02451503"}}),
    "verbosity low": Row(sent={"verbosity": "low"}, up={"system": [text_block("Keep your answers short.")]}),
    "verbosity medium": Row(sent={"verbosity": "medium"}),
    "web_search_options": Row(sent={"web_search_options": {}}, refused="web_search_options"),
    "unknown field": Row(sent={"enable_thinking": True}, dropped=("enable_thinking",)),
}
