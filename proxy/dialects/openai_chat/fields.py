"""What becomes of each field of a Chat Completions request: one verdict each.

Source: "Create chat completion" in OpenAI's API reference, whose fields are all here, and a few that clients of other
gateways send. Fields of messages, parts and tools stand by their path; of those, only what a Messages request has not.
"""

from collections.abc import Mapping
from enum import StrEnum
from operator import attrgetter
from types import MappingProxyType
from typing import Final

import msgspec

from proxy.dialects.common import Dropped
from proxy.dialects.decoding import is_given
from proxy.dialects.openai_chat.schema import ChatRequest
from proxy.errors import InvalidRequest
from proxy.model.catalog import ModelFacts


class Verdict(StrEnum):
    """What becomes of a field."""

    MAPPED = "mapped"
    EMULATED = "emulated"
    """Nothing upstream is its equal, but the answer is what it asked for."""
    DROPPED = "dropped"
    """Left out, and told to the client."""
    REFUSED = "refused"
    """A 400 that names it, for values that would change the meaning of the answer."""


class Rule(msgspec.Struct, frozen=True):
    """The verdict on a field, and how or why: what it becomes, or the reason the client is told."""

    verdict: Verdict
    how: str


def _mapped(to: str) -> Rule:
    return Rule(Verdict.MAPPED, to)


def _emulated(how: str) -> Rule:
    return Rule(Verdict.EMULATED, how)


def _dropped(why: str) -> Rule:
    return Rule(Verdict.DROPPED, why)


def _refused(why: str) -> Rule:
    return Rule(Verdict.REFUSED, why)


_NO_EQUAL: Final = "the upstream has no such field"

FIELDS: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "audio": _dropped("the upstream has no audio"),
        "cache_control": _mapped("cache_control"),
        "frequency_penalty": _dropped(_NO_EQUAL),
        "function_call": _mapped("tool_choice"),
        "functions": _mapped("tools"),
        "logit_bias": _dropped(_NO_EQUAL),
        "logprobs": _dropped(_NO_EQUAL),
        "max_completion_tokens": _mapped("max_tokens"),
        "max_tokens": _mapped("max_tokens"),
        "messages": _mapped("system, messages"),
        "metadata": _dropped("kept from the upstream, which takes no metadata of this kind"),
        "modalities": _refused("Audio is not supported by the upstream."),
        "model": _mapped("model"),
        "moderation": _dropped(_NO_EQUAL),
        "n": _refused("Only one choice is supported: n has to be 1."),
        "parallel_tool_calls": _mapped("tool_choice.disable_parallel_tool_use"),
        "prediction": _dropped(_NO_EQUAL),
        "presence_penalty": _dropped(_NO_EQUAL),
        "prompt_cache_key": _emulated("the conversation goes back to the credential that cached it"),
        "prompt_cache_options": _mapped("cache_control"),
        "prompt_cache_retention": _mapped("cache_control.ttl"),
        "reasoning": _mapped("thinking, output_config.effort"),
        "reasoning_effort": _mapped("thinking, output_config.effort"),
        "response_format": _mapped("output_config.format, or a system sentence"),
        "safety_identifier": _mapped("metadata.user_id"),
        "seed": _dropped(_NO_EQUAL),
        "service_tier": _mapped("service_tier, speed"),
        "stop": _mapped("stop_sequences"),
        "store": _dropped("answers are not stored"),
        "stream": _mapped("stream"),
        "stream_options": _emulated("usage is counted from the answer's own events"),
        "temperature": _mapped("temperature"),
        "thinking": _mapped("thinking"),
        "tool_choice": _mapped("tool_choice"),
        "tools": _mapped("tools"),
        "top_k": _mapped("top_k"),
        "top_logprobs": _dropped(_NO_EQUAL),
        "top_p": _mapped("top_p"),
        "user": _mapped("metadata.user_id"),
        "verbosity": _emulated("a system sentence"),
        "web_search_options": _refused("Web search is not supported."),
        "messages[].audio": _dropped("the upstream has no audio"),
        "messages[].name": _dropped("messages have no names"),
        "messages[].content[].image_url.detail": _dropped("the upstream decides itself how closely it looks"),
        "messages[].content[].input_audio": _refused("Audio is not supported by the upstream."),
        "stream_options.include_obfuscation": _dropped("answers are never padded"),
        "tools[].custom": _emulated("a function with one text"),
        "tool_choice.allowed_tools.tools": _emulated("a sentence; all tools stay offered"),
    }
)
"""Dropped fields are told where they have a value other than null, false, zero or empty."""

LOST: Final = tuple(
    name
    for name, rule in FIELDS.items()
    if rule.verdict is Verdict.DROPPED and name in ChatRequest.__struct_fields__
)
"""Fields of a request that are lost whatever they say."""

_lost = attrgetter(*LOST)
_NONE_LOST: Final = _lost(ChatRequest(messages=[]))

_TIERS: Final[Mapping[str, str | None]] = MappingProxyType(
    {"auto": None, "default": "standard_only", "flex": "standard_only", "priority": None, "scale": None}
)
_FAST: Final = "fast"


def check_supported(request: ChatRequest) -> None:
    """Refuse what would change the meaning of the answer. Raises InvalidRequest naming the field."""
    if request.n is not None and request.n > 1:
        raise refusal("n", "n", "unsupported_value")
    if "audio" in (request.modalities or ()):
        raise refusal("modalities", "modalities", "unsupported_value")
    if is_given(request.web_search_options):
        raise refusal("web_search_options", "web_search_options")


def refusal(field: str, param: str, code: str = "unsupported_parameter") -> InvalidRequest:
    """The 400 for a field that is refused, found in the request at `param`."""
    return InvalidRequest(FIELDS[field].how, param=param, code=code)


def loss(field: str, path: str | None = None) -> Dropped:
    """The loss of a field, found in the request at `path`."""
    return Dropped(field if path is None else path, FIELDS[field].how)


def lost_fields(request: ChatRequest, facts: ModelFacts) -> list[Dropped]:
    """The fields that have a value and no place in a Messages request for this model."""
    lost = []
    if (values := _lost(request)) != _NONE_LOST:
        lost = [loss(name) for name, value in zip(LOST, values, strict=True) if _says_something(value)]
    tier = request.service_tier
    if tier == _FAST and speed(request, facts) is None:
        lost.append(Dropped("service_tier", "the model has no fast mode"))
    elif tier is not None and tier != _FAST and tier not in _TIERS:
        lost.append(Dropped("service_tier", "no such tier"))
    if request.user is not None and request.safety_identifier is not None:
        lost.append(Dropped("user", "safety_identifier was sent instead"))
    options = request.stream_options
    if options is not None and options.include_obfuscation:
        lost.append(loss("stream_options.include_obfuscation"))
    return lost


def service_tier(request: ChatRequest) -> str | None:
    """The upstream's tier; None for its default."""
    return _TIERS.get(request.service_tier or "")


def speed(request: ChatRequest, facts: ModelFacts) -> str | None:
    """The fast mode, where it was asked for and the model has one that needs no beta; else None."""
    price = facts.fast_price
    asked = request.service_tier == _FAST
    return _FAST if asked and price is not None and price.beta is None else None


def _says_something(value: object) -> bool:
    if isinstance(value, msgspec.Raw):
        return bytes(value) not in {b"null", b"false", b"0", b"{}", b"[]"}
    return value not in (None, msgspec.UNSET, False, 0, {}, [])
