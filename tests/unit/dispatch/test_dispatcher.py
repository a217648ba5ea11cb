"""The one loop: who is asked next, when it ends, and that every place is given back."""

import asyncio
from dataclasses import dataclass, field

import pytest

from proxy.dispatch.attempt import StreamOpened, UnaryOpened
from proxy.dispatch.trace import Trace
from proxy.pool import (
    Abandoned,
    Failed,
    FailureClass,
    Fault,
    Lease,
    Outcome,
    Settled,
    State,
    Success,
    classify_fault,
)
from tests.unit.dispatch.asking import Client, ask, asked, turned_away
from tests.unit.dispatch.building import (
    CHAT,
    HELLO,
    OPEN,
    OVERLOADED,
    PING,
    START,
    WHOLE,
    Answer,
    Bench,
    ScriptedReply,
    bench,
    body,
    credential,
    exchange,
    refused,
    streamed,
    whole,
)


async def _turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_an_answer_comes_with_its_lease_and_story() -> None:
    """Protects the headers that tell who answered, and the place that is held until the last byte."""
    house, trace = bench(whole()), Trace()
    opened = await ask(house, trace=trace)
    assert isinstance(opened, UnaryOpened)
    assert (trace.credential, trace.attempts, trace.failed) == ("api-1", 1, [])
    assert opened.stop_reason == "end_turn"
    assert house.pool.in_flight == 1
    house.dispatcher.end(opened, Success())
    assert house.pool.in_flight == 0


@pytest.mark.parametrize("status", [401, 402, 403, 404, 429])
async def test_a_refusal_goes_on_to_the_next_credential(status: int) -> None:
    """Protects clients from the trouble of one credential."""
    message = "model: claude-x" if status == 404 else "no"
    house, trace = bench(refused(status, message=message), whole()), Trace()
    opened = await ask(house, trace=trace)
    house.dispatcher.end(opened, Success())
    assert asked(house) == ["api-1", "api-2"]
    assert [item.credential for item in trace.failed] == ["api-1"]
    assert house.pool.in_flight == 0


@pytest.mark.parametrize(
    "fault",
    [Fault.RESET, Fault.HEADERS_TIMEOUT, Fault.GARBAGE, Fault.TRUNCATED, refused(500), refused(503)],
    ids=str,
)
async def test_a_fault_before_the_first_byte_is_tried_again(fault: Answer) -> None:
    """Protects clients from a single fault of the upstream."""
    house, trace = bench(fault, whole()), Trace()
    opened = await ask(house, trace=trace)
    house.dispatcher.end(opened, Success())
    assert trace.attempts == 2
    assert asked(house) == ["api-1", "api-2"]


@pytest.mark.parametrize(
    "reply",
    [streamed(), streamed(PING), streamed(b"<html>"), streamed(START[:20]), whole(b"[]")],
    ids=["nothing", "a ping", "a page", "half an event", "neither stream nor message"],
)
async def test_a_stream_without_a_real_event_is_tried_again(reply: ScriptedReply) -> None:
    """Protects streaming clients, who have not been sent anything yet."""
    house = bench(reply, streamed(*WHOLE))
    opened = await ask(house, exchange(body(stream=True)))
    assert isinstance(opened, StreamOpened)
    assert reply.closed >= 1
    house.dispatcher.end(opened, Success())
    assert len(house.upstream.calls) == 2


async def test_a_whole_answer_is_told_as_the_stream_that_was_asked_for() -> None:
    """Protects streaming clients behind an upstream that overhears their wish, and them from paying twice."""
    reply = whole()
    house = bench(reply)
    opened = await ask(house, exchange(body(stream=True)))
    assert isinstance(opened, StreamOpened)
    assert reply.closed >= 1
    assert b"Hello" in (await opened.stream.frames(1.0) or b"")
    assert opened.stream.over
    house.dispatcher.end(opened, Success())
    assert len(house.upstream.calls) == 1


async def test_an_error_with_status_200_means_what_it_says() -> None:
    """Protects credentials from blame for an error whose status got lost on the way."""
    house = bench(whole(b'{"type":"error","error":{"type":"invalid_request_error","message":"top_k: no"}}'))
    error = await turned_away(house)
    assert (error.status, error.message) == (400, "top_k: no")
    assert len(house.upstream.calls) == 1


@pytest.mark.parametrize("junk", [b"<html>", b'{"type":"message"', b"", b"null", b"[]", b'{"type":"error"}'])
async def test_a_message_that_is_none_is_tried_again(junk: bytes) -> None:
    """Protects clients from an answer that cannot be read."""
    house = bench(whole(junk), whole())
    opened = await ask(house, exchange(dialect=CHAT))
    assert isinstance(opened, UnaryOpened)
    assert b"Hello" in opened.body
    house.dispatcher.end(opened, Success())


