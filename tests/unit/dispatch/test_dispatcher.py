"""The one loop: who is asked next, when it ends, and that every place is given back."""

import asyncio
from dataclasses import dataclass, field

import msgspec
import pytest

from proxy.dispatch.attempt import StreamOpened, UnaryOpened
from proxy.dispatch.trace import Trace
from proxy.errors import GatewayError
from proxy.exchange import Exchange
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
from proxy.watch import Watch
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


@dataclass(slots=True)
class _Client:
    """The client's side.

    Attributes:
        committed: whether it has been sent something.
        moments: what it was told, in order.
        commit_at: the attempt with which it is committed; 0 for never.
    """

    committed: bool = False
    moments: list[str] = field(default_factory=list)
    commit_at: int = 0

    def attempt_started(self) -> None:
        """See `Hold.attempt_started`."""
        self.moments.append("started")
        self.committed = self.commit_at == self.moments.count("started")

    def attempt_ended(self) -> None:
        """See `Hold.attempt_ended`."""
        self.moments.append("ended")


async def _open(
    house: Bench, call: Exchange | None = None, *, client: _Client | None = None, trace: Trace | None = None
) -> UnaryOpened | StreamOpened:
    watch = Watch()
    try:
        return await house.dispatcher.open(call or exchange(), trace or Trace(), client or _Client(), watch)
    finally:
        watch.close()


async def _refused(
    house: Bench, call: Exchange | None = None, *, client: _Client | None = None, trace: Trace | None = None
) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        await _open(house, call, client=client, trace=trace)
    assert house.pool.in_flight == 0
    return caught.value


async def _turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def _asked(house: Bench) -> list[str]:
    return [name for name, _ in house.upstream.calls]


async def test_an_answer_comes_with_its_lease_and_story() -> None:
    """Protects the headers that tell who answered, and the place that is held until the last byte."""
    house, trace = bench(whole()), Trace()
    opened = await _open(house, trace=trace)
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
    opened = await _open(house, trace=trace)
    house.dispatcher.end(opened, Success())
    assert _asked(house) == ["api-1", "api-2"]
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
    opened = await _open(house, trace=trace)
    house.dispatcher.end(opened, Success())
    assert trace.attempts == 2
    assert _asked(house) == ["api-1", "api-2"]


@pytest.mark.parametrize(
    "reply",
    [streamed(), streamed(PING), streamed(b"<html>"), streamed(START[:20]), whole()],
    ids=["nothing", "a ping", "a page", "half an event", "no stream"],
)
async def test_a_stream_without_a_real_event_is_tried_again(reply: ScriptedReply) -> None:
    """Protects streaming clients, who have not been sent anything yet."""
    house = bench(reply, streamed(*WHOLE))
    opened = await _open(house, exchange(body(stream=True)))
    assert isinstance(opened, StreamOpened)
    assert reply.closed >= 1
    house.dispatcher.end(opened, Success())
    assert len(house.upstream.calls) == 2


@pytest.mark.parametrize("junk", [b"<html>", b'{"type":"message"', b"", b"null", b"[]", b'{"type":"error"}'])
async def test_a_message_that_is_none_is_tried_again(junk: bytes) -> None:
    """Protects clients from an answer that cannot be read."""
    house = bench(whole(junk), whole())
    opened = await _open(house, exchange(dialect=CHAT))
    assert isinstance(opened, UnaryOpened)
    assert b"Hello" in opened.body
    house.dispatcher.end(opened, Success())


async def test_what_is_wrong_with_the_request_is_told_at_once() -> None:
    """Protects credentials and upstream from a request that no other one could answer."""
    house = bench(refused(400, message="max_tokens: too many"))
    error = await _refused(house)
    assert (error.status, error.message) == (400, "max_tokens: too many")
    assert len(house.upstream.calls) == 1


async def test_faults_are_tried_three_times_at_most() -> None:
    """Protects the upstream from being called again and again while it fails."""
    house, trace = bench(refused(500), Fault.RESET, refused(503), whole()), Trace()
    error = await _refused(house, trace=trace)
    assert error.status in {502, 503}
    assert len(house.upstream.calls) <= 3
    assert len(trace.failed) == len(house.upstream.calls)


async def test_no_retry_setting_means_none() -> None:
    """Protects operators who want exactly one attempt."""
    house = bench(refused(500), whole(), retry_count=0)
    assert (await _refused(house)).status == 502
    assert len(house.upstream.calls) == 1


async def test_after_the_client_has_its_headers_nothing_is_tried_again() -> None:
    """Protects clients from two answers in one: what they were told is final."""
    house = bench(Fault.RESET, whole())
    error = await _refused(house, client=_Client(commit_at=1))
    assert error.status == 502
    assert len(house.upstream.calls) == 1


async def test_no_retry_is_paid_for_that_is_not_made() -> None:
    """Protects the budget all requests share from those that can no longer be tried again."""
    house = bench(*[Fault.RESET] * 12, budget_max=2.0, budget_per_request=0.0, budget_per_second=0.0)
    for _ in range(4):
        await _refused(house, client=_Client(commit_at=1))
    assert house.dispatcher.budget.suppressed == 0
    assert "2.0 of 2" in repr(house.dispatcher.budget)


