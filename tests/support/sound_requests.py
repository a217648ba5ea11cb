"""One request for each endpoint with as many fields as can stand together, to be made wrong one at a time."""

from typing import Final

from tests.support.bad_requests import Json

MODEL: Final = "claude-opus-5"
PNG: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
SCHEMA: Final = {"type": "object", "properties": {"city": {"type": "string"}}}
CHAT: Final[Json] = {
    "model": MODEL,
    "messages": [
        {"role": "system", "content": "Be kind."},
        {
            "role": "user",
            "name": "ann",
            "content": [
                {"type": "text", "text": "Look"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"x"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "sunny"}]},
        {"role": "user", "content": "Go on"},
    ],
    "tools": [
        {"type": "function", "function": {"name": "weather", "description": "Tells.", "parameters": SCHEMA}}
    ],
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "max_completion_tokens": 50,
    "reasoning_effort": "low",
    "stop": ["STOP"],
    "stream": True,
    "stream_options": {"include_usage": True},
    "n": 1,
    "temperature": 0.5,
    "top_p": 1,
    "response_format": {"type": "text"},
    "logit_bias": {"1": 1},
    "metadata": {"a": "b"},
    "user": "u",
    "seed": 1,
}
CONVERSATION: Final[Json] = {
    "model": MODEL,
    "system": [{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
            ],
        },
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "x"}}],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": False, "content": "sunny"},
                {"type": "text", "text": "Go on"},
            ],
        },
    ],
    "tools": [{"name": "weather", "description": "Tells.", "input_schema": SCHEMA}],
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    "thinking": {"type": "adaptive", "display": "summarized"},
    "output_config": {"effort": "low"},
}
MESSAGES: Final[Json] = {
    **CONVERSATION,
    "max_tokens": 50,
    "stop_sequences": ["STOP"],
    "stream": False,
    "metadata": {"user_id": "u"},
    "service_tier": "auto",
}
COMPLETION: Final[Json] = {
    "model": MODEL,
    "prompt": "Once",
    "max_tokens": 50,
    "stop": ["STOP"],
    "stream": False,
    "n": 1,
    "temperature": 0.5,
    "top_p": 1,
    "echo": False,
    "best_of": 1,
    "suffix": None,
    "user": "u",
    "seed": 1,
}
RESPONSE: Final[Json] = {
    "model": MODEL,
    "instructions": "Be kind.",
    "input": [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "Look"},
                {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "low"},
            ],
        },
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city":"x"}'},
        {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
        {"role": "user", "content": "Go on"},
    ],
    "tools": [
        {
            "type": "function",
            "name": "weather",
            "description": "Tells.",
            "parameters": SCHEMA,
            "strict": False,
        }
    ],
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "max_output_tokens": 50,
    "reasoning": {"effort": "low"},
    "text": {"format": {"type": "text"}},
    "temperature": 1,
    "stream": False,
    "store": False,
    "metadata": {"a": "b"},
    "user": "u",
}
CHAT_PATH: Final = "/v1/chat/completions"
MESSAGES_PATH: Final = "/v1/messages"
COUNT_PATH: Final = "/v1/messages/count_tokens"
COMPLETIONS_PATH: Final = "/v1/completions"
RESPONSES_PATH: Final = "/v1/responses"
SOUND: Final[dict[str, Json]] = {
    CHAT_PATH: CHAT,
    MESSAGES_PATH: MESSAGES,
    COUNT_PATH: CONVERSATION,
    COMPLETIONS_PATH: COMPLETION,
    RESPONSES_PATH: RESPONSE,
}
