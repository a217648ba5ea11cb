"""An answer as bytes: one JSON message, or the events of a stream.

Source of the shapes: the Messages and streaming pages of Anthropic's API reference.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import assert_never

import msgspec

from proxy.simulator.messages import Answer, Call, Part, Text, Thought

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(dict[str, object])
_MESSAGE_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
_TOOL_INPUT_PIECES = 3
_MAX_REMEMBERED_PIECES = 2000
PING = b'event: ping\ndata: {"type":"ping"}\n\n'


class _CacheCreation(msgspec.Struct):
    ephemeral_5m_input_tokens: int
    ephemeral_1h_input_tokens: int


class _OutputDetails(msgspec.Struct):
    thinking_tokens: int


class _StartUsage(msgspec.Struct):
    input_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int
    cache_creation: _CacheCreation
    output_tokens: int
    service_tier: str = "standard"
    inference_geo: str = "global"


class _FullUsage(_StartUsage, kw_only=True):
    output_tokens_details: _OutputDetails


class _DeltaUsage(msgspec.Struct):
    input_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int
    output_tokens: int
    output_tokens_details: _OutputDetails


class _Message(msgspec.Struct):
    id: str
    type: str
    role: str
    model: str
    content: list[dict[str, object]]
    stop_reason: str
    stop_sequence: str | None
    stop_details: None
    container: None
    usage: _FullUsage


class _StartedMessage(msgspec.Struct):
    model: str
    id: str
    type: str
    role: str
    content: list[object]
    stop_reason: None
    stop_sequence: None
    stop_details: None
    usage: _StartUsage


class _Stop(msgspec.Struct):
    stop_reason: str
    stop_sequence: str | None
    stop_details: None


def event(name: str, data: bytes) -> bytes:
    """One event of a stream."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data)


def error_body(
    kind: str, message: str, *, request_id: str, details: dict[str, object] | None = None
) -> bytes:
    """The envelope of every error, as a body or as the data of an ``error`` event."""
    error: dict[str, object] = {"type": kind, "message": message}
    if details is not None:
        error["details"] = details
    return _encoder.encode({"type": "error", "error": error, "request_id": request_id})


def message(answer: Answer) -> bytes:
    """The answer as one message."""
    creation, written, read, fresh = _prompt_usage(answer)
    usage = _FullUsage(
        fresh, written, read, creation, answer.output_tokens, output_tokens_details=_details(answer)
    )
    content = [_block(part) for part in answer.parts]
    return _encoder.encode(
        _Message(
            answer.id,
            "message",
            "assistant",
            answer.model,
            content,
            answer.stop_reason,
            answer.stop_sequence,
            None,
            None,
            usage,
        )
    )


def _prompt_usage(answer: Answer) -> tuple[_CacheCreation, int, int, int]:
    caching = answer.caching
    written = caching.written_5m + caching.written_1h
    creation = _CacheCreation(caching.written_5m, caching.written_1h)
    return creation, written, caching.read, max(0, answer.prompt_tokens - written - caching.read)


def _details(answer: Answer) -> _OutputDetails:
    return _OutputDetails(sum(part.tokens for part in answer.parts if isinstance(part, Thought)))


def _block(part: Part) -> dict[str, object]:
    match part:
        case Text():
            return {"type": "text", "text": part.text}
        case Thought():
            return {"type": "thinking", "thinking": "".join(part.shown), "signature": part.signature}
        case Call():
            return {"type": "tool_use", "id": part.id, "name": part.name, "input": msgspec.Raw(part.input)}
        case _:
            assert_never(part)


def events(answer: Answer) -> list[bytes]:
    """The answer as the events of a stream, one entry each."""
    found = [_start(answer)]
    for index, part in enumerate(answer.parts):
        found.extend(_part_events(index, part))
    return [*found, _delta(answer), _MESSAGE_STOP]


def burst(answer: Answer) -> bytes:
    """All events at once; what `events` gives, joined, but fast for texts seen before."""
    middle = b"".join(_part_burst(index, part) for index, part in enumerate(answer.parts))
    return b"".join((_start(answer), middle, _delta(answer), _MESSAGE_STOP))


