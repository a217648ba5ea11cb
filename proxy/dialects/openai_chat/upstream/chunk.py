"""One chunk of a streamed answer, as far as anything here reads it."""

from typing import Final

import msgspec

from proxy.dialects.common import Observed, StreamBroken, StreamError
from proxy.dialects.openai_chat.upstream.wire import Said, decode_error, read_usage, stop_of

DONE: Final = b"[DONE]"
"""The data of the frame that ends a stream."""

_NOTHING: Final = (b"null", b"false", b'""', b"{}")


class Choice(msgspec.Struct):
    """More of one choice; only the first one is ever asked for."""

    delta: Said | None = None
    finish_reason: str | None = None
    index: int | None = None


class Chunk(msgspec.Struct):
    """A chunk; the ones at the end may have no choice, only usage."""

    id: str | None = None
    model: str | None = None
    choices: list[Choice] | None = None
    usage: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Ended(msgspec.Struct, gc=False):
    finish_reason: str | None = None


class Passing(msgspec.Struct):
    """A chunk that passes unchanged."""

    model: str | None = None
    choices: list[_Ended] | None = None
    usage: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_chunk_decoder = msgspec.json.Decoder(Chunk)
_passing_decoder = msgspec.json.Decoder(Passing)


def decode_chunk(data: bytes) -> Chunk:
    """A chunk from its data. Raises StreamBroken for what is none."""
    try:
        return _chunk_decoder.decode(data)
    except (ValueError, RecursionError):
        raise StreamBroken("an event is no chunk of a chat completion") from None


def decode_passing(data: bytes) -> Passing:
    """As much of a chunk as a tap reads. Raises StreamBroken for what is none."""
    try:
        return _passing_decoder.decode(data)
    except (ValueError, RecursionError):
        raise StreamBroken("an event is no chunk of a chat completion") from None


def observe(observed: Observed, chunk: Chunk | Passing, data: bytes) -> None:
    """Note what a chunk tells beside its texts: model, usage, the reason of its end, an error."""
    observed.started = True
    observed.events += 1
    if chunk.error is not msgspec.UNSET and bytes(chunk.error) not in _NOTHING:
        facts = decode_error(data)
        observed.error = StreamError(facts.type or "server_error", facts.message, facts.code)
        return
    if not observed.model and chunk.model:
        observed.model = chunk.model
    if chunk.choices and (reason := chunk.choices[0].finish_reason):
        observed.stop_reason = stop_of(reason).stop_reason
    if (usage := read_usage(chunk.usage)) is not None:
        observed.usage = observed.usage.merge(usage)
