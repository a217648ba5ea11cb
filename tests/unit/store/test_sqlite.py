"""Health outlives a restart, also one nobody planned, and a store in trouble says so."""

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.store import HealthRow, HeldConversation, OwedDeletion, SqliteStore, Store, StoreError, sqlite
from proxy.store.files import ensure_private_dir, write_private
from tests.support.soak import sized

ROOT = Path(__file__).parents[3]
CHILD = Path(__file__).with_name("crash_child.py")
ROUNDS = sized(full=50, short=20)
ROW = HealthRow(
    fingerprint="f1",
    limit_class="opus",
    model="claude-opus-5",
    state="cooling",
    reason="rate_limit",
    cause="429",
    since_unix_ms=1_795_000_000_000,
    until_unix_ms=1_795_000_060_000,
    rung=2,
)
LETTER = b"canary, not a database at all" * 100
WHOLE = HealthRow(fingerprint="f1", state="disabled", reason="auth", since_unix_ms=1)
OTHER = HealthRow(fingerprint="f2", state="cooling", since_unix_ms=2, until_unix_ms=3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database lies, in a folder that does not exist yet."""
    return tmp_path / "data/carousel.db"


@pytest.fixture
def letter(path: Path) -> Path:
    """A private file that is no database, in the database's place."""
    ensure_private_dir(path.parent)
    write_private(path, LETTER)
    return path


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    """An open store."""
    opened = await SqliteStore.open(path)
    yield opened
    await opened.close()


async def test_what_was_saved_is_loaded_after_a_restart(path: Path) -> None:
    """Protects cooling and disabled credentials from a restart."""
    first = await SqliteStore.open(path)
    await first.save_health([OTHER, ROW, WHOLE])
    await first.close()
    second = await SqliteStore.open(path)
    assert await second.load_health() == (WHOLE, ROW, OTHER)
    await second.close()


async def test_a_row_takes_an_earlier_ones_place(store: Store) -> None:
    """Protects the newest state of a credential, also within one call."""
    await store.save_health([ROW, OTHER])
    newer = HealthRow(
        fingerprint="f1", limit_class="opus", model="claude-opus-5", state="ready", since_unix_ms=9
    )
    await store.save_health([WHOLE, ROW, newer])
    assert await store.load_health() == (WHOLE, newer, OTHER)


async def test_forgotten_credentials_leave_nothing(store: Store) -> None:
    """Protects a key that comes back after its removal from an old state."""
    await store.save_health([ROW, WHOLE, OTHER])
    await store.forget_health({"f1", "unknown"})
    assert await store.load_health() == (OTHER,)
    await store.forget_health([])
    await store.save_health([])
    assert await store.load_health() == (OTHER,)


async def test_hostile_text_is_only_text(store: Store) -> None:
    """Protects the database from names that look like SQL or JSON."""
    row = HealthRow(
        fingerprint="'); DROP TABLE health; --",
        limit_class='"}]',
        state="\u2028é",
        reason="\\",
        since_unix_ms=0,
    )
    await store.save_health([row, OTHER])
    assert await store.load_health() == (row, OTHER)
    await store.forget_health([row.fingerprint])
    assert await store.load_health() == (OTHER,)


async def test_all_rows_of_a_call_are_kept_or_none(store: SqliteStore) -> None:
    """Protects against half a change when one row cannot be kept."""
    bad = HealthRow(fingerprint="f9", state="cooling", since_unix_ms=2**70)
    with pytest.raises(StoreError, match=r"carousel\.db: it cannot be used"):
        await store.save_health([ROW, bad])
    assert await store.load_health() == ()


async def test_every_file_is_private_also_under_an_open_umask(path: Path) -> None:
    """Protects the database and what SQLite puts beside it from other users."""
    before = os.umask(0)
    try:
        store = await SqliteStore.open(path)
        await store.save_health([ROW])
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
        await store.close()
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(("carousel.db", "carousel.db-wal", "carousel.db-shm"), 0o600)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["carousel.db", "carousel.db-wal", "carousel.db-shm", "carousel.db-journal"])
@pytest.mark.parametrize("harm", ["open to others", "a link"])
async def test_a_file_that_is_not_private_stops_the_start(name: str, harm: str, path: Path) -> None:
    """Protects against a database somebody else can read, or put in its place."""
    await (await SqliteStore.open(path)).close()
    target = path.with_name(name)
    if harm == "a link":
        (path.parent / "elsewhere").write_bytes(b"")
        target.unlink(missing_ok=True)
        target.symlink_to(path.parent / "elsewhere")
    else:
        target.touch()
        target.chmod(0o644)
    with pytest.raises(StoreError, match=name):
        await SqliteStore.open(path)