async def test_what_is_wrong_with_the_request_is_told_at_once() -> None:
    """Protects credentials and upstream from a request that no other one could answer."""
    house = bench(refused(400, message="max_tokens: too many"))
    error = await turned_away(house)
    assert (error.status, error.message) == (400, "max_tokens: too many")
    assert len(house.upstream.calls) == 1


async def test_faults_are_tried_three_times_at_most() -> None:
    """Protects the upstream from being called again and again while it fails."""
    house, trace = bench(refused(500), Fault.RESET, refused(503), whole()), Trace()
    error = await turned_away(house, trace=trace)
    assert error.status in {502, 503}
    assert len(house.upstream.calls) <= 3
    assert len(trace.failed) == len(house.upstream.calls)


async def test_no_retry_setting_means_none() -> None:
    """Protects operators who want exactly one attempt."""
    house = bench(refused(500), whole(), retry_count=0)
    assert (await turned_away(house)).status == 502
    assert len(house.upstream.calls) == 1


async def test_after_the_client_has_its_headers_nothing_is_tried_again() -> None:
    """Protects clients from two answers in one: what they were told is final."""
    house = bench(Fault.RESET, whole())
    error = await turned_away(house, client=Client(commit_at=1))
    assert error.status == 502
    assert len(house.upstream.calls) == 1


async def test_no_retry_is_paid_for_that_is_not_made() -> None:
    """Protects the budget all requests share from those that can no longer be tried again."""
    house = bench(*[Fault.RESET] * 12, budget_max=2.0, budget_per_request=0.0, budget_per_second=0.0)
    for _ in range(4):
        await turned_away(house, client=Client(commit_at=1))
    assert house.dispatcher.budget.suppressed == 0
    assert "2.0 of 2" in repr(house.dispatcher.budget)


async def test_the_client_knows_when_an_attempt_is_in_flight() -> None:
    """Protects headers sent early, which name the attempt in flight: between two attempts there is none."""
    house, client = bench(Fault.RESET, whole()), Client()
    opened = await ask(house, client=client)
    house.dispatcher.end(opened, Success())
    assert client.moments == ["started", "ended", "started"]


async def test_a_client_that_leaves_during_an_attempt_leaves_no_place_behind() -> None:
    """Protects places: a call nobody waits for gives its own back, and blames nobody."""
    house = bench(None)
    task = asyncio.create_task(ask(house))  # noqa: TID251 - held by this test
    await _turns()
    assert house.pool.in_flight == 1
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert house.pool.in_flight == 0
    assert house.pool.snapshot()[0].failed == 0


async def test_a_client_that_leaves_before_the_first_event_closes_the_upstream() -> None:
    """Protects the operator from paying for answers nobody reads."""
    reply = streamed(PING, None)
    house = bench(reply)
    task = asyncio.create_task(ask(house, exchange(body(stream=True))))  # noqa: TID251 - held by this test
    await _turns()
    assert reply.chunks == [None]
    task.cancel()
    await asyncio.wait([task])
    assert reply.closed >= 1
    assert house.pool.in_flight == 0


async def test_ending_a_stream_closes_its_call() -> None:
    """Protects the upstream's connection from outliving the answer."""
    reply = streamed(START, OPEN, HELLO)
    house = bench(reply)
    opened = await ask(house, exchange(body(stream=True)))
    house.dispatcher.end(opened, Abandoned())
    assert reply.closed == 1
    assert house.pool.in_flight == 0


