"""The stream grammar: what may follow what."""

from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given

from proxy.model.content import TextBlock
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
)
from proxy.model.grammar import TRANSITIONS, GrammarError, State, StreamGrammar, diagram
from proxy.model.message import Message
from tests.unit.model.streams import legal_streams

_START = MessageStart(Message())
_OPEN = ContentBlockStart(0, TextBlock(""))
_DELTA = ContentBlockDelta(0, TextDelta("a"))
_CLOSE = ContentBlockStop(0)
_END = MessageDelta(Stop("end_turn"))
_STOP = MessageStop()
_ERROR = ErrorEvent(ErrorBody())

_ILLEGAL: list[tuple[str, list[Event]]] = [
    ("a delta before the start", [_DELTA]),
    ("a block before the start", [_OPEN]),
    ("an end before the start", [_STOP]),
    ("two starts", [_START, _START]),
    ("a delta outside a block", [_START, _DELTA]),
    ("a block inside a block", [_START, _OPEN, ContentBlockStart(1, TextBlock(""))]),
    ("an end inside a block", [_START, _OPEN, _END]),
    ("a stop without a reason", [_START, _STOP]),
    ("a first index of one", [_START, ContentBlockStart(1, TextBlock(""))]),
    ("a gap between indexes", [_START, _OPEN, _CLOSE, ContentBlockStart(2, TextBlock(""))]),
    ("an index used twice", [_START, _OPEN, _CLOSE, _OPEN]),
    ("a delta for another block", [_START, _OPEN, ContentBlockDelta(1, TextDelta("a"))]),
    ("the end of another block", [_START, _OPEN, ContentBlockStop(1)]),
    ("a block after the reason", [_START, _END, _OPEN]),
    ("anything after the end", [_START, _END, _STOP, Ping()]),
    ("anything after an error", [_START, _ERROR, Ping()]),
]


@pytest.mark.parametrize(("name", "events"), _ILLEGAL)
def test_illegal_streams_are_refused_at_their_last_event(name: str, events: list[Event]) -> None:
    """Each way an upstream was ever seen to go wrong is refused, and changes nothing."""
    grammar = StreamGrammar()
    for event in events[:-1]:
        grammar.accept(event)
    before = repr(grammar)
    with pytest.raises(GrammarError):
        grammar.accept(events[-1])
    assert repr(grammar) == before, name


@given(legal_streams())
def test_whatever_the_table_allows_is_accepted(events: list[Event]) -> None:
    """Guard and table agree, and every walk comes to an end state."""
    grammar = StreamGrammar()
    for event in events:
        grammar.accept(event)
        assert (grammar.open_index >= 0) == (grammar.state is State.IN_BLOCK)
    assert not TRANSITIONS[grammar.state]


def test_every_event_and_every_state_has_its_place() -> None:
    """A new event or state cannot be forgotten in the table."""
    assert set(TRANSITIONS) == set(State)
    assert {kind for kinds in TRANSITIONS.values() for kind in kinds} == set(get_args(Event))


def test_the_diagram_shows_each_transition() -> None:
    """The docs' picture is the table itself."""
    lines = diagram().splitlines()
    assert lines[0] == "stateDiagram-v2"
    assert "    in_block --> between_blocks: content_block_stop" in lines
    arrows = sum(len(kinds) for kinds in TRANSITIONS.values())
    assert sum(": " in line for line in lines) == arrows
    assert "    complete --> [*]" in lines


def test_the_page_shows_the_diagram_of_the_table() -> None:
    """Protects readers of the docs from a picture of yesterday's table."""
    page = (Path(__file__).parents[3] / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert f"```mermaid\n{diagram()}```\n" in page