async def test_the_client_knows_when_an_attempt_is_in_flight() -> None:
    """Protects headers sent early, which name the attempt in flight: between two attempts there is none."""
    house, client = bench(Fault.RESET, whole()), _Client()
    opened = await _open(house, client=client)
    house.dispatcher.end(opened, Success())
    assert client.moments == ["started", "ended", "started"]


async def test_a_client_that_leaves_during_an_attempt_leaves_no_place_behind() -> None:
    """Protects places: a call nobody waits for gives its own back, and blames nobody."""
    house = bench(None)
    task = asyncio.create_task(_open(house))  # noqa: TID251 - held by this test
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
    task = asyncio.create_task(_open(house, exchange(body(stream=True))))  # noqa: TID251 - held by this test
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
    opened = await _open(house, exchange(body(stream=True)))
    house.dispatcher.end(opened, Abandoned())
    assert reply.closed == 1
    assert house.pool.in_flight == 0


async def test_a_stream_that_breaks_counts_against_its_credential(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects clients from a credential whose answers break off: after the first byte every break is a cut."""
    house = bench(streamed(START), credentials=[credential("api-1")])
    opened = await _open(house, exchange(body(stream=True)))
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
    opened = await _open(house, exchange(body(stream=True)))
    house.dispatcher.end(opened, Success())
    assert len(waits) == 1
    assert 1.0 <= waits[0] <= 2.0


async def test_a_dead_key_is_on_disk_before_the_client_is_told() -> None:
    """Protects a restart from asking it all over again."""
    dead = refused(403, message="This organization has been disabled.")
    house = bench(dead, credentials=[credential("api-1")])
    await _refused(house)
    assert [(row.fingerprint, row.state) for row in house.store.rows] == [
        ("print of api-1", State.DISABLED.value)
    ]


async def test_a_pool_without_a_credential_for_the_model_names_those_there_are() -> None:
    """Protects clients from guessing at models."""
    house = bench(credentials=[credential("api-1", models=("claude-opus-5*",))])
    error = await _refused(house, exchange(model="claude-sonnet-5-5"))
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
    opened = await _open(house, exchange(body(max_tokens=30_000), dialect=CHAT))
    assert isinstance(opened, UnaryOpened)
    assert b'"content":"Hello"' in opened.body
    assert opened.usage is not None
    assert opened.usage.output_tokens == 7
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
    opened = await _open(house, exchange(body(max_tokens=30_000), dialect=CHAT))
    assert isinstance(opened, UnaryOpened)
    assert opened.body.count(b"Hello") == 1
    house.dispatcher.end(opened, Success())


async def test_the_size_of_a_collected_answer_has_a_bound() -> None:
    """Protects memory from an answer without an end."""
    house = bench(streamed(START, OPEN, *[HELLO] * 100), upstream_body_max_bytes=2048, event_max_bytes=1024)
    error = await _refused(house, exchange(body(max_tokens=30_000), dialect=CHAT))
    assert error.status == 502
    assert len(house.upstream.calls) == 1


_DEMAND = body(
    max_tokens=100,
    tools=[{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}],
    tool_choice="required",
)
_CALL = msgspec.json.encode(
    {
        "type": "message",
        "id": "msg_2",
        "role": "assistant",
        "model": "claude-sonnet-5-5",
        "content": [{"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
)


async def test_a_demanded_tool_call_that_did_not_come_is_asked_for_once_more() -> None:
    """Protects clients that force a tool on a model that can only be asked: one more try, and no more."""
    house, trace = bench(whole(), whole(_CALL), whole(_CALL)), Trace()
    opened = await _open(house, exchange(_DEMAND, dialect=CHAT), trace=trace)
    assert isinstance(opened, UnaryOpened)
    assert b"toolu_1" in opened.body
    assert (trace.attempts, [each.outcome for each in trace.failed]) == (2, ["no_tool_call"])
    house.dispatcher.end(opened, Success())
    assert house.pool.in_flight == 0


async def test_the_second_answer_stands_even_without_the_call() -> None:
    """Protects against asking for ever."""
    house, trace = bench(whole(), whole(), whole(_CALL)), Trace()
    opened = await _open(house, exchange(_DEMAND, dialect=CHAT), trace=trace)
    assert isinstance(opened, UnaryOpened)
    assert not opened.calls_tool
    assert trace.attempts == 2


async def test_the_first_answer_stands_when_asking_again_fails() -> None:
    """Protects a good answer from the failure of the attempt to better it, and its place from being freed twice."""
    house = bench(whole(), refused(400))
    opened = await _open(house, exchange(_DEMAND, dialect=CHAT))
    assert isinstance(opened, UnaryOpened)
    house.dispatcher.end(opened, Success())
    assert house.pool.in_flight == 0


@pytest.mark.parametrize("demand", [_DEMAND.replace(b"required", b"auto"), body(max_tokens=100)])
async def test_an_answer_nobody_demanded_a_call_from_is_not_asked_again(demand: bytes) -> None:
    """Protects ordinary requests from being paid twice."""
    house, trace = bench(whole(), whole(_CALL)), Trace()
    await _open(house, exchange(demand, dialect=CHAT), trace=trace)
    assert trace.attempts == 1


async def test_no_retry_setting_means_no_second_question_either() -> None:
    """Protects an operator's wish that nothing is done twice."""
    house, trace = bench(whole(), whole(_CALL), retry_count=0), Trace()
    await _open(house, exchange(_DEMAND, dialect=CHAT), trace=trace)
    assert trace.attempts == 1