async def test_a_stream_that_breaks_counts_against_its_credential(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects clients from a credential whose answers break off: after the first byte every break is a cut."""
    house = bench(streamed(START), credentials=[credential("api-1")])
    opened = await ask(house, exchange(body(stream=True)))
    outcomes: list[Outcome] = []
    settle = house.pool.settle

    def settled(lease: Lease, outcome: Outcome) -> Settled:
        outcomes.append(outcome)
        return settle(lease, outcome)

    monkeypatch.setattr(house.pool, "settle", settled)
    house.dispatcher.end(opened, Failed(classify_fault(Fault.RESET)))
    assert [outcome.failure.cls for outcome in outcomes if isinstance(outcome, Failed)] == [FailureClass.CUT]
    assert house.pool.snapshot()[0].failed == 1


async def test_an_overload_as_the_first_event_is_tried_once_more_on_another_credential(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Protects streaming clients from a short overload."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr("proxy.dispatch.dispatcher.asyncio.sleep", sleep)
    house = bench(streamed(OVERLOADED), streamed(*WHOLE))
    opened = await ask(house, exchange(body(stream=True)))
    house.dispatcher.end(opened, Success())
    assert len(waits) == 1
    assert 1.0 <= waits[0] <= 2.0


async def test_a_dead_key_is_on_disk_before_the_client_is_told() -> None:
    """Protects a restart from asking it all over again."""
    dead = refused(403, message="This organization has been disabled.")
    house = bench(dead, credentials=[credential("api-1")])
    await turned_away(house)
    assert [(row.fingerprint, row.state) for row in house.store.rows] == [
        ("print of api-1", State.DISABLED.value)
    ]


async def test_a_pool_without_a_credential_for_the_model_names_those_there_are() -> None:
    """Protects clients from guessing at models."""
    house = bench(credentials=[credential("api-1", models=("claude-opus-5*",))])
    error = await turned_away(house, exchange(model="claude-sonnet-5-5"))
    assert (error.status, error.code) == (404, "model_not_found")
    assert "claude-opus-5-5" in error.message
    assert "claude-sonnet-5-5'" in error.message
    assert house.upstream.calls == []


async def test_the_models_of_today_leave_out_those_that_are_retired() -> None:
    """Protects clients' lists of models from names that answer no more."""
    house = bench()
    before = house.dispatcher.models()
    house.clock.wall_ms = 4_000_000_000_000
    assert set(house.dispatcher.models()) < set(before)


async def test_a_long_answer_is_collected_from_a_stream() -> None:
    """Protects clients that ask for a long answer without a stream."""
    house = bench(streamed(*WHOLE))
    opened = await ask(house, exchange(body(max_tokens=30_000), dialect=CHAT))
    assert isinstance(opened, UnaryOpened)
    assert b'"content":"Hello"' in opened.body
    assert opened.usage is not None
    assert opened.usage.output_tokens == 7
    house.dispatcher.end(opened, Success())


async def test_a_long_answer_that_comes_whole_is_taken_as_it_is() -> None:
    """Protects clients behind an upstream that overhears the wish for a stream."""
    house = bench(whole())
    opened = await ask(house, exchange(body(max_tokens=30_000), dialect=CHAT))
    assert isinstance(opened, UnaryOpened)
    assert b'"content":"Hello"' in opened.body
    house.dispatcher.end(opened, Success())


@pytest.mark.parametrize(
    "end", [[], [Fault.RESET], [OVERLOADED]], ids=["an end", "a reset", "an error event"]
)
async def test_a_collected_answer_that_breaks_off_is_tried_again_whole(
    end: list[bytes | Fault], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects those clients from half an answer: they have been sent nothing yet."""

    async def sleep(_: float) -> None:
        return

    monkeypatch.setattr("proxy.dispatch.dispatcher.asyncio.sleep", sleep)
    house = bench(streamed(START, OPEN, HELLO, *end), streamed(*WHOLE))
    opened = await ask(house, exchange(body(max_tokens=30_000), dialect=CHAT))
    assert isinstance(opened, UnaryOpened)
    assert opened.body.count(b"Hello") == 1
    house.dispatcher.end(opened, Success())


async def test_the_size_of_a_collected_answer_has_a_bound() -> None:
    """Protects memory from an answer without an end."""
    house = bench(streamed(START, OPEN, *[HELLO] * 100), upstream_body_max_bytes=2048, event_max_bytes=1024)
    error = await turned_away(house, exchange(body(max_tokens=30_000), dialect=CHAT))
    assert error.status == 502
    assert len(house.upstream.calls) == 1


@dataclass(slots=True)
class _Meanwhile(Client):
    """A client during whose first attempt the operator takes out the credential that is asked."""

    house: Bench = field(default_factory=bench)

    def attempt_started(self) -> None:
        """See `Hold.attempt_started`."""
        self.house.pool.replace([credential("api-2")])


@pytest.mark.parametrize(("removed", "home"), [(False, "api-1"), (True, None)])
async def test_a_conversation_does_not_belong_to_who_was_taken_out_meanwhile(
    removed: bool, home: str | None
) -> None:
    """Protects the next turn from looking for a credential that is not there."""
    house = bench(whole())
    client = _Meanwhile(house=house) if removed else Client()
    opened = await ask(house, exchange(conversation="talk"), client=client)
    assert opened.lease.name == "api-1"
    assert house.pool.affinity.preferred("talk") == home
    house.dispatcher.end(opened, Success())
    assert house.pool.in_flight == 0
