"""Usage is written behind: a few seconds after it was settled, again after a failure, and at the end."""

import asyncio

import pytest

from proxy.dispatch import bookkeeper as bookkeeper_module
from proxy.dispatch.bookkeeper import FLUSH_EVERY_S, Bookkeeper
from proxy.model.message import Usage
from proxy.model.pricing import Pricing
from proxy.model.tally import Dimension, Tally, TallyKey, TallyRow
from proxy.store.base import StoreError
from proxy.tasks import spawn
from proxy.telemetry.usage import HOUR_MS, Charge, Settlement, UsageLedger
from tests.support.clock import FakeClock
from tests.support.ended import EndedUsage
from tests.support.house import until
from tests.unit.dispatch.building import CATALOG, MODEL, MemoryStore
from tests.unit.telemetry.recording import RecordedLog

_DAY_MS = 24 * HOUR_MS
_PROBLEM = StoreError("the disk is full")


class _Books:
    """A bookkeeper, its clock, and its store."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.clock = FakeClock()
        self.store = store or MemoryStore()
        self.slept: list[float] = []
        ledger = UsageLedger(Pricing(CATALOG), self.clock)
        self.keeper = Bookkeeper(ledger, self.store, self.clock, self.sleep)

    async def sleep(self, delay: float) -> None:
        """Let the time pass without waiting for it."""
        self.slept.append(delay)
        self.clock.advance(delay)
        await asyncio.sleep(0)

    def settle(self, times: int = 1, client: str = "anna") -> None:
        """Count so many answers."""
        used = Charge("api-1", MODEL, Usage(input_tokens=1, output_tokens=2))
        for _ in range(times):
            done = Settlement(client=client, model=MODEL, answered=used)
            self.keeper.ledger.enter(EndedUsage(done, self.clock.unix_ms()))

    @property
    def written(self) -> int:
        """Requests that are in the store."""
        return sum(tally.requests for tally in self.store.usage.values())


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> RecordedLog:
    """What the bookkeeper tells the log."""
    recorded = RecordedLog()
    monkeypatch.setattr(bookkeeper_module, "_log", recorded)
    return recorded


async def test_it_writes_every_two_seconds_what_has_come_since() -> None:
    """Protects requests from waiting for the disk, and what was used from being lost with the process."""
    books = _Books()
    books.settle(3)
    running = spawn(books.keeper.run(), name="books")
    assert books.store.usage_saves == 0
    await until(lambda: books.written == 3)
    books.settle()
    await until(lambda: books.written == 4)
    running.cancel()
    await asyncio.wait([running])
    assert set(books.slept) == {FLUSH_EVERY_S}
    assert FLUSH_EVERY_S <= 5


async def test_nothing_new_is_not_written() -> None:
    """Protects the disk of a server nobody uses."""
    books = _Books()
    await books.keeper.flush()
    assert books.store.usage_saves == 0
    books.settle(3)
    await books.keeper.flush()
    await books.keeper.flush()
    assert (books.store.usage_saves, books.written) == (1, 3)


async def test_a_store_in_trouble_is_reported_once_and_loses_nothing(log: RecordedLog) -> None:
    """Protects the sums from a full disk, and the log from a line every two seconds."""
    books = _Books(MemoryStore(problem=_PROBLEM))
    for _ in range(3):
        books.settle()
        await books.keeper.flush()
    assert log.lines == [("error", "usage not saved", {"problem": "the disk is full"})]
    books.store.problem = None
    await books.keeper.flush()
    assert books.written == 3
    books.store.problem = _PROBLEM
    books.settle()
    await books.keeper.flush()
    assert len(log.lines) == 2


class _DoubtfulStore(MemoryStore):
    """Keeps what it is given and says that it did not."""

    async def save_usage(self, rows: list[TallyRow]) -> None:  # type: ignore[override]  # a list is what comes
        """See `Store.save_usage`."""
        await super().save_usage(rows)
        raise StoreError("it did not answer in time")


async def test_a_write_that_may_have_happened_is_repeated_without_counting_twice(log: RecordedLog) -> None:
    """Protects the bill where the disk was only slow."""
    books = _Books(_DoubtfulStore())
    for _ in range(4):
        books.settle(5)
        await books.keeper.flush()
    assert books.written == 20


class _HangingStore(MemoryStore):
    """Keeps nothing until it is let."""

    let = False

    async def save_usage(self, rows: list[TallyRow]) -> None:  # type: ignore[override]  # a list is what comes
        """See `Store.save_usage`."""
        if not self.let:
            await asyncio.get_running_loop().create_future()
        await super().save_usage(rows)


async def test_a_write_that_was_cancelled_is_made_at_the_end() -> None:
    """Protects the last seconds of a server that is stopped in the middle of a write."""
    store = _HangingStore()
    books = _Books(store)
    books.settle(2)
    running = spawn(books.keeper.flush(), name="books")
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait([running])
    store.let = True
    await books.keeper.flush()
    assert books.written == 2


async def test_asking_sees_what_was_used_a_moment_ago() -> None:
    """Protects operators from numbers that lag behind, and tells them when there are none."""
    books = _Books()
    hour_ms = books.clock.unix_ms() // HOUR_MS * HOUR_MS
    books.settle(2)
    books.settle(client="bert")
    found = await books.keeper.sums(Dimension.CLIENT, hour_ms, hour_ms + 1)
    assert [(name, tally.requests) for name, tally in found] == [("anna", 2), ("bert", 1)]
    assert await books.keeper.sums(Dimension.CLIENT, 0, hour_ms) == ()
    books.store.problem = _PROBLEM
    with pytest.raises(StoreError):
        await books.keeper.sums(Dimension.CLIENT, 0, hour_ms)


async def test_ninety_days_are_kept() -> None:
    """Protects the numbers of a quarter, and the disk from those of all time."""
    books = _Books()
    now_ms = books.clock.unix_ms()
    hours = [now_ms - 91 * _DAY_MS, now_ms - 90 * _DAY_MS, now_ms]
    await books.store.save_usage(
        [TallyRow(TallyKey(hour, "anna", "", "", ""), "w", Tally(requests=1)) for hour in hours]
    )
    await books.keeper.flush()
    assert sorted(key.hour_unix_ms for key, _ in books.store.usage) == hours[1:]
    books.clock.advance(1)
    await books.keeper.flush()
    assert books.written == 2
    books.clock.advance(HOUR_MS / 1000)
    await books.keeper.flush()
    assert books.written == 1


async def test_hours_that_are_over_leave_the_memory() -> None:
    """Protects a server that runs for months."""
    books = _Books()
    books.settle()
    await books.keeper.flush()
    books.clock.advance(3600)
    books.settle()
    await books.keeper.flush()
    assert repr(books.keeper.ledger) == "<UsageLedger [Rows: 1, 0 unsaved]>"
    assert books.keeper.ledger.total().requests == books.written == 2