async def test_a_file_that_is_no_database_stops_the_start_and_stays(letter: Path) -> None:
    """Protects a file that was named by mistake."""
    with pytest.raises(StoreError, match=r"carousel\.db: it is no SQLite database") as caught:
        await SqliteStore.open(letter)
    assert "canary" not in str(caught.value)
    assert await asyncio.to_thread(letter.read_bytes) == LETTER


async def test_a_newer_database_stops_the_start(path: Path) -> None:
    """Protects a newer version's data from an older program."""
    await (await SqliteStore.open(path)).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 9999")
    connection.close()
    with pytest.raises(StoreError, match="newer version"):
        await SqliteStore.open(path)


async def test_commits_are_flushed_and_the_journal_is_the_fast_one(store: SqliteStore) -> None:
    """Protects acknowledged rows from a power cut."""
    assert [tuple(row) for row in await store._run("PRAGMA journal_mode")] == [("wal",)]
    assert [tuple(row) for row in await store._run("PRAGMA synchronous")] == [(2,)]
    assert [tuple(row) for row in await store._run("PRAGMA busy_timeout")] == [(2000,)]


async def test_a_full_database_is_told_and_recovers(store: SqliteStore) -> None:
    """Protects serving from a full disk: an error, and then work again without a restart."""
    await store.save_health([ROW])
    (pages,) = [row[0] for row in await store._run("PRAGMA page_count")]
    await store._run(f"PRAGMA max_page_count = {pages}")
    many = [
        HealthRow(fingerprint=f"f{number:06}", state="cooling", since_unix_ms=0) for number in range(2000)
    ]
    with pytest.raises(StoreError, match=r"carousel\.db: the disk is full"):
        await store.save_health(many)
    assert await store.load_health() == (ROW,)
    await store._run("PRAGMA max_page_count = 100000")
    await store.save_health(many)
    assert len(await store.load_health()) == 2001


async def test_a_read_only_database_is_told(store: SqliteStore) -> None:
    """Protects serving from a volume that went read-only."""
    await store._run("PRAGMA query_only = 1")
    with pytest.raises(StoreError, match=r"carousel\.db: it cannot be written to"):
        await store.save_health([ROW])


async def test_a_locked_database_is_told_in_time(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects serving from another process that holds the lock, and what was not acknowledged may be retried."""
    await store._run("PRAGMA busy_timeout = 20")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match=r"carousel\.db: another process has locked it"):
        await store.save_health([ROW])
    await store._run("PRAGMA busy_timeout = 2000")
    monkeypatch.setattr(sqlite, "CALL_TIMEOUT_S", 0.05)
    with pytest.raises(StoreError, match=r"carousel\.db did not answer in 0\.05 s"):
        await store.save_health([ROW])
    other.execute("COMMIT")
    other.close()
    monkeypatch.undo()
    await store.save_health([WHOLE])
    assert WHOLE in await store.load_health()


async def test_closing_is_bounded_and_a_closed_store_says_so(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects the end of the program from a disk that hangs, and late writers from a strange error."""
    store = await SqliteStore.open(path)
    await store._run("PRAGMA busy_timeout = 300")
    monkeypatch.setattr(sqlite, "CALL_TIMEOUT_S", 0.01)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="did not answer"):
        await store.save_health([ROW])
    await store.close()
    await store.close()
    assert repr(store) == f"<SqliteStore {path} closed>"
    with pytest.raises(StoreError, match="has been closed"):
        await store.load_health()
    other.close()
    await asyncio.gather(*[task for task in asyncio.all_tasks() if task.get_name() == "close store"])


