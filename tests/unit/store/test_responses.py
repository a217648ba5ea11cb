"""Stored responses: each for its owner alone, for its time alone."""

import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

import proxy.store
from proxy.store import ResponseRow, SqliteStore, Storage, StoreError

ROW = ResponseRow(
    id="resp_1",
    owner="ann",
    conversation="resp_1",
    created_unix_ms=1000,
    expires_unix_ms=5000,
    input='[{"role":"user","content":"\u00e4\\u0000"}]',
    response='{"output":[]}',
)
CHAIN = [
    replace(ROW, id=f"resp_{number}", previous_id=f"resp_{number - 1}" if number > 1 else None)
    for number in range(1, 5)
]
SIZE_BYTES = len(ROW.input.encode()) + len(ROW.response.encode())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database lies."""
    return tmp_path / "data/carousel.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Storage]:
    """An open store."""
    opened = await SqliteStore.open(path)
    yield opened
    await opened.close()


async def _saved(store: Storage, *rows: ResponseRow) -> None:
    for row in rows:
        await store.save_response(row)


def _ids(rows: tuple[ResponseRow, ...]) -> list[str]:
    return [row.id for row in rows]


async def test_a_response_is_there_after_a_restart(path: Path) -> None:
    """Protects conversations from a restart in their middle, every character of them."""
    first = await SqliteStore.open(path)
    await _saved(first, *CHAIN)
    await first.close()
    second = await SqliteStore.open(path)
    assert await second.load_response("resp_1", "ann", 1000) == ROW
    assert await second.load_chain("resp_4", "ann", 1000, 10_000) == tuple(CHAIN)
    await second.close()


async def test_another_owner_and_another_time_see_nothing(store: Storage) -> None:
    """Protects what one client said from all others, and from being read after its time."""
    await _saved(store, *CHAIN)
    assert await store.load_response("resp_1", "bob", 1000) is None
    assert await store.load_chain("resp_4", "bob", 1000, 10_000) == ()
    assert not await store.delete_response("resp_1", "bob", 1000)
    assert await store.load_response("resp_1", "ann", 4999) is not None
    assert await store.load_response("resp_1", "ann", 5000) is None
    assert await store.load_chain("resp_4", "ann", 5000, 10_000) == ()
    assert not await store.delete_response("resp_1", "ann", 5000)


async def test_a_chain_never_crosses_to_another_owner(store: Storage) -> None:
    """Protects against a link that was made to lead to somebody else's words."""
    await _saved(store, replace(CHAIN[0], owner="bob"), CHAIN[1])
    assert _ids(await store.load_chain("resp_2", "ann", 1000, 10_000)) == ["resp_2"]


async def test_a_deleted_response_is_gone_at_once_and_leaves_a_hole(store: Storage) -> None:
    """Protects who deletes: nothing of it is read again, and what went on from it shows that something is missing."""
    await _saved(store, *CHAIN)
    assert await store.delete_response("resp_2", "ann", 1000)
    assert not await store.delete_response("resp_2", "ann", 1000)
    found = await store.load_chain("resp_4", "ann", 1000, 10_000)
    assert _ids(found) == ["resp_3", "resp_4"]
    assert found[0].previous_id == "resp_2"


@pytest.mark.parametrize(
    ("most_bytes", "count"),
    [(4 * SIZE_BYTES, 4), (4 * SIZE_BYTES - 1, 3), (SIZE_BYTES, 1), (SIZE_BYTES - 1, 0)],
)
async def test_no_more_of_a_chain_is_read_than_may_be_used(
    store: Storage, most_bytes: int, count: int
) -> None:
    """Protects memory from a conversation without end."""
    await _saved(store, *CHAIN)
    assert len(await store.load_chain("resp_4", "ann", 1000, most_bytes)) == count


async def test_links_in_a_circle_end(store: Storage) -> None:
    """Protects the store's one thread from a walk without end."""
    await _saved(store, replace(CHAIN[0], previous_id="resp_2"), CHAIN[1])
    assert await store.load_chain("resp_2", "ann", 1000, 50 * SIZE_BYTES)
    await store.prolong_chain("resp_2", "ann", 1000, 6000)


async def test_going_on_keeps_everything_before(store: Storage) -> None:
    """Protects long conversations from losing their beginning, and a long life from being made shorter."""
    await _saved(store, CHAIN[0], replace(CHAIN[1], expires_unix_ms=9000), CHAIN[2])
    await store.prolong_chain("resp_2", "bob", 1000, 8000)
    assert await store.load_response("resp_1", "ann", 5000) is None
    await store.prolong_chain("resp_2", "ann", 1000, 8000)
    found = [await store.load_response(f"resp_{number}", "ann", 1000) for number in (1, 2, 3)]
    assert [row.expires_unix_ms for row in found if row is not None] == [8000, 9000, 5000]


async def test_what_has_expired_is_deleted_some_at_a_time(store: SqliteStore) -> None:
    """Protects the disk, and others from waiting for a large deletion."""
    await _saved(
        store, *(replace(ROW, id=f"old_{number}", expires_unix_ms=2000) for number in range(201)), ROW
    )
    assert await store.forget_responses(2000)
    assert not await store.forget_responses(2000)
    assert [row[0] for row in await store._run("SELECT id FROM responses")] == ["resp_1"]


async def test_one_id_is_one_response(store: Storage) -> None:
    """Protects a response from being replaced by another one."""
    await _saved(store, ROW)
    with pytest.raises(StoreError):
        await store.save_response(replace(ROW, owner="bob"))
    assert await store.load_response("resp_1", "ann", 1000) == ROW


def _sixth_version(path: Path) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    connection = sqlite3.connect(path)
    for file in sorted(Path(proxy.store.__file__).with_name("migrations").glob("000[1-6]_*.sql")):
        connection.executescript(file.read_text())
    connection.execute("PRAGMA user_version = 6")
    connection.commit()
    connection.close()
    path.chmod(0o600)


async def test_a_database_of_the_version_before_is_brought_up(path: Path) -> None:
    """Protects operators who update: the table is there, and their health rows too."""
    _sixth_version(path)
    again = await SqliteStore.open(path)
    await again.save_response(ROW)
    assert await again.load_response("resp_1", "ann", 1000) == ROW
    await again.close()
