"""What a simulator has told of usage: read from the bytes it really sent, however far an answer came."""

from collections.abc import Iterable, Iterator
from contextlib import suppress

import msgspec

from proxy.simulator.record import Received


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: dict[str, int] | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Message(msgspec.Struct):
    model: str = ""
    usage: _Usage | None = None


class _Part(_Message):
    """A body, or the data of an event, of either API."""

    type: str = ""
    object: str = ""
    message: _Message | None = None


_decoder = msgspec.json.Decoder(_Part)


class Told(msgspec.Struct, frozen=True):
    """The usage one answer told, in Anthropic's terms: the prompt's tokens leave the cache out.

    Attributes:
        key: what the request authenticated with.
        model: the one that answered.
        whole: whether the answer came to its end.
        input_tokens: neither read from the cache nor written to it.
        output_tokens: thinking included.
        cache_read_tokens: read from the cache.
        cache_write_5m_tokens: written to it for five minutes.
        cache_write_1h_tokens: written to it for an hour.
    """

    key: str
    model: str
    whole: bool
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_5m_tokens: int
    cache_write_1h_tokens: int


def told_by(requests: Iterable[Received]) -> list[Told]:
    """What these answers told, those left out that told nothing. They need a simulator that keeps answers."""
    return [told for received in requests if (told := _told(received)) is not None]


def _told(received: Received) -> Told | None:
    if received.status != 200:
        return None
    model, whole, seen = "", received.answer.endswith(b"data: [DONE]\n\n"), False
    fresh = said = written = written_1h = read = 0
    for part in _parts(received.answer):
        message = part.message or part
        model = model or message.model
        whole = whole or part.type in {"message", "message_stop"} or part.object == "chat.completion"
        if (usage := message.usage) is None:
            continue
        seen = True
        fresh = usage.input_tokens or usage.prompt_tokens or fresh
        said = usage.output_tokens or usage.completion_tokens or said
        written = usage.cache_creation_input_tokens or written
        read = usage.cache_read_input_tokens or read
        written_1h = (usage.cache_creation or {}).get("ephemeral_1h_input_tokens", 0) or written_1h
    if not seen:
        return None
    return Told(received.key, model, whole, fresh, said, read, written - written_1h, written_1h)


def _parts(answer: bytes) -> Iterator[_Part]:
    """The JSON objects of a body, or of the whole events of a stream; a cut one tells nothing."""
    texts = [answer]
    if not answer.startswith(b"{"):
        whole, _, _ = answer.rpartition(b"\n\n")
        texts = [event.partition(b"data: ")[2] for event in whole.split(b"\n\n")]
    for text in texts:
        with suppress(msgspec.DecodeError):
            yield _decoder.decode(text)
