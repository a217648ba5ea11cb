"""What is spent is counted at once, written behind, and there again after a restart."""

import asyncio

import pytest

from proxy.access.budgets import Budgets
from proxy.access.rules import Period, Rules
from proxy.store.access import SpendingRow
from proxy.store.base import StoreError
from proxy.tasks import finish_all
from tests.support.access import MemoryAccess
from tests.support.clock import FakeClock

_RULES = Rules(budget_micro_usd=1_000_000)
_DAILY = Rules(budget_micro_usd=1_000_000, period=Period.DAY)


@pytest.fixture
def store() -> MemoryAccess:
    """Where it is written."""
    return MemoryAccess()


def _left(subject: Budgets, client: str, rules: Rules) -> int:
    account = subject.account(client, rules)
    return max((rules.budget_micro_usd or 0) - account.spent - account.reserved, 0)


async def _restored(store: MemoryAccess, clock: FakeClock) -> Budgets:
    found = Budgets(store, clock)
    await found.restore()
    return found


async def test_what_is_set_apart_counts_until_it_is_settled(store: MemoryAccess) -> None:
    """Protects a budget from many requests that begin at the same moment."""
    subject = Budgets(store, FakeClock())
    subject.account("a", _RULES).reserved += 400_000
    assert (_left(subject, "a", _RULES), subject.spent("a", _RULES)) == (600_000, 0)
    subject.settle("a", _RULES, 400_000, 100_000)
    assert (_left(subject, "a", _RULES), subject.spent("a", _RULES)) == (900_000, 100_000)
    assert _left(subject, "b", _RULES) == 1_000_000
    subject.settle("a", _RULES, 0, 5_000_000)
    assert _left(subject, "a", _RULES) == 0
    await finish_all(within_s=5)


async def test_spending_outlives_a_restart(store: MemoryAccess) -> None:
    """Protects a budget from being whole again after each restart."""
    clock = FakeClock()
    subject = Budgets(store, clock)
    for _ in range(50):
        subject.settle("a", _RULES, 0, 1000)
    await finish_all(within_s=5)
    assert (await _restored(store, clock)).spent("a", _RULES) == 50_000


async def test_what_is_spent_under_load_is_written_together(store: MemoryAccess) -> None:
    """Protects throughput from a write for each answer, and the last answers from never being written."""
    clock, waits, resume = FakeClock(), list[float](), asyncio.Event()

    async def sleep(delay: float) -> None:
        waits.append(delay)
        await resume.wait()

    subject = Budgets(store, clock, sleep)
    subject.settle("a", _RULES, 0, 1000)
    await finish_all(within_s=5)
    assert (await _restored(store, clock)).spent("a", _RULES) == 1000
    clock.advance(0.04)
    for _ in range(50):
        subject.settle("a", _RULES, 0, 1000)
        await asyncio.sleep(0)
    assert waits == [pytest.approx(0.06)]
    assert (await _restored(store, clock)).spent("a", _RULES) == 1000
    resume.set()
    await finish_all(within_s=5)
    assert (await _restored(store, clock)).spent("a", _RULES) == 51_000
    clock.advance(1)
    subject.settle("a", _RULES, 0, 1000)
    await finish_all(within_s=5)
    assert len(waits) == 1


async def test_load_that_never_pauses_is_written_ten_times_a_second(store: MemoryAccess) -> None:
    """Protects throughput from a writer that begins again whenever it has ended, because something came meanwhile."""
    clock, waits = FakeClock(), list[float]()

    async def sleep(delay: float) -> None:
        waits.append(delay)
        clock.advance(delay)
        await asyncio.sleep(0)

    subject = Budgets(store, clock, sleep)
    add, written = store.add_spending, list[int]()

    async def adding(row: SpendingRow) -> int | None:
        written.append(row.micro_usd)
        if len(written) < 20:
            # answers end while this one is written
            subject.settle("a", _RULES, 0, 1000)
            subject.settle("b", _RULES, 0, 1000)
        return await add(row)

    store.add_spending = adding  # type: ignore[method-assign]  # the same, with more load
    subject.settle("a", _RULES, 0, 1000)
    await finish_all(within_s=5)
    assert len(waits) >= len(written) // 2 - 1
    assert all(wait == pytest.approx(0.1) for wait in waits)
    found = await _restored(store, clock)
    assert found.spent("a", _RULES) + found.spent("b", _RULES) == sum(written)


