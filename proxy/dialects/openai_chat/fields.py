"""The fields a Chat Completions request may have and a Messages request has not: refused, or lost and told.

Source: "Create chat completion" in OpenAI's API reference.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from proxy.dialects.common import Dropped
from proxy.dialects.decoding import is_given
from proxy.dialects.openai_chat.schema import ChatRequest
from proxy.errors import InvalidRequest

_NO_EQUAL: Final = "the upstream has no such field"

LOST: Final[Mapping[str, str]] = MappingProxyType(
    {
        "audio": "the upstream has no audio",
        "frequency_penalty": _NO_EQUAL,
        "logit_bias": _NO_EQUAL,
        "logprobs": _NO_EQUAL,
        "metadata": "kept from the upstream, which takes no metadata of this kind",
        "moderation": _NO_EQUAL,
        "prediction": _NO_EQUAL,
        "presence_penalty": _NO_EQUAL,
        "prompt_cache_options": "not supported",
        "prompt_cache_retention": "not supported",
        "seed": _NO_EQUAL,
        "store": "answers are not stored",
        "top_logprobs": _NO_EQUAL,
        "verbosity": _NO_EQUAL,
    }
)
"""Fields that are lost when they have a value other than null, false, zero or empty."""

_TIERS: Final[Mapping[str, str | None]] = MappingProxyType(
    {"auto": None, "default": "standard_only", "flex": "standard_only", "priority": None, "scale": None}
)


def check_supported(request: ChatRequest) -> None:
    """Refuse what would change the meaning of the answer. Raises InvalidRequest naming the field."""
    if request.n is not None and request.n > 1:
        raise _refused("n", "Only one choice is supported: n has to be 1.", "unsupported_value")
    if "audio" in (request.modalities or ()):
        raise _refused("modalities", "Audio is not supported by the upstream.", "unsupported_value")
    if is_given(request.functions):
        raise _refused("functions", "functions is not supported: use tools.")
    if is_given(request.function_call):
        raise _refused("function_call", "function_call is not supported: use tool_choice.")
    if is_given(request.web_search_options):
        raise _refused("web_search_options", "Web search is not supported.")
    if request.response_format is not None and request.response_format.type != "text":
        raise _refused(
            "response_format.type", "Only the response format text is supported.", "unsupported_value"
        )


def lost_fields(request: ChatRequest) -> list[Dropped]:
    """The fields that have a value and no place in a Messages request."""
    lost = [Dropped(name, reason) for name, reason in LOST.items() if _says_something(getattr(request, name))]
    if request.service_tier is not None and request.service_tier not in _TIERS:
        lost.append(Dropped("service_tier", "no such tier"))
    if request.user is not None and request.safety_identifier is not None:
        lost.append(Dropped("user", "safety_identifier was sent instead"))
    return lost


def service_tier(request: ChatRequest) -> str | None:
    """The upstream's tier; None for its default."""
    return _TIERS.get(request.service_tier or "")


def _says_something(value: object) -> bool:
    if isinstance(value, msgspec.Raw):
        return bytes(value) not in {b"null", b"false", b"0", b"{}", b"[]"}
    return value not in (None, msgspec.UNSET, False, 0, {}, [])


def _refused(param: str, message: str, code: str = "unsupported_parameter") -> InvalidRequest:
    return InvalidRequest(message, param=param, code=code)
