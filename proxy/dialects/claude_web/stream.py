"""The site's stream to canonical events.

Its events are those of the Messages API with extras. The site's own tools are left out but for artifacts, which
become fenced code; what is not known is passed over.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from proxy.dialects.claude_web.artifacts import Artifacts
from proxy.dialects.claude_web.cutting import Cutter, Reached
from proxy.dialects.claude_web.errors import WireError
from proxy.dialects.claude_web.limit import LimitFacts, decode_limit
from proxy.dialects.claude_web.plan import BYTES_PER_TOKEN
from proxy.dialects.common import Observed, StreamBroken, StreamError
from proxy.dialects.sse import SseDecoder
from proxy.model.content import TextBlock, ThinkingBlock
from proxy.model.events import (
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    ErrorBody,
    ErrorEvent,
    Event,
    MessageDelta,
    MessageStart,
    MessageStop,
    Ping,
    Stop,
    TextDelta,
    ThinkingDelta,
)
from proxy.model.grammar import GrammarError, StreamGrammar
from proxy.model.message import Message, Usage

_TOOL_STOP: Final = "tool_use"
_END: Final = "end_turn"


class _Started(msgspec.Struct):
    id: str | None = None
    model: str | None = None


class _Block(msgspec.Struct):
    type: str = ""
    name: str | None = None
    text: str | None = None
    thinking: str | None = None


class _Summary(msgspec.Struct):
    summary: str = ""


class _Delta(msgspec.Struct):
    type: str = ""
    text: str | None = None
    thinking: str | None = None
    summary: str | _Summary | None = None
    partial_json: str | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None


class _Wire(msgspec.Struct):
    type: str
    index: int = 0
    message: _Started | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    error: WireError | None = None
    message_limit: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Typed(msgspec.Struct):
    type: str


_decoder = msgspec.json.Decoder(_Wire)
_typed_decoder = msgspec.json.Decoder(_Typed)


class _Kind(StrEnum):
    """What the open block of the site becomes."""

    TEXT = "text"
    THINKING = "thinking"
    ARTIFACT = "artifact"
    NOTHING = "nothing"


class WebStreamDecoder:
    """Bytes, cut anywhere, to canonical events that keep the stream grammar.

    Usage is an estimate, and says so: a token is taken for four bytes of UTF-8.

    Attributes:
        observed: what has been seen so far; complete also where the answer was cut here.
        fault: what makes it unreadable from here on, found behind sound events.
        limit: what the site said about the account's limit, if it did.
        whole: whether the site's own end has come, and nothing of its answer was cut off here.
    """

    def __init__(
        self,
        event_max_bytes: int,
        *,
        input_tokens: int,
        stop_sequences: Sequence[str] = (),
        max_tokens: int | None = None,
    ) -> None:
        self.observed = Observed()
        self.fault: StreamBroken | None = None
        self.limit: LimitFacts | None = None
        self.whole = False
        self._sse = SseDecoder(event_max_bytes)
        self._grammar = StreamGrammar()
        self._cutter = Cutter(stop_sequences, max_tokens)
        self._artifacts = Artifacts()
        self._input_tokens = input_tokens
        self._max_argument_bytes = event_max_bytes
        self._thinking_bytes = 0
        self._index = 0
        self._kind: _Kind | None = None
        self._wire_index = 0
        self._arguments: list[str] = []
        self._arguments_bytes = 0
        self._thought = False
        self._handlers: dict[str, Callable[[_Wire, list[Event]], None]] = {
            "message_start": self._start,
            "content_block_start": self._block_start,
            "content_block_delta": self._block_delta,
            "content_block_stop": self._block_stop,
            "message_delta": self._delta,
            "message_limit": self._limit,
            "message_stop": self._stop,
            "ping": self._ping,
            "error": self._error,
        }

    def feed(self, chunk: bytes) -> list[Event]:
        """The events `chunk` completes.

        Raises StreamBroken for an event that cannot be read or may not come here; if sound events came before it
        in the same chunk, they are returned and the next call raises.
        """
        if self.fault is not None:
            raise self.fault
        events: list[Event] = []
        try:
            for data in self._sse.feed_data(chunk):
                self._take(data, events)
            self.fault = self._sse.fault
        except StreamBroken as fault:
            self.fault = fault
            if not events:
                raise
        return events

    def _take(self, data: bytes, events: list[Event]) -> None:
        if not data or self.observed.error is not None:
            return
        wire = self._decoded(data)
        if wire is None:
            self._count()
            return
        # A cut answer may still say something about the account's limit, where it came at the same time.
        if self.observed.complete and wire.type != "message_limit":
            return
        if wire.type != "ping":
            self._count()
        self._handlers[wire.type](wire, events)

    def _decoded(self, data: bytes) -> _Wire | None:
        """An event whose type is known, or None."""
        try:
            wire = _decoder.decode(data)
        except (ValueError, RecursionError):
            if (kind := _kind_of(data)) in self._handlers:
                raise StreamBroken(f"a {kind} has the wrong shape") from None
            return None
        return wire if wire.type in self._handlers else None

    def _count(self) -> None:
        self.observed.started = True
        self.observed.events += 1

    def _emit(self, event: Event, events: list[Event]) -> None:
        try:
            self._grammar.accept(event)
        except GrammarError as error:
            raise StreamBroken(str(error)) from None
        events.append(event)

    def _start(self, wire: _Wire, events: list[Event]) -> None:
        started = wire.message or _Started()
        usage = Usage(input_tokens=self._input_tokens, output_tokens=0, estimated=True)
        self.observed.model, self.observed.usage = started.model or "", usage
        self._emit(MessageStart(Message(id=started.id or "", model=started.model or "", usage=usage)), events)

    def _block_start(self, wire: _Wire, events: list[Event]) -> None:
        if self._kind is not None:
            raise StreamBroken("a block begins inside another")
        block = wire.content_block or _Block()
        self._wire_index, self._thought = wire.index, False
        self._arguments, self._arguments_bytes = [], 0
        match block.type:
            case "text":
                self._kind = _Kind.TEXT
                self._emit(ContentBlockStart(self._index, TextBlock("")), events)
                self._say(block.text or "", events)
            case "thinking":
                self._kind = _Kind.THINKING
                self._emit(ContentBlockStart(self._index, ThinkingBlock("")), events)
                self._think(block.thinking or "", events)
            case "tool_use" if Artifacts.made_by(block.name or ""):
                self._kind = _Kind.ARTIFACT
            case _:
                self._kind = _Kind.NOTHING

    def _block_delta(self, wire: _Wire, events: list[Event]) -> None:
        if self._kind is None or wire.index != self._wire_index:
            raise StreamBroken("a delta belongs to no open block")
        delta = wire.delta or _Delta()
        match self._kind, delta.type:
            case _Kind.TEXT, "text_delta":
                self._say(delta.text or "", events)
            case _Kind.THINKING, "thinking_delta":
                self._thought = True
                self._think(delta.thinking or "", events)
            case _Kind.THINKING, "thinking_summary_delta" if not self._thought:
                summary = delta.summary
                text = summary.summary if isinstance(summary, _Summary) else summary or delta.thinking or ""
                self._think(f"{text}\n" if text else "", events)
            case _Kind.ARTIFACT, "input_json_delta":
                self._gather(delta.partial_json or "")
            case _:
                pass

    def _gather(self, piece: str) -> None:
        self._arguments_bytes += len(piece.encode())
        if self._arguments_bytes > self._max_argument_bytes:
            raise StreamBroken(f"an artifact is larger than {self._max_argument_bytes} bytes")
        self._arguments.append(piece)

    def _block_stop(self, wire: _Wire, events: list[Event]) -> None:
        kind = self._kind
        if kind is None or wire.index != self._wire_index:
            raise StreamBroken("a block ends that is not open")
        if kind is _Kind.ARTIFACT:
            text = self._artifacts.shown("".join(self._arguments))
            if not text:
                kind = _Kind.NOTHING
            else:
                self._kind = kind = _Kind.TEXT
                self._emit(ContentBlockStart(self._index, TextBlock("")), events)
                self._say(text, events)
        if kind is _Kind.TEXT and not self.observed.complete:
            self._show(*self._cutter.flush(), events)
        if kind is not _Kind.NOTHING and not self.observed.complete:
            self._close_block(events)
        self._kind = None

    def _close_block(self, events: list[Event]) -> None:
        self._emit(ContentBlockStop(self._index), events)
        self._index += 1

    def _say(self, text: str, events: list[Event]) -> None:
        if text:
            self._show(*self._cutter.feed(text), events)

    def _show(self, text: str, reached: Reached | None, events: list[Event]) -> None:
        if text:
            self._emit(ContentBlockDelta(self._index, TextDelta(text)), events)
        if reached is not None:
            self._close_block(events)
            self._finish(Stop(reached.stop_reason, reached.stop_sequence), events)
            self._complete(events)

    def _think(self, text: str, events: list[Event]) -> None:
        if text:
            self._thinking_bytes += len(text.encode())
            self._emit(ContentBlockDelta(self._index, ThinkingDelta(text)), events)

    def _finish(self, stop: Stop, events: list[Event]) -> None:
        said_bytes = self._cutter.shown_bytes + self._thinking_bytes
        usage = Usage(
            input_tokens=self._input_tokens, output_tokens=-(-said_bytes // BYTES_PER_TOKEN), estimated=True
        )
        self.observed.stop_reason = stop.stop_reason
        self.observed.usage = self.observed.usage.merge(usage)
        self._emit(MessageDelta(stop, usage), events)

    def _complete(self, events: list[Event]) -> None:
        self._emit(MessageStop(), events)
        self.observed.complete = True

    def _delta(self, wire: _Wire, events: list[Event]) -> None:
        delta = wire.delta or _Delta()
        # The client has no tools here: a turn that ends in one of the site's own has ended.
        reason = _END if delta.stop_reason in {None, _TOOL_STOP} else delta.stop_reason
        self._finish(Stop(reason, delta.stop_sequence), events)

    def _limit(self, wire: _Wire, _events: list[Event]) -> None:
        if wire.message_limit is not msgspec.UNSET:
            self.limit = decode_limit(wire.message_limit) or self.limit

    def _stop(self, _wire: _Wire, events: list[Event]) -> None:
        self._complete(events)
        self.whole = True

    def _ping(self, _wire: _Wire, events: list[Event]) -> None:
        self._emit(Ping(), events)

    def _error(self, wire: _Wire, events: list[Event]) -> None:
        facts = (wire.error or WireError("api_error")).facts()
        self.observed.error = StreamError(facts.type, facts.message, facts.code)
        self._emit(ErrorEvent(ErrorBody(facts.type or "api_error", facts.message)), events)


def _kind_of(data: bytes) -> str:
    try:
        return _typed_decoder.decode(data).type
    except (ValueError, RecursionError):
        raise StreamBroken("an event is no JSON object") from None
