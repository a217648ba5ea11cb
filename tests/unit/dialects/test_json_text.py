"""JSON out of its code fence, whole and streamed."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.dialects.json_text import FenceCutter, is_json_object, unfenced, unfenced_message
from proxy.model.content import TextBlock, ToolUseBlock
from proxy.model.events import (
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    Event,
    InputJsonDelta,
    MessageStart,
    TextDelta,
)
from proxy.model.message import Message

_CALL = ToolUseBlock("t", "f", b"{}")  # type: ignore[arg-type]  # any bytes will do


@pytest.mark.parametrize(
    ("text", "inner"),
    [
        ('{"a": 1}', '{"a": 1}'),
        ('```json\n{"a": 1}\n```', '{"a": 1}'),
        ('```\n{"a": 1}\n```\n', '{"a": 1}'),
        ('\n```JSON  \r\n{"a": 1}\r\n  ```  ', '{"a": 1}'),
        ('```json\n{"a": "```"}\n```', '{"a": "```"}'),
        ('```json\n{"a": 1}', '{"a": 1}'),
        ("```", "```"),
        ("```json", "```json"),
        ("```json\n```", ""),
        ('Here: ```json\n{"a": 1}\n```', 'Here: ```json\n{"a": 1}\n```'),
        ('`{"a": 1}`', '`{"a": 1}`'),
        ("", ""),
    ],
)
def test_a_fence_around_everything_is_taken_off(text: str, inner: str) -> None:
    """And nothing else is touched: text before a fence may be the answer."""
    assert unfenced(text) == inner


@pytest.mark.parametrize(
    ("text", "is_object"),
    [
        ('{"a": 1}', True),
        ('```json\n{"a": 1}\n```', True),
        ("[1]", False),
        ("no", False),
        ("", False),
        ('{"a": 1', False),
        ("[" * 100_000, False),
    ],
)
def test_only_an_object_is_what_was_asked_for(text: str, is_object: bool) -> None:
    """JSON mode promises an object."""
    assert is_json_object(text) is is_object


def test_a_whole_answer_keeps_all_but_its_fences() -> None:
    """Each text by itself; calls stay."""
    fenced = Message(content=[TextBlock("```\n{}\n```"), _CALL, TextBlock("a")])
    assert unfenced_message(fenced) == Message(content=[TextBlock("{}"), _CALL, TextBlock("a")])


def _streamed(pieces: list[str]) -> list[Event]:
    return [
        MessageStart(Message()),
        ContentBlockStart(0, TextBlock("")),
        *(ContentBlockDelta(0, TextDelta(piece)) for piece in pieces),
        ContentBlockStop(0),
    ]


def _text(events: list[Event]) -> str:
    deltas = (event.delta for event in events if isinstance(event, ContentBlockDelta))
    return "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))


def _cut(text: str, points: list[int]) -> list[str]:
    edges = [0, *sorted({min(point, len(text)) for point in points}), len(text)]
    return [text[begin:end] for begin, end in pairwise(edges)]


_NEAR_FENCES = st.text(st.sampled_from("`` \n\rj{}a:1"), max_size=40)


@given(
    st.one_of(_NEAR_FENCES, _NEAR_FENCES.map(lambda text: f"```json\n{text}\n```")),
    st.lists(st.integers(0, 60), max_size=8),
)
@example("```json\n{}\n```", list(range(20)))
@example(" " * 10 + "```json\n{}\n```", list(range(30)))
def test_however_a_text_is_cut_the_stream_says_what_the_whole_says(text: str, points: list[int]) -> None:
    """A fence may lie across any number of deltas; beyond the first sixteen characters it is no opening one."""
    shown = _text(FenceCutter().cut(_streamed(_cut(text, points))))
    assert shown == _text(FenceCutter().cut(_streamed([text])))
    if len(text) - len(text.lstrip()) <= 5:
        assert shown == unfenced(text)


def test_no_more_than_sixteen_characters_are_held_back() -> None:
    """A client waits for nothing that is no fence."""
    cutter = FenceCutter()
    cutter.cut(_streamed([])[:2])
    assert cutter.cut([ContentBlockDelta(0, TextDelta(" " * 15))]) == []
    assert _text(cutter.cut([ContentBlockDelta(0, TextDelta(" "))])) == " " * 16
    assert _text(cutter.cut([ContentBlockDelta(0, TextDelta("a"))])) == "a"
    cutter.cut([ContentBlockStart(1, TextBlock(""))])
    assert _text(cutter.cut([ContentBlockDelta(1, TextDelta("{"))])) == "{"


def test_other_events_pass_as_they_are() -> None:
    """Calls, and blocks nobody looks into."""
    events: list[Event] = [
        ContentBlockStart(0, _CALL),
        ContentBlockDelta(0, InputJsonDelta("```json\n")),
        ContentBlockStop(0),
    ]
    assert FenceCutter().cut(events) == events
