"""Both lanes take an upstream's bytes and tell the same of them."""

import pytest

from proxy.dialects.common import Dialect, StreamBroken
from proxy.dispatch.lanes import SPOKEN, StreamLane, TranslatedLane, VerbatimLane
from tests.unit.dialects.openai_chat.upstream.building import WHOLE as CHAT_WHOLE
from tests.unit.dispatch.building import ANTHROPIC, CHAT, PING, RENDERING, WHOLE

_CAP_BYTES = 4096


def _lanes() -> list[StreamLane]:
    return [
        VerbatimLane(_CAP_BYTES),
        TranslatedLane(CHAT.stream_encoder(RENDERING), _CAP_BYTES),
        TranslatedLane(ANTHROPIC.stream_encoder(RENDERING), _CAP_BYTES),
    ]


@pytest.mark.parametrize("index", [0, 1, 2], ids=["verbatim", "to chat", "to messages"])
def test_every_lane_observes_the_same_answer(index: int) -> None:
    """Protects usage and health, which do not depend on the client's dialect."""
    lane = _lanes()[index]
    shown = b"".join(lane.feed(event) for event in WHOLE)
    assert b"Hello" in shown
    observed = lane.observed
    assert (observed.started, observed.complete, observed.stop_reason) == (True, True, "end_turn")
    assert (observed.usage.input_tokens, observed.usage.output_tokens) == (3, 7)
    assert lane.fault is None


@pytest.mark.parametrize("index", [0, 1, 2], ids=["verbatim", "to chat", "to messages"])
def test_a_ping_is_no_beginning_in_any_lane(index: int) -> None:
    """Protects the choice to try again while nothing real has come."""
    lane = _lanes()[index]
    lane.feed(PING + b": comment\n\n")
    assert not lane.observed.started


@pytest.mark.parametrize("index", [0, 1, 2], ids=["verbatim", "to chat", "to messages"])
def test_an_event_over_its_cap_breaks_every_lane(index: int) -> None:
    """Protects memory in every lane."""
    lane = _lanes()[index]
    lane.feed(WHOLE[0])
    try:
        lane.feed(b"data: " + b"x" * (2 * _CAP_BYTES))
    except StreamBroken:
        return
    assert lane.fault is not None


def test_the_verbatim_lane_changes_no_byte_and_keeps_half_events_back() -> None:
    """Protects the bytes of an answer, and frames of our own from landing inside an event."""
    lane = VerbatimLane(_CAP_BYTES)
    assert lane.feed(WHOLE[0] + WHOLE[1][:10]) == WHOLE[0]
    assert lane.feed(WHOLE[1][10:]) == WHOLE[1]


@pytest.mark.parametrize("dialect", [ANTHROPIC, CHAT], ids=["to messages", "to chat"])
def test_another_apis_answer_is_observed_the_same_translated_or_not(dialect: Dialect) -> None:
    """Protects usage and health over APIs of the other dialect."""
    spoken = SPOKEN["openai_chat"]
    lanes: list[StreamLane] = [
        VerbatimLane(_CAP_BYTES, spoken, hides_usage=True),
        TranslatedLane(dialect.stream_encoder(RENDERING), _CAP_BYTES, spoken),
    ]
    for lane in lanes:
        shown = b"".join(lane.feed(event) for event in CHAT_WHOLE) + lane.end()
        assert b"Hello" in shown
        assert (lane.observed.complete, lane.observed.stop_reason) == (True, "end_turn")
        assert (lane.observed.usage.input_tokens, lane.observed.usage.output_tokens) == (5, 4)
