"""Waiting for a place: bounded, in order, and never keeping a place that nobody uses."""

import asyncio
import random
from collections.abc import Callable

import msgspec
import pytest

from proxy.errors import ErrorKind, GatewayError
from proxy.pool import (
    Abandoned,
    Exhausted,
    ExhaustedReason,
    Failed,
    Failure,
    FailureClass,
    Lease,
    Outcome,
    RetryBudget,
    Saturated,
    Success,
    Walk,
    Want,
)
from proxy.watch import Watch
from tests.unit.dispatch.building import Bench, bench, credential

_OUT_OF_CREDIT = Failure(cls=FailureClass.BILLING, status=402, kind=ErrorKind.BILLING, message="")
_WANT = Want("claude-sonnet-5-5", "sonnet-5-5", "client")


def _narrow(places: int = 1, *, queue_length: int = 100, queue_wait_s: float = 10.0) -> Bench:
    members = [credential("api-1", max_concurrency=places)]
    return bench(credentials=members, queue_length=queue_length, queue_wait_s=queue_wait_s)


def _walk(house: Bench) -> Walk:
    budget = RetryBudget(house.policy, house.clock)
    return Walk(house.policy, house.clock, budget, house.clock.now_s + 600.0, random.Random(1))


async def _found(house: Bench, client: str = "client") -> Lease | Exhausted:
    watch, want = Watch(), msgspec.structs.replace(_WANT, client=client)
    try:
        walk = _walk(house)
        return house.places.take(want, walk) or await house.places.wait(want, walk, watch)
    finally:
        watch.close()


async def _take(house: Bench, client: str = "client") -> Lease:
    found = await _found(house, client)
    assert isinstance(found, Lease)
    return found


def _asked(house: Bench, client: str = "client") -> "asyncio.Task[Lease]":
    return asyncio.create_task(_take(house, client))  # noqa: TID251 - held by the test


async def _turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_free_place_is_given_at_once() -> None:
    """Protects the ordinary case from any waiting."""
    house = _narrow()
    lease = await _take(house)
    assert lease.name == "api-1"
    house.places.end(lease, Success())
    assert house.pool.in_flight == 0


async def test_a_pool_that_has_nobody_says_so_at_once() -> None:
    """Protects clients from waiting for what cannot come."""
    house = bench(credentials=[credential("api-1", models=("claude-opus-*",))])
    assert isinstance(house.places.take(_WANT, _walk(house)), Exhausted)


async def test_those_who_wait_are_served_in_their_order() -> None:
    """Protects the first in the queue from the last."""
    house = _narrow()
    held = await _take(house)
    waiting = [_asked(house) for _ in range(3)]
    await _turns()
    assert not any(task.done() for task in waiting)
    for task in waiting:
        house.places.end(held, Success())
        held = await task
    house.places.end(held, Success())
    assert house.pool.in_flight == 0


async def test_a_place_given_back_with_a_record_to_write_goes_on_at_once() -> None:
    """Protects those who wait from waiting for the disk as well."""
    house = _narrow()
    held = await _take(house)
    task = _asked(house)
    await _turns()
    await house.places.give_back(held, Success())
    house.places.end(await task, Success())
    assert house.pool.in_flight == 0


async def test_a_queue_that_is_full_refuses_at_once() -> None:
    """Protects the server from an endless queue."""
    house = _narrow(queue_length=1)
    held = await _take(house)
    first = _asked(house)
    await _turns()
    with pytest.raises(GatewayError) as refused:
        await _take(house)
    assert refused.value.status == 503
    house.places.end(held, Success())
    house.places.end(await first, Success())


async def test_a_place_in_a_later_tier_is_better_than_a_full_queue() -> None:
    """Protects clients from being turned away while somebody is free."""
    members = [credential("api-1", max_concurrency=1), credential("api-2", tier=1)]
    house = bench(credentials=members, queue_length=1)
    held = await _take(house)
    first = _asked(house)
    await _turns()
    spare = await _take(house)
    assert spare.name == "api-2"
    for lease in (held, spare):
        house.places.end(lease, Success())
    house.places.end(await first, Success())