async def test_a_budget_keeps_nothing_apart_when_its_period_is_made_another(store: MemoryAccess) -> None:
    """Protects a budget from growing by what was set apart of the one before."""
    subject = Budgets(store, FakeClock())
    subject.account("a", _RULES).reserved += 400_000
    assert _left(subject, "a", _DAILY) == 1_000_000
    subject.settle("a", _DAILY, 400_000, 0)
    assert _left(subject, "a", _DAILY) == 1_000_000


async def test_a_new_period_begins_with_a_whole_budget(store: MemoryAccess) -> None:
    """Protects clients from a budget that never comes back, also over a restart."""
    clock = FakeClock()
    subject = Budgets(store, clock)
    subject.settle("a", _DAILY, 0, 900_000)
    await finish_all(within_s=5)
    assert subject.next_period_s("a", _DAILY) == (86_400_000 - clock.wall_ms % 86_400_000) / 1000
    clock.advance(86_400)
    assert _left(subject, "a", _DAILY) == 1_000_000
    assert _left(await _restored(store, clock), "a", _DAILY) == 1_000_000
    subject.settle("a", _DAILY, 0, 1000)
    await finish_all(within_s=5)
    assert (await _restored(store, clock)).spent("a", _DAILY) == 1000


async def test_what_is_under_way_at_the_end_of_a_period_is_paid_in_the_next(store: MemoryAccess) -> None:
    """Protects the sum: a request is charged once, and its reservation does not stay behind."""
    clock = FakeClock()
    subject = Budgets(store, clock)
    subject.account("a", _DAILY).reserved += 300_000
    clock.advance(86_400)
    subject.settle("a", _DAILY, 300_000, 200_000)
    assert (_left(subject, "a", _DAILY), subject.spent("a", _DAILY)) == (800_000, 200_000)
    await finish_all(within_s=5)


async def test_two_processes_spend_from_one_budget(store: MemoryAccess) -> None:
    """Protects a budget from being given out once for each process."""
    clock = FakeClock()
    one, two = Budgets(store, clock), Budgets(store, clock)
    one.settle("a", _RULES, 0, 300_000)
    await finish_all(within_s=5)
    two.settle("a", _RULES, 0, 200_000)
    await finish_all(within_s=5)
    assert two.spent("a", _RULES) == 500_000
    one.settle("a", _RULES, 0, 1)
    await finish_all(within_s=5)
    assert one.spent("a", _RULES) == 500_001


async def test_a_store_that_fails_costs_nothing_but_is_made_good(store: MemoryAccess) -> None:
    """Protects spending from being forgotten because the disk was full for a while."""
    clock = FakeClock()
    subject = Budgets(store, clock)
    store.problem = StoreError("full")
    subject.settle("a", _RULES, 0, 1000)
    await finish_all(within_s=5)
    assert subject.spent("a", _RULES) == 1000
    store.problem = None
    subject.settle("a", _RULES, 0, 1000)
    await finish_all(within_s=5)
    assert (await _restored(store, clock)).spent("a", _RULES) == 2000


async def test_a_wall_clock_set_back_takes_nothing_away(store: MemoryAccess) -> None:
    """Protects what was written from a clock that was wrong for a while."""
    clock = FakeClock()
    subject = Budgets(store, clock)
    subject.settle("a", _DAILY, 0, 1000)
    await finish_all(within_s=5)
    clock.jump(-86_400)
    late = await _restored(store, clock)
    late.settle("a", _DAILY, 0, 5)
    await finish_all(within_s=5)
    clock.jump(86_400)
    assert (await _restored(store, clock)).spent("a", _DAILY) == 1000


@pytest.mark.parametrize("years", [1, 10])
async def test_a_budget_does_not_wait_for_a_time_the_wall_clock_was_ahead_to(
    store: MemoryAccess, years: int
) -> None:
    """Protects clients from a clock that was years ahead for a moment: what they spent counts until tomorrow."""
    clock, ahead_s = FakeClock(), years * 365 * 86_400
    subject = Budgets(store, clock)
    clock.jump(ahead_s)
    subject.settle("a", _DAILY, 0, 900_000)
    clock.jump(-ahead_s)
    assert _left(subject, "a", _DAILY) == 100_000
    assert (subject.next_period_s("a", _DAILY) or 0) <= 86_400
    clock.advance(86_400)
    assert _left(subject, "a", _DAILY) == 1_000_000
    await finish_all(within_s=5)
