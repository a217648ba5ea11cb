"""The grammar of a response's events, as its clients understand it."""

from collections.abc import Sequence

import msgspec

_ENDS = frozenset(("response.completed", "response.incomplete", "response.failed"))
_ENDED_BY = {
    "response.output_text.delta": "response.output_text.done",
    "response.function_call_arguments.delta": "response.function_call_arguments.done",
    "response.custom_tool_call_input.delta": "response.custom_tool_call_input.done",
    "response.reasoning_summary_text.delta": "response.reasoning_summary_text.done",
    "response.refusal.delta": "response.refusal.done",
}
_SAYS = {
    "response.output_text.done": "text",
    "response.function_call_arguments.done": "arguments",
    "response.custom_tool_call_input.done": "input",
    "response.reasoning_summary_text.done": "text",
    "response.refusal.done": "refusal",
}


class _Item(msgspec.Struct):
    id: str
    type: str
    status: str


class _Response(msgspec.Struct):
    id: str
    status: str
    output: list[_Item]


class _Event(msgspec.Struct):
    type: str
    sequence_number: int
    output_index: int = -1
    item_id: str = ""
    delta: str = ""
    text: str = ""
    arguments: str = ""
    input: str = ""
    refusal: str = ""
    item: _Item | None = None
    response: _Response | None = None


def check_order(found: Sequence[dict[str, object]], *, whole: bool) -> None:
    """Raise AssertionError unless these may be the events of a response; a whole one has an end."""
    events = msgspec.convert(found, list[_Event])
    assert [event.sequence_number for event in events] == list(range(len(events)))
    if not events:
        assert not whole
        return
    assert [event.type for event in events[:2]] == ["response.created", "response.in_progress"]
    assert sum(event.type in _ENDS for event in events) == whole
    assert (events[-1].type in _ENDS) is whole
    assert len({event.response.id for event in events if event.response is not None}) == 1
    done = _check_items(events[2:])
    last = events[-1].response
    if whole and last is not None:
        assert [item.id for item in last.output] in (done, done[-1:])


def _check_items(events: Sequence[_Event]) -> list[str]:
    """One item after the other, each added once, filled, and done once; what is done says what was added."""
    opened: _Item | None = None
    done: list[str] = []
    said: dict[str, str] = {}
    for event in events:
        if event.type == "response.output_item.added":
            assert opened is None
            assert event.item is not None
            assert event.output_index == len(done)
            assert event.item.status == "in_progress"
            opened, said = event.item, {}
        elif event.type == "response.output_item.done":
            assert opened is not None
            assert event.item is not None
            assert (event.item.id, event.item.type, event.output_index) == (opened.id, opened.type, len(done))
            assert event.item.status in {"completed", "incomplete"}
            assert not said
            done.append(opened.id)
            opened = None
        elif event.item_id:
            assert opened is not None
            assert (event.item_id, event.output_index) == (opened.id, len(done))
            _fill(event, said)
    return done


def _fill(event: _Event, said: dict[str, str]) -> None:
    if (end := _ENDED_BY.get(event.type)) is not None:
        said[end] = said.get(end, "") + event.delta
    elif event.type in _SAYS:
        assert said.pop(event.type, "") == getattr(event, _SAYS[event.type])
