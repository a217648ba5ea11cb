"""A streamed answer of an OpenAI-compatible API as canonical events.

Anthropic's blocks come one after another and never mix, while chunks may bring pieces of several tool calls in any
order, and text between them. So the parts of an answer stand in a queue: the first is open and passes as it comes,
those behind it are held until it is known to have ended.
"""

from collections import deque
from typing import Final

from proxy.dialects.common import Observed, StreamBroken
from proxy.dialects.openai_chat.upstream.chunk import DONE, Chunk, decode_chunk, observe
from proxy.dialects.openai_chat.upstream.wire import OWN_SIGNATURE, Call, Said, call_id, message_id, stop_of
from proxy.dialects.sse import SseDecoder
from proxy.model.collect import json_object
from proxy.model.content import EMPTY_OBJECT, Block, TextBlock, ThinkingBlock, ToolUseBlock
from proxy.model.events import (
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    ErrorBody,
    ErrorEvent,
    Event,
    InputJsonDelta,
    MessageDelta,
    MessageStart,
    MessageStop,
    SignatureDelta,
    TextDelta,
    ThinkingDelta,
)
from proxy.model.message import Message


class _Part:
    """A block to be: its pieces until it may be opened, and for a tool call all of its arguments."""

    __slots__ = ("arguments", "held", "id", "kind", "name", "size")

    def __init__(self, kind: type[Block]) -> None:
        self.kind = kind
        self.held: list[str] = []
        self.id: str | None = None
        self.name = ""
        self.arguments: list[str] = []
        self.size = 0

    @property
    def known(self) -> bool:
        """Whether it can be opened: a tool call needs its name."""
        return self.kind is not ToolUseBlock or bool(self.name)

    @property
    def over(self) -> bool:
        """Whether nothing can follow: text ends with what comes after it, arguments with their JSON."""
        if self.kind is not ToolUseBlock:
            return True
        # most pieces end in the middle, which is cheaper to see than that the whole is no JSON yet
        if not self.arguments or not self.arguments[-1].rstrip().endswith("}"):
            return False
        return json_object("".join(self.arguments)) is not None