async def test_a_full_queue_moves_on_when_a_deadline_has_passed() -> None:
    """Protects clients from being turned away for want of a look at the clock; who waits longer goes first."""
    house = bench(credentials=[credential("api-1")], queue_length=1)
    await house.places.give_back(await _take(house), Failed(_OUT_OF_CREDIT))
    house.clock.advance(4000.0)
    hanging = await _take(house)
    first = _asked(house)
    await _turns()
    house.clock.advance(31.0)
    second = _asked(house)
    await _turns()
    trial = await first
    assert trial.trial
    house.places.end(trial, Success())
    house.places.end(await second, Success())
    house.places.end(hanging, Abandoned())
    assert house.pool.in_flight == 0


async def test_who_has_waited_longest_gets_what_became_free_in_the_last_moment() -> None:
    """Protects a request from being given up a moment after its place became free, and before anybody looked."""
    house = bench(credentials=[credential("api-1")], queue_wait_s=0.2)
    await house.places.give_back(await _take(house), Failed(_OUT_OF_CREDIT))
    house.clock.advance(4000.0)
    hanging = await _take(house)
    waiting = _asked(house)
    await _turns()
    house.clock.advance(31.0)
    house.places.end(await waiting, Success())
    house.places.end(hanging, Abandoned())
    assert house.pool.in_flight == 0


async def test_who_waits_in_vain_is_told_at_once() -> None:
    """Protects clients from waiting for a trial that has failed, with nobody left who could answer."""
    house = bench(credentials=[credential("api-1")])
    await house.places.give_back(await _take(house), Failed(_OUT_OF_CREDIT))
    house.clock.advance(4000.0)
    trial = await _take(house)
    waiting = asyncio.create_task(_found(house))  # noqa: TID251 - held by this test
    await _turns()
    await house.places.give_back(trial, Failed(_OUT_OF_CREDIT))
    found = await asyncio.wait_for(waiting, 20)
    assert isinstance(found, Exhausted)
    assert found == Exhausted(ExhaustedReason.UNUSABLE, 7200.0)


async def test_waiting_has_an_end() -> None:
    """Protects clients from waiting for ever, and the queue from those who gave up."""
    house = _narrow(queue_wait_s=0.01)
    held = await _take(house)
    with pytest.raises(GatewayError) as refused:
        await _take(house)
    assert refused.value.status == 503
    assert "Queue: 0" in repr(house.pool)
    house.places.end(held, Success())
    assert house.pool.in_flight == 0


async def test_after_the_longest_wait_a_later_tier_will_do() -> None:
    """Protects a client from an error while a credential in reserve is idle."""
    members = [
        credential("first", max_concurrency=1),
        credential("reserve", tier=1, base_url="https://b.test"),
    ]
    house = bench(credentials=members, queue_wait_s=0.01)
    held = await _take(house)
    spare = await _take(house)
    assert (held.name, spare.name) == ("first", "reserve")
    house.places.end(held, Success())
    house.places.end(spare, Success())


async def test_one_clients_crowd_holds_up_nobody_else() -> None:
    """Protects a client with one question from another's fifty: it waits for one of them and is next."""
    house = _narrow()
    held = await _take(house)
    crowd = [_asked(house, "busy") for _ in range(50)]
    await _turns()
    quiet = _asked(house, "quiet")
    await _turns()
    house.places.end(held, Success())
    house.places.end(await crowd[0], Success())
    house.places.end(await asyncio.wait_for(quiet, 20), Success())
    assert sum(each.done() for each in crowd) == 1
    for each in crowd[1:]:
        house.places.end(await each, Success())
    assert house.pool.in_flight == 0


async def test_a_queue_that_one_client_has_filled_makes_room_for_another() -> None:
    """Protects a client from being turned away because somebody else asks too much; that one is told instead."""
    house = _narrow(queue_length=3)
    held = await _take(house)
    crowd = [_asked(house, "busy") for _ in range(3)]
    await _turns()
    quiet = _asked(house, "quiet")
    with pytest.raises(GatewayError) as refused:
        await crowd.pop()
    assert refused.value.status == 503
    with pytest.raises(GatewayError):
        await _take(house, "busy")
    house.places.end(held, Success())
    for each in (crowd[0], quiet, crowd[1]):
        house.places.end(await asyncio.wait_for(each, 20), Success())
    assert house.pool.in_flight == 0


async def test_a_client_that_leaves_the_queue_takes_no_place() -> None:
    """Protects places from being granted to nobody."""
    house = _narrow()
    held = await _take(house)
    gone, patient = _asked(house), _asked(house)
    await _turns()
    gone.cancel()
    await asyncio.wait([gone])
    house.places.end(held, Success())
    house.places.end(await patient, Success())
    assert house.pool.in_flight == 0


