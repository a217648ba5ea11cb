"""What must survive is on disk before anyone is told; what cannot be written costs nobody an answer."""

import asyncio
import dataclasses
from collections.abc import Sequence

import pytest

from proxy.dispatch.journal import Journal
from proxy.pool import HealthChange, Reason, State
from proxy.store.base import HealthRow, StoreError
from tests.support.clock import FakeClock
from tests.unit.dispatch.building import MemoryStore
from tests.unit.telemetry.recording import RecordedLog

_PRINTS = {"api-1": "print-1", "api-2": "print-2"}


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> RecordedLog:
    """What the module logs."""
    found = RecordedLog()
    monkeypatch.setattr("proxy.dispatch.journal._log", found)
    return found


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still."""
    return FakeClock()


def _change(clock: FakeClock, *, cooling_s: float | None = 60.0, durable: bool = True) -> HealthChange:
    until_ms = None if cooling_s is None else clock.wall_ms + round(cooling_s * 1000)
    return HealthChange(
        name="api-1",
        limit_class="sonnet-5",
        model="claude-x",
        state=State.COOLING if cooling_s is not None else State.DISABLED,
        reason=Reason.BILLING,
        cause="billing",
        since_unix_ms=clock.wall_ms,
        until_unix_ms=until_ms,
        rung=2,
        durable=durable,
    )


async def test_a_lasting_change_is_kept_when_writing_returns(clock: FakeClock) -> None:
    """Protects what a client was told from being forgotten by a crash in the next moment."""
    store = MemoryStore()
    await Journal(store, clock, _PRINTS).write([_change(clock, cooling_s=None)])
    assert [(row.fingerprint, row.state) for row in store.rows] == [("print-1", "disabled")]


@pytest.mark.parametrize(("cooling_s", "kept_at_once"), [(29.0, False), (30.0, False), (30.1, True)])
async def test_a_short_rest_is_written_soon_and_keeps_nobody_waiting(
    clock: FakeClock, cooling_s: float, kept_at_once: bool
) -> None:
    """Protects answers from waiting for the disk for something that is over in seconds."""
    store = MemoryStore()
    await Journal(store, clock, _PRINTS).write([_change(clock, cooling_s=cooling_s)])
    assert bool(store.rows) is kept_at_once
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(store.rows) == 1


async def test_a_change_that_need_not_last_is_only_logged(clock: FakeClock, log: RecordedLog) -> None:
    """Protects the disk from what is derived again anyway."""
    store = MemoryStore()
    await Journal(store, clock, _PRINTS).write([_change(clock, durable=False)])
    await asyncio.sleep(0)
    assert store.rows == []
    assert len(log.of("credential changed state")) == 1


async def test_every_change_is_logged_by_alias_with_state_and_reason(
    clock: FakeClock, log: RecordedLog
) -> None:
    """Protects operators, who read here why a credential is not used."""
    change = _change(clock)
    await Journal(MemoryStore(), clock, _PRINTS).write([change])
    assert log.of("credential changed state") == [
        {
            "credential": "api-1",
            "limit_class": "sonnet-5",
            "model": "claude-x",
            "state": "cooling",
            "reason": "billing",
            "cause": "billing",
            "until_unix_ms": change.until_unix_ms,
        }
    ]


@pytest.mark.parametrize("cooling_s", [None, 10.0])
async def test_a_store_that_cannot_write_is_reported_and_stops_nothing(
    clock: FakeClock, log: RecordedLog, cooling_s: float | None
) -> None:
    """Protects answers from a full disk."""
    store = MemoryStore(problem=StoreError("the disk is full"))
    await Journal(store, clock, _PRINTS).write([_change(clock, cooling_s=cooling_s)])
    for _ in range(3):
        await asyncio.sleep(0)
    assert log.of("health not saved") == [{"problem": "the disk is full"}]


async def test_what_was_written_is_read_again(clock: FakeClock) -> None:
    """Protects every field over a restart."""
    store = MemoryStore()
    change = _change(clock)
    await Journal(store, clock, _PRINTS).write([change])
    assert await Journal(store, clock, _PRINTS).restored() == (change,)


async def test_health_follows_the_key_and_not_the_name(clock: FakeClock) -> None:
    """Protects a new key under an old name from the health of the old one, and a renamed key from losing its own."""
    store = MemoryStore()
    await Journal(store, clock, _PRINTS).write([_change(clock)])
    renamed = await Journal(store, clock, {"renamed": "print-1", "api-1": "print-3"}).restored()
    assert [change.name for change in renamed] == ["renamed"]


@pytest.mark.parametrize(("state", "reason"), [("frozen", ""), ("cooling", "whim"), ("", "")])
async def test_rows_in_words_of_another_version_are_left_out(
    clock: FakeClock, state: str, reason: str
) -> None:
    """Protects the start from what a later or earlier version has written."""
    row = HealthRow(fingerprint="print-1", state=state, reason=reason, since_unix_ms=1)
    assert await Journal(MemoryStore(rows=[row]), clock, _PRINTS).restored() == ()


async def test_prints_that_are_nobodys_any_more_are_told_and_what_is_kept_of_them_goes(
    clock: FakeClock,
) -> None:
    """Protects a key that comes back from its past, and the print two aliases have shared from being lost."""
    store = MemoryStore()
    journal = Journal(store, clock, _PRINTS)
    await journal.write([_change(clock)])
    gone = journal.follow({"api-2": "print-1", "api-3": "print-3"})
    assert gone == {"print-2"}
    await journal.forget(gone)
    assert len(store.rows) == 1
    await journal.forget(journal.follow({}))
    assert store.rows == []


async def test_a_change_belongs_to_whoever_had_the_alias_when_it_came(clock: FakeClock) -> None:
    """Protects a new key from a change of the old one that was still on its way to the disk."""
    store = MemoryStore()
    journal = Journal(store, clock, _PRINTS)
    writing = journal.write([_change(clock)])
    journal.follow({"api-1": "print-3", "api-2": "print-1"})
    await writing
    assert [row.fingerprint for row in store.rows] == ["print-1"]


async def test_what_was_forgotten_is_not_written_again(clock: FakeClock) -> None:
    """Protects the removal of a credential from a change that comes too late."""
    store = MemoryStore()
    journal = Journal(store, clock, _PRINTS)
    writing = journal.write([_change(clock)])
    await journal.forget(journal.follow({}))
    await writing
    assert store.rows == []


async def test_a_store_that_cannot_forget_is_reported(clock: FakeClock, log: RecordedLog) -> None:
    """Protects a change of the configuration from a full disk."""
    journal = Journal(MemoryStore(problem=StoreError("the disk is full")), clock, _PRINTS)
    await journal.forget(["print-1"])
    assert log.of("health not forgotten") == [{"problem": "the disk is full"}]


def _recovered(clock: FakeClock) -> HealthChange:
    return dataclasses.replace(
        _change(clock), state=State.READY, reason=None, cause="", until_unix_ms=None, rung=0
    )


async def test_what_an_operator_ordered_is_kept_when_it_returns(clock: FakeClock) -> None:
    """Protects an order from being forgotten after it was acknowledged, also one that ends a rest."""
    store = MemoryStore()
    await Journal(store, clock, _PRINTS).keep([_recovered(clock)])
    assert [(row.fingerprint, row.state) for row in store.rows] == [("print-1", "ready")]


async def test_an_order_that_cannot_be_kept_is_refused_and_kept_by_the_next_one(clock: FakeClock) -> None:
    """Protects operators from being told that all is well when they ask again and nothing has changed since."""
    store = MemoryStore(problem=StoreError("the disk is full"))
    journal = Journal(store, clock, _PRINTS)
    with pytest.raises(StoreError):
        await journal.keep([_recovered(clock)])
    with pytest.raises(StoreError):
        await journal.keep([])
    store.problem = None
    await journal.keep([])
    assert [row.state for row in store.rows] == ["ready"]


async def test_an_order_is_not_undone_by_what_was_found_before_it_and_is_written_later(
    clock: FakeClock,
) -> None:
    """Protects a disabled credential from coming back with a restart because two writes changed places."""
    store = MemoryStore()
    journal = Journal(store, clock, _PRINTS)
    earlier = journal.write([_change(clock, cooling_s=60.0)])
    await journal.keep([_change(clock, cooling_s=None)])
    await earlier
    assert [row.state for row in store.rows][-1] == "disabled"


async def test_whoever_is_told_that_it_is_kept_has_waited_for_it(clock: FakeClock) -> None:
    """Protects two orders at one moment: what the first one's write took along is on disk before the second returns."""
    store = SlowStore()
    journal = Journal(store, clock, _PRINTS)
    first = asyncio.create_task(journal.keep([_recovered(clock)]))  # noqa: TID251 - held by this test
    await asyncio.sleep(0)
    second = asyncio.create_task(journal.keep([]))  # noqa: TID251 - held by this test
    await asyncio.sleep(0)
    assert not second.done()
    store.goes_on.set()
    await asyncio.gather(first, second)
    assert len(store.rows) == 1


class SlowStore(MemoryStore):
    """A store that writes when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.goes_on = asyncio.Event()

    async def save_health(self, rows: Sequence[HealthRow]) -> None:
        """See `Store.save_health`."""
        await self.goes_on.wait()
        await super().save_health(rows)
