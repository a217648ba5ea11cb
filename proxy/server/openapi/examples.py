"""A request of each sort, small enough to be pasted."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from proxy.dialects.anthropic.request import MessagesRequest
from proxy.dialects.openai_chat.schema import ChatRequest
from proxy.dialects.openai_chat.text.request import TextRequest
from proxy.dialects.openai_responses.schema import ResponsesRequest
from proxy.server.clients import NewKey
from proxy.server.openapi.shapes import BatchRequest, CountTokensRequest

_MODEL: Final = "sonnet"
_SAID: Final = [{"role": "user", "content": "Hello!"}]

EXAMPLES: Final[Mapping[object, object]] = MappingProxyType(
    {
        ChatRequest: {"model": _MODEL, "messages": _SAID},
        TextRequest: {"model": _MODEL, "prompt": "Once upon a time", "max_tokens": 50},
        MessagesRequest: {"model": _MODEL, "max_tokens": 1000, "messages": _SAID},
        CountTokensRequest: {"model": _MODEL, "messages": _SAID},
        ResponsesRequest: {"model": _MODEL, "input": "Hello!"},
        BatchRequest: {
            "requests": [
                {
                    "custom_id": "first",
                    "params": {"model": "claude-sonnet-5-5", "max_tokens": 1000, "messages": _SAID},
                }
            ]
        },
        NewKey: {"name": "laptop", "models": ["claude-sonnet-*"], "requests_per_minute": 60},
    }
)
"""By what a body is."""
