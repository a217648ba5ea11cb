"""Owed deletions: when they are tried, how often, and that none is forgotten before it is confirmed."""

import asyncio
import math
from collections import deque

import pytest

from proxy.store.base import OwedDeletion
from proxy.tasks import finish_all
from proxy.upstreams.claude_web.deletions import Deletions, pause_s
from tests.support.clock import FakeClock
from tests.unit.simulator.client import until
from tests.unit.upstreams.claude_web.building import MemoryLedger

_OWED = OwedDeletion(conversation="c", fingerprint="f", organization="o", since_unix_ms=1)


class _Site:
    """Answers deletions from a list, then well; notes what it was asked."""

    def __init__(self, *answers: bool) -> None:
        self.asked: list[str] = []
        self._answers = deque(answers)

    async def delete(self, owed: OwedDeletion) -> bool:
        self.asked.append(owed.conversation)
        return self._answers.popleft() if self._answers else True


def test_pauses_double_from_a_minute_to_an_hour_and_end_after_24() -> None:
    """Protects the site from being asked for ever, and the conversation from being given up early."""
    assert [pause_s(attempts) for attempts in (1, 2, 3, 6, 7, 8, 24)] == [
        60,
        120,
        240,
        1920,
        3600,
        3600,
        3600,
    ]
    assert pause_s(25) == math.inf


async def test_a_conversation_is_owed_before_it_is_made_and_tried_once_nobody_uses_it() -> None:
    """Protects against a kill in between, and against deleting under an answer."""
    ledger, site, clock = MemoryLedger(), _Site(), FakeClock()
    deletions = Deletions(ledger, clock, site.delete)
    await deletions.owe(_OWED)
    assert (list(ledger.rows), site.asked, deletions.try_due()) == (["c"], [], math.inf)
    deletions.release("c")
    deletions.release("c")
    await finish_all(within_s=1)
    assert (ledger.rows, site.asked) == ({}, ["c"])


async def test_what_failed_is_tried_again_when_it_is_due() -> None:
    """Protects deletions from one bad minute of the site: each failure is counted on disk."""
    ledger, site, clock = MemoryLedger(), _Site(False, False), FakeClock()
    deletions = Deletions(ledger, clock, site.delete)
    await deletions.owe(_OWED)
    deletions.release("c")
    await finish_all(within_s=1)
    assert (ledger.rows["c"].attempts, deletions.try_due()) == (1, 60)
    clock.advance(59)
    assert (deletions.try_due(), len(site.asked)) == (1, 1)
    for seconds, attempts in ((1, 2), (120, 2)):
        clock.advance(seconds)
        deletions.try_due()
        await finish_all(within_s=1)
        assert "c" not in ledger.rows or ledger.rows["c"].attempts == attempts
    assert (ledger.rows, len(site.asked)) == ({}, 3)


async def test_after_24_repetitions_it_waits_for_the_next_start() -> None:
    """Protects the ledger: what cannot be deleted is not forgotten either."""
    ledger, clock = MemoryLedger(_OWED), FakeClock()
    site = _Site(*[False] * 26)
    deletions = Deletions(ledger, clock, site.delete)
    await deletions.restore()
    for _ in range(30):
        await finish_all(within_s=1)
        clock.advance(3600)
        deletions.try_due()
    assert (len(site.asked), ledger.rows["c"].attempts, deletions.owed) == (25, 25, 1)
    later = Deletions(ledger, clock, site.delete)
    await later.restore()
    await finish_all(within_s=1)
    assert len(site.asked) == 26


async def test_a_start_takes_up_what_was_left_behind() -> None:
    """Protects against a kill: nothing waits for its minute, and a conversation in use is left alone."""
    other = OwedDeletion(conversation="d", fingerprint="f", organization="o", since_unix_ms=2, attempts=7)
    ledger, site = MemoryLedger(_OWED, other), _Site()
    deletions = Deletions(ledger, FakeClock(), site.delete)
    await deletions.owe(_OWED)
    await deletions.restore()
    await finish_all(within_s=1)
    assert (site.asked, list(ledger.rows)) == (["d"], ["c"])


async def test_what_was_never_made_is_forgiven_without_asking() -> None:
    """Protects a dead cookie and a challenge from calls that cannot help."""
    ledger, site = MemoryLedger(), _Site()
    deletions = Deletions(ledger, FakeClock(), site.delete)
    await deletions.owe(_OWED)
    await deletions.forgive("c")
    deletions.release("c")
    await finish_all(within_s=1)
    assert (ledger.rows, site.asked) == ({}, [])


