"""What becomes of each field of a Responses request: one verdict a field.

Source: "Create a model response" in OpenAI's API reference.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import msgspec

from proxy.dialects.common import Dropped
from proxy.dialects.openai_responses.schema import ResponsesRequest
from proxy.errors import InvalidRequest

ENCRYPTED: Final = "reasoning.encrypted_content"
"""The one value of ``include`` that has something to give."""


NAMED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "max_tokens": "max_output_tokens",
        "messages": "input",
        "model": "model",
        "output_config.effort": "reasoning.effort",
        "output_config.format": "text.format",
        "prompt": "input",
        "system": "instructions",
        "temperature": "temperature",
        "thinking": "reasoning",
        "tool_choice": "tool_choice",
        "tools": "tools",
        "top_p": "top_p",
    }
)
"""Which field became the one that the Messages API tells of at the start of a refusal."""


class Verdict(StrEnum):
    """What becomes of a field."""

    MAPPED = "mapped"
    """Carried to the upstream."""
    EMULATED = "emulated"
    """Done by us."""
    DROPPED = "dropped"
    """Lost where it says something, and told."""
    REFUSED = "refused"
    """A 400 that names it, where it says something."""


_NO_EQUAL: Final = "the upstream has no such field"

VERDICTS: Final[Mapping[str, tuple[Verdict, str]]] = MappingProxyType(
    {
        "access_programs": (Verdict.DROPPED, _NO_EQUAL),
        "background": (Verdict.REFUSED, "Responses in the background are not supported."),
        "context_management": (Verdict.DROPPED, _NO_EQUAL),
        "conversation": (
            Verdict.REFUSED,
            "Conversation objects are not supported: use previous_response_id, or send all items.",
        ),
        "image": (Verdict.DROPPED, _NO_EQUAL),
        "include": (Verdict.EMULATED, f"{ENCRYPTED}; others have nothing to give"),
        "input": (Verdict.MAPPED, "messages"),
        "instructions": (Verdict.MAPPED, "system"),
        "max_output_tokens": (Verdict.MAPPED, "max_tokens"),
        "max_tool_calls": (Verdict.DROPPED, "it bounds tools of the provider's own, and there are none"),
        "metadata": (Verdict.EMULATED, "repeated in the answer, never sent on"),
        "model": (Verdict.MAPPED, "model"),
        "moderation": (Verdict.DROPPED, _NO_EQUAL),
        "parallel_tool_calls": (Verdict.MAPPED, "tool_choice.disable_parallel_tool_use"),
        "previous_response_id": (Verdict.EMULATED, "the stored items go before the new ones"),
        "prompt": (Verdict.REFUSED, "Prompt templates are not stored here: send their text."),
        "prompt_cache_key": (Verdict.EMULATED, "keeps a conversation with its credential"),
        "prompt_cache_options": (Verdict.DROPPED, "not supported"),
        "prompt_cache_retention": (Verdict.DROPPED, "not supported"),
        "reasoning": (Verdict.MAPPED, "thinking and output_config.effort"),
        "safety_identifier": (Verdict.MAPPED, "metadata.user_id, as a digest"),
        "service_tier": (Verdict.MAPPED, "service_tier"),
        "store": (Verdict.EMULATED, "the response is kept for a time"),
        "stream": (Verdict.MAPPED, "stream"),
        "stream_options": (Verdict.EMULATED, "events are never obfuscated"),
        "temperature": (Verdict.MAPPED, "temperature, by the model's rules"),
        "text": (Verdict.MAPPED, "output_config.format, a tool or a sentence; verbosity is a sentence"),
        "tool_choice": (Verdict.MAPPED, "tool_choice"),
        "tools": (Verdict.MAPPED, "tools"),
        "top_logprobs": (Verdict.DROPPED, _NO_EQUAL),
        "top_p": (Verdict.MAPPED, "top_p, by the model's rules"),
        "truncation": (Verdict.DROPPED, "nothing is cut off a conversation"),
        "user": (Verdict.MAPPED, "metadata.user_id, as a digest"),
    }
)
"""For each field what becomes of it, and into what, or why not."""

_NOTHING: Final = frozenset((b"null", b"false", b"0", b"{}", b"[]"))


def check_supported(request: ResponsesRequest) -> None:
    """Refuse what would change the meaning of the answer. Raises InvalidRequest naming the field."""
    for name, (verdict, reason) in VERDICTS.items():
        if verdict is Verdict.REFUSED and _says_something(getattr(request, name)):
            raise InvalidRequest(reason, param=name, code="unsupported_parameter")


def lost_fields(request: ResponsesRequest) -> list[Dropped]:
    """The fields, and parts of fields, that say something and have no place to go."""
    lost = [
        Dropped(name, reason)
        for name, (verdict, reason) in VERDICTS.items()
        if verdict is Verdict.DROPPED and _says_something(getattr(request, name))
    ]
    if any(wanted != ENCRYPTED for wanted in request.include or ()):
        lost.append(Dropped("include", "only encrypted reasoning can be included"))
    if (reasoning := request.reasoning) is not None:
        lost += [
            Dropped(f"reasoning.{name}", _NO_EQUAL)
            for name in ("mode", "context")
            if _says_something(getattr(reasoning, name))
        ]
    return lost


def _says_something(value: object) -> bool:
    """Whether a field asks for anything: ``disabled`` is what ``truncation`` is without being said."""
    if isinstance(value, msgspec.Raw):
        return bytes(value) not in _NOTHING
    return value not in (None, msgspec.UNSET, False, 0, "disabled")