def _part_burst(index: int, part: Part) -> bytes:
    if isinstance(part, Text) and len(part.pieces) <= _MAX_REMEMBERED_PIECES:
        return _text_burst(index, tuple(part.pieces))
    return b"".join(_part_events(index, part))


@lru_cache(maxsize=256)
def _text_burst(index: int, pieces: tuple[str, ...]) -> bytes:
    return b"".join(_part_events(index, Text(list(pieces))))


def _start(answer: Answer) -> bytes:
    creation, written, read, fresh = _prompt_usage(answer)
    usage = _StartUsage(fresh, written, read, creation, 1)
    started = _StartedMessage(answer.model, answer.id, "message", "assistant", [], None, None, None, usage)
    return b'event: message_start\ndata: {"type":"message_start","message":%b}\n\n' % _encoder.encode(started)


def _delta(answer: Answer) -> bytes:
    _, written, read, fresh = _prompt_usage(answer)
    usage = _DeltaUsage(fresh, written, read, answer.output_tokens, _details(answer))
    stop = _Stop(answer.stop_reason, answer.stop_sequence, None)
    return b'event: message_delta\ndata: {"type":"message_delta","delta":%b,"usage":%b}\n\n' % (
        _encoder.encode(stop),
        _encoder.encode(usage),
    )


def _part_events(index: int, part: Part) -> Iterator[bytes]:
    match part:
        case Text():
            yield _block_start(index, b'{"type":"text","text":""}')
            for piece in part.pieces:
                yield text_delta(index, piece)
        case Thought():
            yield _block_start(index, b'{"type":"thinking","thinking":"","signature":""}')
            for piece in part.shown:
                yield _block_delta(index, "thinking_delta", "thinking", piece)
            yield _block_delta(index, "signature_delta", "signature", part.signature)
        case Call():
            yield _block_start(
                index,
                b'{"type":"tool_use","id":%b,"name":%b,"input":{}}'
                % (_encoder.encode(part.id), _encoder.encode(part.name)),
            )
            yield _block_delta(index, "input_json_delta", "partial_json", "")
            for piece in _in_thirds(part.input.decode()):
                yield _block_delta(index, "input_json_delta", "partial_json", piece)
        case _:
            assert_never(part)
    yield b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n' % index


def _in_thirds(text: str) -> list[str]:
    step = -(-len(text) // _TOOL_INPUT_PIECES)
    return [text[start : start + step] for start in range(0, len(text), step)]


def _block_start(index: int, block: bytes) -> bytes:
    return (
        b'event: content_block_start\ndata: {"type":"content_block_start","index":%d,"content_block":%b}\n\n'
        % (index, block)
    )


@lru_cache(maxsize=65_536)
def text_delta(index: int, text: str) -> bytes:
    """One piece of text as an event."""
    return _block_delta(index, "text_delta", "text", text)


def _block_delta(index: int, kind: str, field: str, value: str) -> bytes:
    return (
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
        b'"delta":{"type":"%b","%b":%b}}\n\n' % (index, kind.encode(), field.encode(), _encoder.encode(value))
    )


def merged(data: bytes, extra: dict[str, object]) -> bytes:
    """A JSON object with fields of `extra` put in, objects within objects merged as well."""
    return _encoder.encode(_merge(_decoder.decode(data), extra))


def _merge(into: dict[str, object], extra: dict[str, object]) -> dict[str, object]:
    for name, value in extra.items():
        present = into.get(name)
        into[name] = (
            _merge(present, value) if isinstance(present, dict) and isinstance(value, dict) else value
        )
    return into


def with_fields(frame: bytes, fields: dict[str, dict[str, object]]) -> bytes:
    """An event with the extra fields its type is given."""
    name, _, rest = frame.removeprefix(b"event: ").partition(b"\n")
    extra = fields.get(name.decode())
    if extra is None:
        return frame
    return event(name.decode(), merged(rest.removeprefix(b"data: ").rstrip(b"\n"), extra))
