"""Who owns what outlives a restart, client by client."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.store import Cut, ObjectRow, ObjectStore, SqliteStore, StoreError

_DAY_MS = 24 * 3600 * 1000
_ROW = ObjectRow(
    client="alice",
    kind="files",
    id="file_1",
    fingerprint="f1",
    alias="api-1",
    media_type="image/png",
    created_unix_ms=1_795_000_000_000,
)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """An open store."""
    opened = await SqliteStore.open(tmp_path / "data/carousel.db")
    yield opened
    await opened.close()


@pytest.fixture
def objects(store: SqliteStore) -> ObjectStore:
    """Its objects."""
    return store.objects


async def _listed(objects: ObjectStore, cut: Cut) -> list[str] | None:
    found = await objects.list("alice", "files", cut)
    return None if found is None else [row.id for row in found]


async def _filled(objects: ObjectStore, count: int = 5) -> None:
    for number in range(count):
        # two of each moment, so that their ids decide
        created = _ROW.created_unix_ms + number // 2
        await objects.save(replace(_ROW, id=f"file_{number}", created_unix_ms=created))


async def test_what_was_saved_is_found_after_a_restart(tmp_path: Path) -> None:
    """Protects clients from losing what they paid to upload."""
    path = tmp_path / "data/carousel.db"
    first = await SqliteStore.open(path)
    await first.objects.save(_ROW)
    await first.close()
    second = await SqliteStore.open(path)
    assert await second.objects.find("alice", "files", ["file_1", "file_2"]) == (_ROW,)
    await second.close()


async def test_an_object_is_found_only_by_its_client_and_kind(objects: ObjectStore) -> None:
    """Protects clients from each other, also where two upstreams gave one id twice."""
    await objects.save(_ROW)
    theirs = replace(_ROW, client="bob", fingerprint="f2")
    await objects.save(theirs)
    assert await objects.find("alice", "files", ["file_1"]) == (_ROW,)
    assert await objects.find("bob", "files", ["file_1"]) == (theirs,)
    assert await objects.find("alice", "batches", ["file_1"]) == ()
    assert await objects.find("carol", "files", ["file_1"]) == ()


async def test_lists_come_newest_first_from_either_bound(objects: ObjectStore) -> None:
    """Protects paging: what is next to a bound comes, whichever side."""
    await _filled(objects)
    await objects.save(replace(_ROW, client="bob", id="file_9"))
    assert await _listed(objects, Cut(most=9)) == ["file_4", "file_3", "file_2", "file_1", "file_0"]
    assert await _listed(objects, Cut(most=2, after="file_3")) == ["file_2", "file_1"]
    assert await _listed(objects, Cut(most=2, before="file_1")) == ["file_3", "file_2"]
    assert await _listed(objects, Cut(most=2, after="file_0")) == []
    assert await _listed(objects, Cut(most=2, after="file_9")) is None
    assert await _listed(objects, Cut(most=2, before="file_9")) is None


async def test_what_was_deleted_bounds_a_list_for_a_week(objects: ObjectStore) -> None:
    """Protects whoever deletes what a list shows while walking through it."""
    await _filled(objects)
    await objects.forget("alice", "files", "file_2", 1000)
    await objects.forget("bob", "files", "file_3", 1000)
    assert await objects.find("alice", "files", ["file_2"]) == ()
    assert await _listed(objects, Cut(most=9)) == ["file_4", "file_3", "file_1", "file_0"]
    assert await _listed(objects, Cut(most=1, after="file_2")) == ["file_1"]
    await objects.forget("alice", "files", "file_0", 1001 + 7 * _DAY_MS)
    assert await _listed(objects, Cut(most=1, after="file_2")) is None
    assert await _listed(objects, Cut(most=1, after="file_1")) == []


async def test_whether_there_are_files_is_told(objects: ObjectStore) -> None:
    """Protects the hot path: without any file no request is looked through."""
    assert not await objects.any_files()
    await objects.save(replace(_ROW, kind="batches"))
    assert not await objects.any_files()
    await objects.save(_ROW)
    assert await objects.any_files()
    await objects.forget("alice", "files", "file_1", 1)
    assert not await objects.any_files()


async def test_a_store_that_was_closed_says_so(store: SqliteStore) -> None:
    """Protects callers from an answer that is none."""
    await store.close()
    with pytest.raises(StoreError):
        await store.objects.any_files()
