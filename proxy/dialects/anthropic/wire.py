"""Events and messages as Anthropic writes them, read with patience for what is new.

Source: "Streaming messages" in Anthropic's documentation, which asks clients to expect unknown event, delta
and block types.
"""

import msgspec

from proxy.dialects.common import Observed, StreamBroken, StreamError
from proxy.dialects.upstream import MessageBroken
from proxy.model.content import block_type, decode_block
from proxy.model.events import (
    ContentBlockDelta,
    ContentBlockStart,
    ErrorEvent,
    Event,
    MessageDelta,
    MessageStart,
    MessageStop,
)
from proxy.model.message import Message, StopDetails, Usage


class _WireMessage(msgspec.Struct):
    type: str
    content: list[msgspec.Raw]
    id: str | None = None
    model: str | None = None
    role: str | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: StopDetails | None = None
    usage: Usage | None = None


class _WireMessageStart(msgspec.Struct):
    message: _WireMessage


class _WireMessageDelta(msgspec.Struct):
    usage: Usage | None = None


class _WireBlockStart(msgspec.Struct):
    index: int
    content_block: msgspec.Raw


class _WireBlockDelta(msgspec.Struct):
    index: int
    delta: msgspec.Raw


_KNOWN_DELTAS = frozenset(
    ("text_delta", "thinking_delta", "signature_delta", "input_json_delta", "citations_delta")
)
_DETAILS_MAX_BYTES = 2048
_event_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
decode_known_event = _event_decoder.decode
"""The fast way for events that hold nothing new. Raises ValueError or RecursionError: then ask `decode_event`."""

_message_decoder = msgspec.json.Decoder(_WireMessage)
_message_start_decoder = msgspec.json.Decoder(_WireMessageStart)
_message_delta_decoder = msgspec.json.Decoder(_WireMessageDelta)
_block_start_decoder = msgspec.json.Decoder(_WireBlockStart)
_block_delta_decoder = msgspec.json.Decoder(_WireBlockDelta)
_fields_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


def decode_event(data: bytes) -> Event | None:
    """One event from its data; None for a type of event that is not known.

    Raises StreamBroken for what is no JSON, or mistypes a field.
    """
    try:
        return _event_decoder.decode(data)
    except msgspec.ValidationError:
        return _second_look(data)
    except (ValueError, RecursionError) as error:
        raise StreamBroken(f"an event is no JSON: {_cause(error)}") from None


def event_type(data: bytes) -> str:
    """The ``type`` of an event. Raises StreamBroken where there is none."""
    try:
        return block_type(data)
    except (ValueError, RecursionError) as error:
        raise StreamBroken(f"an event is no JSON object with a type: {_cause(error)}") from None


def _second_look(data: bytes) -> Event | None:
    """What the plain decoder refused: either new to it, or wrong."""
    try:
        match block_type(data):
            case "content_block_delta":
                return _unfamiliar_delta(data)
            case "content_block_start":
                start = _block_start_decoder.decode(data)
                return ContentBlockStart(start.index, decode_block(start.content_block))
            case "message_start":
                return MessageStart(_message(_message_start_decoder.decode(data).message))
            case "message_delta" if _message_delta_decoder.decode(data).usage is None:
                fields = _fields_decoder.decode(data)
                fields.pop("usage", None)
                return _event_decoder.decode(msgspec.json.encode(fields))
            case "content_block_stop" | "message_delta" | "message_stop" | "ping" | "error":
                return _event_decoder.decode(data)
            case _:
                return None
    except (ValueError, RecursionError) as error:
        raise StreamBroken(f"an event has the wrong shape: {_cause(error)}") from None


def _unfamiliar_delta(data: bytes) -> ContentBlockDelta:
    delta = _block_delta_decoder.decode(data)
    if block_type(delta.delta) in _KNOWN_DELTAS:
        raise StreamBroken("a delta has the wrong shape")
    return ContentBlockDelta(delta.index, msgspec.Raw(msgspec.json.format(bytes(delta.delta), indent=-1)))


def decode_message(body: bytes) -> Message:
    """The message in the body of a unary answer. Raises MessageBroken where there is none."""
    try:
        # parts that are kept undecoded would tell only where they are used that they are no UTF-8
        return _message(_message_decoder.decode(body if body.isascii() else body.decode()))
    except (ValueError, RecursionError) as error:
        raise MessageBroken(f"the answer is no message: {_cause(error)}") from None


def _message(wire: _WireMessage) -> Message:
    if wire.type != "message":
        raise MessageBroken(f"the answer's type is {wire.type[:40]!r}")
    return Message(
        id=wire.id or "",
        model=wire.model or "",
        content=[decode_block(block) for block in wire.content],
        role=wire.role or "assistant",
        stop_reason=wire.stop_reason,
        stop_sequence=wire.stop_sequence,
        stop_details=wire.stop_details,
        usage=wire.usage or Usage(),
    )


def observe(observed: Observed, event: Event) -> None:
    """Note what an event tells; deltas and pings tell nothing but that the stream has begun."""
    match event:
        case MessageStart(message=message):
            observed.model = message.model
            observed.message_id = message.id
            observed.usage = message.usage
        case MessageDelta(delta=delta, usage=usage):
            observed.stop_reason = delta.stop_reason
            observed.usage = observed.usage.merge(usage)
        case MessageStop():
            observed.complete = True
        case ErrorEvent(error=error):
            observed.error = StreamError(error.type, error.message, error_code(error.details))
        case _:
            pass


class _Details(msgspec.Struct, gc=False):
    error_code: str | None = None


_details_decoder = msgspec.json.Decoder(_Details | None)


def error_code(details: bytes | msgspec.Raw | msgspec.UnsetType) -> str | None:
    """``error.details.error_code``, where there is one."""
    if details is msgspec.UNSET:
        return None
    try:
        found = _details_decoder.decode(details)
    except (ValueError, RecursionError):
        return None
    return found.error_code if found is not None else None


def shown_details(details: msgspec.Raw | msgspec.UnsetType) -> bytes:
    """``error.details`` without blanks where they are an object of at most 2 KiB, else nothing."""
    if details is msgspec.UNSET or not bytes(details).startswith(b"{"):
        return b""
    compact: bytes = msgspec.json.format(bytes(details), indent=-1)
    return compact if len(compact) <= _DETAILS_MAX_BYTES else b""


def _cause(error: Exception) -> str:
    """A few words that hold nothing of what was sent: a codec's own text shows its whole input."""
    return type(error).__name__ if isinstance(error, UnicodeError) else str(error)[:200]
