"""Probes of how an answer is made, how long it is, and for whom."""

from collections.abc import Mapping
from typing import Final

from proxy.capabilities import Feature, Front
from proxy.credentials import Kind
from tests.support.capabilities.probe import (
    ANTHROPIC,
    CLAUDE,
    OPENAI,
    QUESTION,
    Json,
    Probe,
    everywhere,
    in_both,
    in_openais,
    turns,
)

_SIGNATURE: Final = "EqQBERASMUS=="
_THOUGHT: Final = {"type": "thinking", "thinking": "Hm.", "signature": _SIGNATURE}
_DETAIL: Final = {
    "type": "reasoning.text",
    "text": "Hm.",
    "signature": _SIGNATURE,
    "format": "anthropic-claude-v1",
    "index": 0,
}


def _said_before(assistant: Json) -> Json:
    """A conversation with an answer in it."""
    user = {"role": "user", "content": QUESTION}
    return {"messages": [user, {"role": "assistant", **assistant}, user]}


THINKING: Final[Mapping[Feature, Probe]] = {
    Feature.THINKING: Probe(
        asks=in_both({"thinking": {"type": "adaptive"}}),
        token=b'"adaptive"',
        tokens={Kind.CLAUDE_WEB: b'"thinking_mode":"extended"'},
        foreign=OPENAI,
    ),
    Feature.THINKING_BUDGET: Probe(
        asks=in_both({"thinking": {"type": "enabled", "budget_tokens": 2047}}),
        token=b"2047",
        model="claude-sonnet-4-5-20250929",
        foreign=OPENAI,
    ),
    Feature.THINKING_SIGNATURES: Probe(
        asks={
            Front.MESSAGES: turns(
                ("user", QUESTION),
                ("assistant", [_THOUGHT, {"type": "text", "text": "I."}]),
                ("user", "Who?"),
            ),
            Front.CHAT: _said_before({"content": "I.", "reasoning_details": [_DETAIL]}),
        },
        token=_SIGNATURE.encode(),
        foreign=ANTHROPIC,
    ),
    Feature.EFFORT: Probe(
        asks={
            Front.MESSAGES: {"output_config": {"effort": "medium"}},
            Front.CHAT: {"reasoning_effort": "medium"},
        },
        token=b'effort":"medium"',
    ),
    Feature.GREATER_EFFORT: Probe(
        asks={
            Front.MESSAGES: {"output_config": {"effort": "max"}},
            Front.CHAT: {"reasoning_effort": "max"},
        },
        token=b'effort":"max"',
    ),
}

LENGTH: Final[Mapping[Feature, Probe]] = {
    Feature.MAX_TOKENS: Probe(
        asks={
            Front.MESSAGES: {"max_tokens": 3},
            Front.CHAT: {"max_completion_tokens": 3},
            Front.TEXT: {"max_tokens": 3},
        },
        told={
            Front.MESSAGES: b'"stop_reason":"max_tokens"',
            Front.CHAT: b'"finish_reason":"length"',
            Front.TEXT: b'"finish_reason":"length"',
        },
    ),
    Feature.STOP_SEQUENCES: Probe(
        asks={Front.MESSAGES: {"stop_sequences": ["who"]}, **in_openais({"stop": ["who"]})},
        untold=b"is there",
    ),
    Feature.MORE_STOP_SEQUENCES: Probe(
        asks={
            Front.MESSAGES: {"stop_sequences": ["1", "2", "3", "4", "who"]},
            **in_openais({"stop": ["1", "2", "3", "4", "who"]}),
        },
        tokens={Kind.ANTHROPIC: b'"who"]', Kind.OPENAI: b'"who"]'},
        untold=b"is there",
        foreign=OPENAI,
    ),
}

SAMPLING: Final[Mapping[Feature, Probe]] = {
    Feature.TEMPERATURE: Probe(asks=everywhere({"temperature": 0.625}), token=b"0.625"),
    Feature.TOP_P: Probe(asks=everywhere({"top_p": 0.625}), token=b"0.625"),
    Feature.TOP_K: Probe(asks=in_both({"top_k": 37}), token=b'"top_k":37', foreign=OPENAI),
    Feature.FREQUENCY_PENALTY: Probe(asks=in_openais({"frequency_penalty": 0.625}), token=b"0.625"),
    Feature.PRESENCE_PENALTY: Probe(asks=in_openais({"presence_penalty": 0.625}), token=b"0.625"),
    Feature.LOGIT_BIAS: Probe(asks=in_openais({"logit_bias": {"1234": 5}}), token=b"1234"),
    Feature.LOGPROBS: Probe(
        asks={Front.CHAT: {"logprobs": True}, Front.TEXT: {"logprobs": 3}}, token=b'"logprobs"'
    ),
    Feature.SEED: Probe(asks=in_openais({"seed": 987654}), token=b"987654"),
    Feature.PREDICTION: Probe(
        asks={Front.CHAT: {"prediction": {"type": "content", "content": "Erasmus"}}},
        token=b"Erasmus",
        foreign=OPENAI,
    ),
    Feature.SEVERAL_ANSWERS: Probe(asks=in_openais({"n": 2}), token=b'"n":2'),
    Feature.BEST_OF: Probe(asks={Front.TEXT: {"best_of": 2}}, token=b'"best_of"'),
}

ACCOUNT: Final[Mapping[Feature, Probe]] = {
    Feature.CACHE_MARKS: Probe(
        asks=in_both({"cache_control": {"type": "ephemeral"}}), token=b'"cache_control"', foreign=OPENAI
    ),
    Feature.CACHE_KEY: Probe(
        asks={Front.CHAT: {"prompt_cache_key": "erasmus"}},
        token=b"erasmus",
        tokens=dict.fromkeys(CLAUDE, b""),
    ),
    Feature.END_USER: Probe(
        asks={Front.MESSAGES: {"metadata": {"user_id": "erasmus"}}, **in_openais({"user": "erasmus"})},
        token=b"erasmus",
        tokens={Kind.ANTHROPIC: b'"metadata":{"user_id":"', Kind.CLAUDE_CODE: b"erasmus"},
    ),
    Feature.METADATA: Probe(asks={Front.CHAT: {"metadata": {"topic": "erasmus"}}}, token=b"erasmus"),
    Feature.STORE: Probe(asks={Front.CHAT: {"store": True}}, token=b'"store":true'),
    Feature.SERVICE_TIER: Probe(
        asks={
            Front.MESSAGES: {"service_tier": "standard_only"},
            Front.CHAT: {"service_tier": "default"},
        },
        token=b'"service_tier"',
    ),
    Feature.SPEED: Probe(
        asks={Front.MESSAGES: {"speed": "fast"}, Front.CHAT: {"service_tier": "fast"}},
        token=b'"speed":"fast"',
        tokens={Kind.OPENAI: b'"service_tier":"fast"'},
        model="claude-opus-5-5",
    ),
    Feature.OTHER_FIELDS: Probe(
        asks=everywhere({"aurora": 1}), token=b'"aurora"', foreign=ANTHROPIC | OPENAI
    ),
}
