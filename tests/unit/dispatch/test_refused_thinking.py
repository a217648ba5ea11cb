"""Thinking the upstream refuses: left out once, at the same credential."""

import msgspec
import pytest

from proxy.dispatch.trace import Trace
from proxy.exchange import Exchange
from proxy.pool import Fault, Success
from tests.unit.dispatch.asking import Client, ask, asked, turned_away
from tests.unit.dispatch.building import (
    CHAT,
    WHOLE,
    Answer,
    bench,
    body,
    credential,
    exchange,
    frame,
    refused,
    streamed,
    whole,
)

_REFUSED_THINKING = refused(
    400, type="invalid_request_error", message="messages.1.content.0: Invalid `signature` in `thinking` block"
)
_REFUSED_IN_STREAM = streamed(
    frame("error", error={"type": "invalid_request_error", "message": _REFUSED_THINKING.message})
)


def _with_thinking(*, stream: bool = False) -> Exchange:
    detail = {"type": "reasoning.text", "text": "I think.", "signature": "s"}
    spoken = {"role": "assistant", "content": "So.", "reasoning_details": [detail]}
    asking = {"role": "user", "content": "Hi"}
    return exchange(body(messages=[asking, spoken, asking], stream=stream), dialect=CHAT)


@pytest.mark.parametrize(
    ("stream", "refusal", "answer"),
    [
        (False, _REFUSED_THINKING, whole()),
        (True, _REFUSED_THINKING, streamed(*WHOLE)),
        (True, _REFUSED_IN_STREAM, streamed(*WHOLE)),
    ],
    ids=["unary", "streamed", "event"],
)
async def test_thinking_that_is_refused_is_left_out_once_at_the_same_credential(
    stream: bool, refusal: Answer, answer: Answer
) -> None:
    """Protects conversations whose thinking has become unreadable, and the credential from the blame."""
    house, trace = bench(refusal, answer, credentials=[credential("a"), credential("b")]), Trace()
    opened = await ask(house, _with_thinking(stream=stream), trace=trace)
    house.dispatcher.end(opened, Success())
    assert asked(house) == ["a", "a"]
    first, second = (call.body for _, call in house.upstream.calls)
    assert b'"signature":"s"' in first
    assert b'"thinking"' not in second
    assert (trace.attempts, [item.outcome for item in trace.failed]) == (2, ["thinking"])
    assert "messages[1].reasoning_details" in [item.field for item in trace.dropped]
    assert house.pool.in_flight == 0
    assert house.store.rows == []


async def test_thinking_is_left_out_only_once() -> None:
    """Protects the upstream from a request it refuses for another reason."""
    house = bench(_REFUSED_THINKING, _REFUSED_THINKING)
    assert (await turned_away(house, _with_thinking())).status == 400
    assert len(house.upstream.calls) == 2


async def test_what_follows_a_refusal_of_thinking_goes_without_it_too() -> None:
    """Protects the attempts at other credentials from the same refusal."""
    house = bench(_REFUSED_THINKING, Fault.RESET, whole())
    opened = await ask(house, _with_thinking())
    house.dispatcher.end(opened, Success())
    assert asked(house) == ["api-1", "api-1", "api-2"]
    assert all(b'"thinking"' not in call.body for _, call in house.upstream.calls[1:])


async def test_a_request_into_which_no_thinking_was_put_is_not_asked_again() -> None:
    """Protects a Messages client's own history, and requests that have none."""
    for call in (exchange(), exchange(dialect=CHAT)):
        house = bench(_REFUSED_THINKING)
        assert (await turned_away(house, call)).status == 400
        assert len(house.upstream.calls) == 1


async def test_after_the_commit_and_without_time_thinking_stays() -> None:
    """Protects the headers a client already has, and its deadline."""
    house = bench(_REFUSED_THINKING)
    await turned_away(house, _with_thinking(stream=True), client=Client(commit_at=1))
    assert len(house.upstream.calls) == 1
    house = bench(_REFUSED_THINKING)
    late = msgspec.structs.replace(_with_thinking(), deadline_s=house.clock.monotonic_s() + 4.0)
    await turned_away(house, late)
    assert len(house.upstream.calls) == 1
