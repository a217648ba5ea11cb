"""What an answer says is read beside its way to the client, which it never disturbs."""

from typing import Final

import pytest

from proxy.dialects.common import PLAIN_FORM, AnswerForm, StreamBroken
from proxy.dispatch import recording
from proxy.dispatch.lanes import SPOKEN, VerbatimLane
from proxy.dispatch.recording import RecordedLane, Said, said_in, with_name
from proxy.model.content import TextBlock
from tests.unit.dispatch.building import ANTHROPIC, CHAT, MESSAGE, START, WHOLE, frame

_SPOKEN: Final = SPOKEN["anthropic"]
_MAX_BYTES: Final = 100_000


def _lane(form: AnswerForm = PLAIN_FORM) -> RecordedLane:
    return RecordedLane(VerbatimLane(_MAX_BYTES), _SPOKEN.stream_decoder(_MAX_BYTES), form)


def _texts(said: Said | None) -> list[str]:
    assert said is not None
    return [block.text for block in said.message.content if isinstance(block, TextBlock)]


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_stream_passes_unchanged_and_is_known_at_its_end(size: int) -> None:
    """Protects the client's bytes, however they are cut, and the history from half answers."""
    whole, lane = b"".join(WHOLE), _lane(AnswerForm(text_tool="t"))
    sent = b""
    for begin in range(0, len(whole), size):
        assert lane.said() is None
        sent += lane.feed(whole[begin : begin + size])
    sent += lane.end()
    assert sent == whole
    said = lane.said()
    assert _texts(said) == ["Hello"]
    assert said is not None
    assert (said.form.text_tool, said.message.stop_reason) == ("t", "end_turn")
    assert (lane.observed.complete, lane.fault) == (True, None)


def test_what_the_second_reading_cannot_make_sense_of_is_not_remembered() -> None:
    """Protects the client from a mistake that only remembering would find."""
    strange = (
        START,
        frame("content_block_delta", index=3, delta={"type": "text_delta", "text": "?"}),
        *WHOLE[4:],
    )
    lane = _lane()
    for part in strange:
        assert lane.feed(part) == part
    assert lane.observed.complete
    assert lane.said() is None


def test_a_stream_too_long_to_be_remembered_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects memory from an answer without end."""
    monkeypatch.setattr(recording, "_LONGEST_BYTES", 200)
    lane = _lane()
    assert b"".join(map(lane.feed, WHOLE)) == b"".join(WHOLE)
    assert lane.said() is None


def test_what_breaks_the_answer_itself_is_still_told() -> None:
    """Protects clients from a broken stream that looks whole because it was recorded."""
    with pytest.raises(StreamBroken):
        _lane().feed(b"event: message_start\ndata: {no JSON\n\n")


def test_a_stream_that_ends_with_its_body_is_whole() -> None:
    """Protects answers of upstreams that send no last word."""
    chat = SPOKEN["openai_chat"]
    lane = RecordedLane(VerbatimLane(_MAX_BYTES, chat), chat.stream_decoder(_MAX_BYTES), PLAIN_FORM)
    lane.feed(
        b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":"Hi"},"finish_reason":null}]}\n\n'
        b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    )
    assert lane.said() is None
    assert lane.end() == b"data: [DONE]\n\n"
    assert _texts(lane.said()) == ["Hi"]


def test_a_whole_answer_is_read_or_left() -> None:
    """Protects an answer from the reading of it."""
    assert _texts(said_in(MESSAGE, _SPOKEN)) == ["Hello"]
    assert said_in(b"<html>", _SPOKEN) is None


def test_a_passing_answer_is_named_only_where_there_is_room() -> None:
    """Protects the bytes of Messages answers."""
    assert with_name(MESSAGE, ANTHROPIC, "c") == MESSAGE
    assert with_name(b'{"id":"x"}', CHAT, "c") == b'{"id":"x","conversation_id":"c"}'