async def test_a_place_granted_to_a_client_that_leaves_in_the_same_moment_goes_to_the_next() -> None:
    """Protects the worst bug there is: a place nobody has and nobody gives back."""
    house = _narrow()
    held = await _take(house)
    gone, patient = _asked(house), _asked(house)
    await _turns()
    house.places.end(held, Success())
    gone.cancel()
    await asyncio.wait([gone])
    assert gone.cancelled()
    house.places.end(await asyncio.wait_for(patient, 20), Success())
    assert house.pool.in_flight == 0


@pytest.mark.parametrize("seed", range(30))
async def test_whatever_the_order_of_arrivals_and_leavings_no_place_is_lost(seed: int) -> None:
    """Protects every interleaving of taking, waiting, leaving and giving back."""
    rng = random.Random(seed)
    house = _narrow(places=2)
    tasks: list[asyncio.Task[Lease]] = []
    ended: set[asyncio.Task[Lease]] = set()
    outcomes: list[Outcome] = [Success(), Abandoned()]

    def arrive() -> None:
        tasks.append(_asked(house))

    def leave() -> None:
        rng.choice(tasks).cancel()

    def give_back() -> None:
        for task in tasks:
            if task.done() and not task.cancelled() and task not in ended:
                ended.add(task)
                house.places.end(task.result(), rng.choice(outcomes))
                return

    moves: list[Callable[[], None]] = [arrive, arrive, leave, give_back, give_back]
    arrive()
    for _ in range(60):
        rng.choice(moves)()
        for _ in range(rng.randrange(3)):
            await asyncio.sleep(0)
        assert house.pool.in_flight <= 2
    for _ in range(len(tasks) + 5):
        await _turns()
        give_back()
    assert all(task.done() for task in tasks)
    assert house.pool.in_flight == 0
    assert "Queue: 0" in repr(house.pool)


async def test_a_sweep_serves_those_who_wait_for_a_trial_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects those who wait for the mere passing of time, which nobody gives them a sign of."""
    house = bench(credentials=[credential("api-1")], trial_s=30.0)
    broke = await _take(house)
    await house.places.give_back(broke, Failed(_OUT_OF_CREDIT))
    house.clock.advance(4000.0)
    hanging = await _take(house)
    assert hanging.trial
    waiting = _asked(house)
    await _turns()
    monkeypatch.setattr("proxy.dispatch.places._SWEEP_EVERY_S", 0.0)
    sweeper = asyncio.create_task(house.places.sweep_for_ever())  # noqa: TID251 - held by this test
    await _turns()
    assert not waiting.done()
    house.clock.advance(31.0)
    house.places.end(await asyncio.wait_for(waiting, 20), Success())
    house.places.end(hanging, Abandoned())
    sweeper.cancel()
    await asyncio.wait([sweeper])
    assert house.pool.in_flight == 0


async def test_a_place_at_ones_own_credential_is_waited_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects prompt caches from a place that is taken for a blink, and clients from a longer wait."""
    house = _narrow()
    waits: list[float] = []
    held = [await _take(house)]

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3 and held:
            house.places.end(held.pop(), Success())

    monkeypatch.setattr("proxy.dispatch.places.asyncio.sleep", sleep)
    lease = await house.places.take_at("api-1", _WANT, _walk(house))
    assert isinstance(lease, Lease)
    assert sum(waits) < 0.1
    waits.clear()
    assert isinstance(await house.places.take_at("api-1", _WANT, _walk(house)), Saturated)
    assert 0.2 <= sum(waits) <= 0.25
    assert await house.places.take_at("unknown", _WANT, _walk(house)) is None


async def test_an_order_is_on_disk_and_serves_those_who_wait() -> None:
    """Protects both who order and who wait: enabling a credential gives its places out at once."""
    house = bench(credentials=[credential("api-1"), credential("api-2", max_concurrency=1)])
    await house.places.order(house.pool.disable("api-1"))
    held = await _take(house)
    assert held.name == "api-2"
    waiting = _asked(house)
    await _turns()
    assert not waiting.done()
    await house.places.order(house.pool.enable("api-1"))
    assert [(row.fingerprint, row.state) for row in house.store.rows] == [
        ("print of api-1", "disabled"),
        ("print of api-1", "ready"),
    ]
    await _turns()
    assert waiting.done()
    given = await waiting
    assert given.name == "api-1"
    for lease in (held, given):
        house.places.end(lease, Success())
