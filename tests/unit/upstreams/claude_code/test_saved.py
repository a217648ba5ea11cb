"""Sessions between two runs: each client's own, never two runs at a time, and not for ever."""

import asyncio
import os
from pathlib import Path
from typing import Final

import pytest

from proxy.upstreams.claude_code import saved as module
from proxy.upstreams.claude_code.saved import Busy, SavedSessions
from tests.support.clock import FakeClock
from tests.support.house import until

_ONE: Final = "0b8f0d5e-2b1f-4a53-9b58-3c2f1a5e7d10"
_TWO: Final = "1b8f0d5e-2b1f-4a53-9b58-3c2f1a5e7d10"


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still."""
    return FakeClock()


@pytest.fixture
def saved(tmp_path: Path, clock: FakeClock) -> SavedSessions:
    """Sessions that are kept for half an hour."""
    return SavedSessions(tmp_path / "sessions", clock, 1800)


def _keep(saved: SavedSessions, tmp_path: Path, owner: str, session: str, working_dir: str = "") -> None:
    file = tmp_path / "projects" / "x" / f"{session}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"said in {session}")
    saved.take_back(owner, session, file, working_dir)
    assert not file.exists()


def test_a_session_is_found_by_its_own_client_alone(saved: SavedSessions, tmp_path: Path) -> None:
    """Protects what one client has said from every other, and the disk from names that lead elsewhere."""
    _keep(saved, tmp_path, "alice", _ONE, "/srv/work")
    assert saved.find("alice", _ONE) == "/srv/work"
    for owner, session in (("bob", _ONE), ("alice", _TWO), ("alice", "../" + _ONE), ("alice", "Read it.")):
        assert saved.find(owner, session) is None


def test_it_is_put_where_the_program_looks_and_closed_to_others(saved: SavedSessions, tmp_path: Path) -> None:
    """Protects the next turn, and what was said from other users of the machine."""
    _keep(saved, tmp_path, "alice", _ONE)
    work = tmp_path / "work"
    work.mkdir()
    file = saved.lay_out("alice", _ONE, tmp_path / "configuration", work)
    assert file.read_text() == f"said in {_ONE}"
    assert file.parent.name == str(work.resolve()).replace("/", "-").replace("_", "-")
    kept = [path for path in (tmp_path / "sessions").rglob("*") if path.is_file()]
    assert len(kept) == 2
    assert all(path.stat().st_mode & 0o077 == 0 for path in (*kept, file, tmp_path / "sessions"))


def test_the_latest_is_the_one_used_last_in_a_directory(
    saved: SavedSessions, tmp_path: Path, clock: FakeClock
) -> None:
    """Protects ``continue`` from going on with something else."""
    _keep(saved, tmp_path, "alice", _ONE, "/a")
    clock.advance(1)
    _keep(saved, tmp_path, "alice", _TWO, "/b")
    assert (saved.latest("alice", "/a"), saved.latest("alice", "/b")) == (_ONE, _TWO)
    assert saved.latest("alice", "/c") is None
    assert saved.latest("bob", "/a") is None
    clock.advance(1)
    _keep(saved, tmp_path, "alice", _ONE, "/b")
    assert saved.latest("alice", "/b") == _ONE


def test_what_nobody_goes_on_with_is_removed(saved: SavedSessions, tmp_path: Path, clock: FakeClock) -> None:
    """Protects what was said from lying about for ever."""
    _keep(saved, tmp_path, "alice", _ONE)
    clock.advance(1799)
    saved.sweep()
    assert saved.find("alice", _ONE) == ""
    clock.advance(2)
    saved.sweep()
    assert saved.find("alice", _ONE) is None
    assert [path for path in (tmp_path / "sessions").rglob("*") if path.is_file()] == []


def test_one_that_is_too_large_or_cannot_be_kept_costs_nobody_the_answer(
    saved: SavedSessions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects the disk, and answers from a disk that is full."""
    monkeypatch.setattr(module, "MOST_BYTES", 3)
    _keep(saved, tmp_path, "alice", _ONE)
    assert saved.find("alice", _ONE) is None
    monkeypatch.undo()
    (tmp_path / "sessions").write_text("in the way")
    _keep(saved, tmp_path, "alice", _ONE)
    assert saved.find("alice", _ONE) is None


def test_one_client_has_no_more_than_so_many(
    saved: SavedSessions, tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects the disk from a client that always begins anew."""
    monkeypatch.setattr(module, "_MOST_OF_ONE", 1)
    _keep(saved, tmp_path, "alice", _ONE)
    clock.advance(1)
    _keep(saved, tmp_path, "alice", _TWO)
    assert (saved.find("alice", _ONE), saved.find("alice", _TWO)) == (None, "")


async def test_two_runs_of_a_session_go_one_after_the_other(saved: SavedSessions) -> None:
    """Protects a transcript from two programs that write it at once; other sessions do not wait."""
    order: list[str] = []

    async def second() -> None:
        async with saved.alone("alice", _ONE):
            order.append("second")

    async with saved.alone("alice", _ONE):
        waiting = asyncio.ensure_future(second())  # noqa: TID251 - the test awaits it itself
        async with saved.alone("alice", _TWO), saved.alone("bob", _ONE):
            order.append("others")
        await asyncio.sleep(0)
        order.append("first")
    await waiting
    assert order == ["others", "first", "second"]


async def test_who_waits_too_long_is_told(saved: SavedSessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects clients from a run that never ends."""
    monkeypatch.setattr(module, "_WAIT_S", 0.01)
    async with saved.alone("alice", _ONE):
        with pytest.raises(Busy):
            async with saved.alone("alice", _ONE):
                pytest.fail("two runs at once")
        await saved.settled("alice")
        saved.leave("alice", _ONE)
        await saved.settled("bob")
        with pytest.raises(Busy):
            await saved.settled("alice")
    await saved.settled("alice")


async def test_it_is_swept_at_the_start(saved: SavedSessions, tmp_path: Path, clock: FakeClock) -> None:
    """Protects against what an earlier server has left."""
    await asyncio.to_thread(_keep, saved, tmp_path, "alice", _ONE)
    clock.advance(3600)
    sweeping = asyncio.ensure_future(saved.run())  # noqa: TID251 - the test ends it itself
    (folder,) = (tmp_path / "sessions").iterdir()
    await until(lambda: not os.listdir(folder))  # noqa: PTH208 - a name is enough
    sweeping.cancel()