async def test_an_opening_that_hangs_is_given_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the start from a network folder that never answers."""
    await (await SqliteStore.open(path)).close()
    monkeypatch.setattr(sqlite, "_OPEN_TIMEOUT_S", 0.05)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError, match=r"could not be opened in 0\.05 s"):
        await SqliteStore.open(path)
    other.execute("ROLLBACK")
    other.close()
    for thread in threading.enumerate():
        if "_connection_worker_thread" in thread.name:
            await asyncio.to_thread(thread.join)


async def test_two_processes_of_one_folder_see_each_others_rows(store: Store, path: Path) -> None:
    """Protects a command that is run beside the server."""
    other = await SqliteStore.open(path)
    await other.save_health([ROW])
    assert await store.load_health() == (ROW,)
    await store.save_health([OTHER])
    assert await other.load_health() == (ROW, OTHER)
    await other.close()


def test_a_store_nobody_closed_does_not_keep_the_program_from_ending(path: Path) -> None:
    """Protects a start that fails late, and a shutdown while the disk hangs."""
    code = (
        "import asyncio, sys; from pathlib import Path; from proxy.store import SqliteStore;"
        "kept = asyncio.run(SqliteStore.open(Path(sys.argv[1]))); print(kept)"
    )
    done = subprocess.run(  # noqa: S603 - this interpreter and the line above
        [sys.executable, "-c", code, str(path)],
        cwd=ROOT,
        timeout=30,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == f"<SqliteStore {path}>\n"


@pytest.mark.long
def test_kill_9_right_after_a_save_loses_nothing(path: Path) -> None:
    """Protects every acknowledged state: a disabled key must not come back because the process was killed."""
    for number in range(ROUNDS):
        command = [sys.executable, str(CHILD), str(path), str(number)]
        with subprocess.Popen(  # noqa: S603 - this interpreter and a file beside this one
            command, stdout=subprocess.PIPE, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"saved\n"
            child.send_signal(signal.SIGKILL)
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT since_unix_ms FROM health ORDER BY since_unix_ms").fetchall()
    assert rows == [(number,) for number in range(ROUNDS)]
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_a_database_without_a_write_ahead_log_stops_the_start(path: Path) -> None:
    """Protects acknowledged rows on file systems where SQLite falls back to another journal."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    with pytest.raises(StoreError, match="file system without shared memory"):
        sqlite._prepare(connection, path)
    connection.close()


async def test_owed_deletions_are_kept_until_they_are_paid(path: Path) -> None:
    """Protects conversations at claude.ai from being left there by a restart: oldest first, failures counted."""
    first = await SqliteStore.open(path)
    older = OwedDeletion(conversation="b", fingerprint="f1", organization="o", since_unix_ms=1)
    newer = OwedDeletion(conversation="a", fingerprint="f2", organization="o", since_unix_ms=2)
    for owed in (newer, older):
        await first.save_deletion(owed)
    failed = replace(older, attempts=3)
    await first.save_deletion(failed)
    await first.close()
    second = await SqliteStore.open(path)
    assert await second.load_deletions() == (failed, newer)
    for _ in range(2):
        await second.forget_deletion("b")
    assert await second.load_deletions() == (newer,)
    await second.close()


async def test_kept_conversations_are_known_after_a_restart(path: Path) -> None:
    """Protects conversations that are gone on with: the newest state of each, the one used longest ago first."""
    first = await SqliteStore.open(path)
    older = HeldConversation(
        conversation="b", fingerprint="f", organization="o", history="h1", parent="p1", used_unix_ms=1
    )
    newer = replace(older, conversation="a", history="h2", used_unix_ms=2)
    for held in (older, newer):
        await first.save_held(held)
    gone_on = replace(older, history="h3", parent="p3", used_unix_ms=3)
    await first.save_held(gone_on)
    await first.close()
    second = await SqliteStore.open(path)
    assert await second.load_held() == (newer, gone_on)
    for _ in range(2):
        await second.forget_held("a")
    assert await second.load_held() == (gone_on,)
    await second.close()
