"""What an answer says, gathered beside its way to the client, for conversations that are remembered."""

from typing import Final

import msgspec

from proxy.dialects.common import PLAIN_FORM, AnswerForm, Dialect, Observed, StreamBroken
from proxy.dialects.openai_chat.history import with_conversation
from proxy.dialects.upstream import MessageBroken, StreamDecoder, UpstreamDialect
from proxy.dispatch.lanes import StreamLane
from proxy.model.collect import Collector
from proxy.model.events import Event
from proxy.model.grammar import GrammarError
from proxy.model.message import Message

_LONGEST_BYTES: Final = 32 * 1024 * 1024
"""Of a stream that is gathered; with its events around it, nothing longer could be remembered."""


class Said(msgspec.Struct, frozen=True):
    """A whole answer, and the form its client asked for."""

    message: Message
    form: AnswerForm = PLAIN_FORM


def said_in(body: bytes, spoken: UpstreamDialect) -> Said | None:
    """What a whole answer of an upstream says; None where it cannot be read, which costs nobody the answer."""
    try:
        return Said(spoken.decode_message(body))
    except MessageBroken:
        return None


def with_name(body: bytes, dialect: Dialect, conversation: str) -> bytes:
    """A whole answer that passes as it came, with its conversation's id where the dialect has room for it."""
    return with_conversation(body, conversation) if dialect.name == "openai_chat" else body


class RecordedLane:
    """A lane whose answer is read a second time as it passes. See `StreamLane`.

    What the second reading cannot make sense of is not remembered, and changes nothing for the client.
    """

    __slots__ = ("_collector", "_decoder", "_form", "_lane", "_left_bytes")

    def __init__(self, lane: StreamLane, decoder: StreamDecoder, form: AnswerForm) -> None:
        self._lane = lane
        self._decoder = decoder
        self._form = form
        self._collector: Collector | None = Collector()
        self._left_bytes = _LONGEST_BYTES

    @property
    def observed(self) -> Observed:
        """See `StreamLane.observed`."""
        return self._lane.observed

    @property
    def fault(self) -> StreamBroken | None:
        """See `StreamLane.fault`."""
        return self._lane.fault

    def feed(self, chunk: bytes) -> bytes:
        """See `StreamLane.feed`."""
        frames = self._lane.feed(chunk)
        self._left_bytes -= len(chunk)
        if self._collector is not None:
            self._collect(chunk)
        return frames

    def end(self) -> bytes:
        """See `StreamLane.end`."""
        frames = self._lane.end()
        if self._collector is not None:
            self._collect(None)
        return frames

    def said(self) -> Said | None:
        """The whole answer; None before it is whole, and where it could not be read."""
        if self._collector is None:
            return None
        try:
            return Said(self._collector.message(), self._form)
        except GrammarError:
            return None

    def _collect(self, chunk: bytes | None) -> None:
        """Read a chunk, or the end."""
        collector = self._collector
        if collector is None or self._left_bytes < 0:
            self._collector = None
            return
        try:
            events: list[Event] = self._decoder.end() if chunk is None else self._decoder.feed(chunk)
            for event in events:
                collector.add(event)
        except (StreamBroken, GrammarError):
            self._collector = None
