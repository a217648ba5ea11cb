"""The grammar of the canonical stream, as one table.

Everything that says which event may follow which lives in `TRANSITIONS`. It is used three ways:
`StreamGrammar` guards streams at run time, `walk` draws legal sequences for property tests, `diagram` draws
the picture in the docs.

Source: "Streaming messages" in Anthropic's documentation: one ``message_start``; blocks one after another,
each a start, deltas and a stop; one or more ``message_delta``; ``message_stop``. ``ping`` and ``error`` may
come anywhere before the end, and nothing comes after it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeAlias

from proxy.model.events import (
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    ErrorEvent,
    Event,
    MessageDelta,
    MessageStart,
    MessageStop,
    Ping,
)


class State(StrEnum):
    """How far a stream has come."""

    NEW = "new"
    BETWEEN_BLOCKS = "between_blocks"
    IN_BLOCK = "in_block"
    ENDING = "ending"
    COMPLETE = "complete"
    FAILED = "failed"


EventKind: TypeAlias = type[Event]

TRANSITIONS: Final[Mapping[State, Mapping[EventKind, State]]] = MappingProxyType(
    {
        State.NEW: {
            MessageStart: State.BETWEEN_BLOCKS,
            Ping: State.NEW,
            ErrorEvent: State.FAILED,
        },
        State.BETWEEN_BLOCKS: {
            ContentBlockStart: State.IN_BLOCK,
            MessageDelta: State.ENDING,
            Ping: State.BETWEEN_BLOCKS,
            ErrorEvent: State.FAILED,
        },
        State.IN_BLOCK: {
            ContentBlockDelta: State.IN_BLOCK,
            ContentBlockStop: State.BETWEEN_BLOCKS,
            Ping: State.IN_BLOCK,
            ErrorEvent: State.FAILED,
        },
        State.ENDING: {
            MessageDelta: State.ENDING,
            MessageStop: State.COMPLETE,
            Ping: State.ENDING,
            ErrorEvent: State.FAILED,
        },
        State.COMPLETE: {},
        State.FAILED: {},
    }
)


class GrammarError(ValueError):
    """An event that may not come here."""


class StreamGrammar:
    """The guard of one stream: hand it every event in order.

    Attributes:
        state: how far the stream has come.
        open_index: the index of the open block, whose deltas need no further look; -1 while none is open.
    """

    __slots__ = ("_allowed", "_index", "open_index", "state")

    def __init__(self) -> None:
        self.state = State.NEW
        self._allowed = TRANSITIONS[State.NEW]
        self._index = 0
        self.open_index = -1

    def accept(self, event: Event) -> None:
        """Step on. Raises GrammarError, and stays where it is, for an event or a block index out of place."""
        following = self._allowed.get(type(event))
        if following is None:
            raise GrammarError(f"{_name(type(event))} cannot come in state {self.state}")
        if isinstance(event, ContentBlockDelta | ContentBlockStart | ContentBlockStop):
            if event.index != self._index:
                raise GrammarError(f"{_name(type(event))} has index {event.index}, expected {self._index}")
            if isinstance(event, ContentBlockStop):
                self._index += 1
        if following is not self.state:
            self.state = following
            self._allowed = TRANSITIONS[following]
            self.open_index = self._index if following is State.IN_BLOCK else -1

    def __repr__(self) -> str:
        return f"<StreamGrammar {self.state}, block {self._index}>"


def walk(choose: Callable[[Sequence[EventKind]], EventKind]) -> Iterator[EventKind]:
    """Draw one legal sequence of event kinds: `choose` picks among those the table allows, until none is."""
    state = State.NEW
    while kinds := TRANSITIONS[state]:
        kind = choose(tuple(kinds))
        state = kinds[kind]
        yield kind


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.NEW}"]
    for state, kinds in TRANSITIONS.items():
        lines += [f"    {state} --> {following}: {_name(kind)}" for kind, following in kinds.items()]
        if not kinds:
            lines.append(f"    {state} --> [*]")
    return "\n".join(lines) + "\n"


def _name(kind: EventKind) -> str:
    return str(kind.__struct_config__.tag)
