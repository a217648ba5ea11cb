"""A whole answer, and what it cost.

Source: the ``Message`` and ``Usage`` objects of Anthropic's API reference.
"""

from typing import TypeVar

import msgspec

from proxy.model.content import Block

_Count = TypeVar("_Count", bound=msgspec.Struct)


class CacheCreation(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Tokens written to the cache, by how long they stay."""

    ephemeral_5m_input_tokens: int | None = None
    ephemeral_1h_input_tokens: int | None = None


class OutputTokensDetails(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Parts of the output tokens."""

    thinking_tokens: int | None = None


class ServerToolUse(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Calls of tools that run at the provider."""

    web_search_requests: int | None = None
    web_fetch_requests: int | None = None


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Token counts. A field that was not told is None, which is not zero.

    `input_tokens` leaves out what was read from or written to the cache; `output_tokens` includes thinking.
    `estimated` marks counts the upstream did not tell, made here from the length of the texts.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: CacheCreation | None = None
    output_tokens_details: OutputTokensDetails | None = None
    server_tool_use: ServerToolUse | None = None
    service_tier: str | None = None
    speed: str | None = None
    inference_geo: str | None = None
    estimated: bool | None = None

    def merge(self, later: "Usage") -> "Usage":
        """This usage brought up to date by what came later in the same answer.

        Field by field: what is absent later never overwrites, and zero never overwrites a number.
        """
        return _merged(self, later)


def _merged(earlier: _Count, later: _Count) -> _Count:
    changes: dict[str, object] = {}
    for name in earlier.__struct_fields__:
        new = getattr(later, name)
        if new is None:
            continue
        old = getattr(earlier, name)
        if isinstance(old, msgspec.Struct) and isinstance(new, msgspec.Struct):
            changes[name] = _merged(old, new)
        elif new or old is None:
            changes[name] = new
    return msgspec.structs.replace(earlier, **changes)


class StopDetails(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Why an answer was refused; every part of it may be missing."""

    type: str | None = None
    category: str | None = None
    explanation: str | None = None


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="message"):
    """One answer. `stop_reason` is None only while the answer is still being streamed."""

    id: str = ""
    model: str = ""
    content: list[Block] = msgspec.field(default_factory=list)
    role: str = "assistant"
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: StopDetails | None = None
    usage: Usage = msgspec.field(default_factory=Usage)