async def test_a_full_disk_costs_no_deletion() -> None:
    """Protects conversations while nothing can be written: they are deleted from memory."""
    ledger, site = MemoryLedger(), _Site(False)
    ledger.broken = True
    clock = FakeClock()
    deletions = Deletions(ledger, clock, site.delete)
    await deletions.owe(_OWED)
    deletions.release("c")
    await finish_all(within_s=1)
    clock.advance(60)
    deletions.try_due()
    await finish_all(within_s=1)
    assert site.asked == ["c", "c"]
    assert repr(deletions) == "<Deletions 0 in use, 0 due, 0 trying>"


async def test_the_worker_wakes_for_what_is_due() -> None:
    """Protects the waiting itself: a failure while it sleeps is taken into account."""
    ledger, site = MemoryLedger(), _Site(False)
    clock = FakeClock()
    deletions = Deletions(ledger, clock, site.delete)
    async with asyncio.TaskGroup() as group:
        worker = group.create_task(deletions.work_for_ever())
        await deletions.owe(_OWED)
        deletions.release("c")
        await until(lambda: bool(ledger.rows["c"].attempts))
        clock.advance(60)
        deletions._changed.set()
        await until(lambda: not ledger.rows)
        worker.cancel()
    assert site.asked == ["c", "c"]


@pytest.mark.parametrize(("answers", "left"), [((), []), ((False, False), ["c", "d"])])
async def test_the_end_of_the_program_tries_everything_once_more(
    answers: tuple[bool, ...], left: list[str]
) -> None:
    """Protects what is owed at a stop; what fails stays for the next start."""
    ledger, site = MemoryLedger(), _Site(*answers)
    deletions = Deletions(ledger, FakeClock(), site.delete)
    for name in ("c", "d"):
        owed = OwedDeletion(conversation=name, fingerprint="f", organization="o", since_unix_ms=1)
        await deletions.owe(owed)
    await deletions.settle(within_s=1)
    assert (site.asked, list(ledger.rows)) == (["c", "d"], left)


async def test_a_site_that_hangs_does_not_hold_up_the_end() -> None:
    """Protects the time a stop may take."""

    async def hang(_: OwedDeletion) -> bool:
        await asyncio.Event().wait()
        return True

    ledger = MemoryLedger()
    deletions = Deletions(ledger, FakeClock(), hang)
    await deletions.owe(_OWED)
    await deletions.settle(within_s=0.01)
    await finish_all(within_s=1)
    assert list(ledger.rows) == ["c"]


async def test_an_attempt_under_way_at_the_end_is_made_once_more_if_it_fails() -> None:
    """Protects what was being deleted when the program was told to stop: one bad answer is not the last word."""
    answers: list[asyncio.Future[bool]] = []

    async def answer(_: OwedDeletion) -> bool:
        answers.append(asyncio.get_running_loop().create_future())
        return await answers[-1]

    ledger = MemoryLedger()
    deletions = Deletions(ledger, FakeClock(), answer)
    await deletions.owe(_OWED)
    deletions.release("c")
    await until(lambda: len(answers) == 1)
    async with asyncio.TaskGroup() as group:
        group.create_task(deletions.settle(within_s=5))
        await asyncio.sleep(0)
        answers[0].set_result(False)
        await until(lambda: len(answers) == 2)
        answers[1].set_result(True)
    assert (ledger.rows, deletions.owed) == ({}, 0)


async def test_only_one_sessions_debts_are_settled_where_only_it_leaves() -> None:
    """Protects the other sessions' schedule when one is taken out of the configuration."""
    ledger, site = MemoryLedger(), _Site(False, False)
    deletions = Deletions(ledger, FakeClock(), site.delete)
    for name, mark in (("c", "f"), ("d", "g")):
        await deletions.owe(
            OwedDeletion(conversation=name, fingerprint=mark, organization="o", since_unix_ms=1)
        )
        deletions.release(name)
    await finish_all(within_s=1)
    site.asked.clear()
    await deletions.settle(within_s=1, fingerprint="g")
    assert (site.asked, list(ledger.rows), deletions.owed) == (["d"], ["c"], 1)


async def test_what_nobody_can_delete_waits_untried_for_its_session() -> None:
    """Protects the 24 repetitions from being used up while a session is not configured."""
    known: set[str] = set()

    async def answer(owed: OwedDeletion) -> bool | None:
        return True if owed.fingerprint in known else None

    ledger, clock = MemoryLedger(_OWED), FakeClock()
    deletions = Deletions(ledger, clock, answer)
    await deletions.restore()
    await finish_all(within_s=1)
    clock.advance(7200)
    assert deletions.try_due() == math.inf
    assert ([owed.attempts for owed in ledger.rows.values()], deletions.owed) == ([0], 1)
    known.add("f")
    deletions.welcome("f")
    await finish_all(within_s=1)
    assert (ledger.rows, deletions.owed) == ({}, 0)