class ChatStreamDecoder:
    """Bytes, cut anywhere, to canonical events that keep the stream grammar.

    The answer is whole when it gave a finish reason and then ``[DONE]`` or the end of its body came; whatever
    follows the first of the two is skipped.

    Attributes:
        observed: what has been seen so far.
        fault: what makes it unreadable from here on, found behind sound events.
    """

    __slots__ = (
        "_calls", "_event_max_bytes", "_finish", "_held", "_id", "_index", "_numbers", "_open", "_out", "_parts",
        "_refusal", "_sse", "fault", "observed",
    )  # fmt: skip

    def __init__(self, event_max_bytes: int) -> None:
        self.observed = Observed()
        self.fault: StreamBroken | None = None
        self._event_max_bytes = event_max_bytes
        self._sse = SseDecoder(event_max_bytes)
        self._out: list[Event] = []
        self._parts: deque[_Part] = deque()
        self._calls: dict[int, _Part] = {}
        self._numbers = 0
        self._open = False
        self._index = 0
        self._id = ""
        self._finish = ""
        self._refusal = ""
        self._held = 0

    def feed(self, chunk: bytes) -> list[Event]:
        """The events `chunk` completes.

        Raises StreamBroken for an event that cannot be read; if sound events came before it in the same bytes,
        they are returned and the next call raises.
        """
        if self.fault is not None:
            raise self.fault
        try:
            for data in self._sse.feed_data(chunk):
                self._take(data)
            self.fault = self._sse.fault
        except StreamBroken as fault:
            self.fault = fault
            if not self._out:
                raise
        return self._taken()

    def end(self) -> list[Event]:
        """See `StreamDecoder.end`."""
        if self._finish and self.fault is None and not self._ended():
            try:
                self._complete()
            except StreamBroken as fault:
                self.fault = fault
        return self._taken()

    def _taken(self) -> list[Event]:
        events, self._out = self._out, []
        return events

    def _ended(self) -> bool:
        return self.observed.complete or self.observed.error is not None

    def _take(self, data: bytes) -> None:
        if not data or self._ended():
            return
        if data == DONE:
            if not self._finish:
                raise StreamBroken("the stream ends without a finish reason")
            self._complete()
            return
        chunk = decode_chunk(data)
        begun = self.observed.started
        observe(self.observed, chunk, data)
        if (error := self.observed.error) is not None:
            self._out.append(ErrorEvent(ErrorBody(error.type, error.message)))
            return
        if not begun:
            self._begin(chunk)
        for choice in chunk.choices or ():
            if choice.index:
                continue
            if choice.delta is not None:
                self._say(choice.delta)
            self._finish = choice.finish_reason or self._finish

    def _begin(self, chunk: Chunk) -> None:
        self._id = chunk.id or ""
        self._out.append(MessageStart(Message(id=message_id(self._id), model=chunk.model or "")))

    def _say(self, said: Said) -> None:
        if said.thinking:
            self._add(ThinkingBlock, said.thinking)
        if said.content:
            self._add(TextBlock, said.content)
        if said.refusal:
            self._refusal += said.refusal
            self._hold(said.refusal)
        for call in said.calls:
            self._call(call)

    def _add(self, kind: type[Block], text: str) -> None:
        """More text or thinking; a new part, unless the last one is of the same kind."""
        if not self._parts or self._parts[-1].kind is not kind:
            self._append(_Part(kind))
        self._bring(self._parts[-1], text)

    def _call(self, call: Call) -> None:
        """More of a tool call, found by its index; a new id under an old index is another call."""
        index = call.index if call.index is not None else self._unnumbered(call)
        part = self._calls.get(index)
        if part is None or (call.id and part.id and call.id != part.id):
            part = self._calls[index] = _Part(ToolUseBlock)
            self._append(part)
        part.id = part.id or call.id
        if call.function is None:
            return
        part.name = part.name or call.function.name or ""
        if text := call.function.arguments:
            part.arguments.append(text)
            part.size += len(text)
            self._limit(part.size)
        self._bring(part, text or "")

    def _unnumbered(self, call: Call) -> int:
        """The index of a call that brings none: a further one where it brings an id that is new, else the last."""
        last = max(self._calls, default=0)
        part = self._calls.get(last)
        return last + 1 if part is not None and call.id and part.id and call.id != part.id else last

    def _append(self, part: _Part) -> None:
        self._parts.append(part)
        self._advance()

    def _bring(self, part: _Part, text: str) -> None:
        if part not in self._parts:
            # its arguments were whole: some upstreams repeat them at the end
            return
        if part is self._parts[0] and self._open:
            self._delta(part, text)
            self._advance()
        else:
            part.held.append(text)
            self._hold(text)
            self._advance()

    def _hold(self, text: str) -> None:
        self._held += len(text)
        self._limit(self._held)

    def _limit(self, size: int) -> None:
        if size > self._event_max_bytes:
            raise StreamBroken("more has to be kept of the answer than a single event may hold")

    def _advance(self) -> None:
        """Open the first part as soon as it is known, and go on to the next when it is over."""
        while self._parts:
            part = self._parts[0]
            if not self._open:
                if not part.known:
                    return
                self._start(part)
            if len(self._parts) == 1 or not part.over:
                return
            self._stop(part)

    def _start(self, part: _Part) -> None:
        block: Block
        if part.kind is ToolUseBlock:
            block = ToolUseBlock(call_id(part.id, self._id, self._numbers), part.name, EMPTY_OBJECT)
            self._numbers += 1
        else:
            block = ThinkingBlock("") if part.kind is ThinkingBlock else TextBlock("")
        self._open = True
        self._out.append(ContentBlockStart(self._index, block))
        for text in part.held:
            self._held -= len(text)
            self._delta(part, text)
        part.held.clear()

    def _delta(self, part: _Part, text: str) -> None:
        if text:
            make: Final = _DELTAS[part.kind]
            self._out.append(ContentBlockDelta(self._index, make(text)))

    def _stop(self, part: _Part) -> None:
        if part.kind is ThinkingBlock:
            self._out.append(ContentBlockDelta(self._index, SignatureDelta(OWN_SIGNATURE)))
        self._out.append(ContentBlockStop(self._index))
        self._index += 1
        self._open = False
        self._parts.popleft()

    def _complete(self) -> None:
        called = bool(self._calls)
        while self._parts:
            part = self._parts[0]
            if not part.known:
                raise StreamBroken("a tool call has no name")
            if not self._open:
                self._start(part)
            self._stop(part)
        stop = stop_of(self._finish, refusal=self._refusal, calls=called)
        self.observed.stop_reason = stop.stop_reason
        self.observed.complete = True
        self._out += (MessageDelta(stop, self.observed.usage), MessageStop())


_DELTAS: Final[dict[type[Block], type[TextDelta] | type[ThinkingDelta] | type[InputJsonDelta]]] = {
    TextBlock: TextDelta,
    ThinkingBlock: ThinkingDelta,
    ToolUseBlock: InputJsonDelta,
}
