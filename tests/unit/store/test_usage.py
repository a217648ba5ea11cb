"""Sums of usage are kept by the hour, and read apart for whatever is asked."""

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.model.tally import COUNTED, Dimension, Tally, TallyKey, TallyRow
from proxy.store import SqliteStore, Store, StoreError
from proxy.store.migrations import shipped_migrations

_HOUR = 3_600_000
_FULL = Tally(*range(1, len(COUNTED) + 1))
_ONE = Tally(requests=1, output_tokens=5)


def _key(
    hour: int = 1,
    client: str = "anna",
    credential: str = "api-1",
    model: str = "claude-opus-5-5",
    tier: str = "standard",
) -> TallyKey:
    return TallyKey(hour * _HOUR, client, credential, model, tier)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database lies."""
    return tmp_path / "data/carousel.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    """An open store."""
    opened = await SqliteStore.open(path)
    yield opened
    await opened.close()


async def _requests(store: Store, by: Dimension = Dimension.CLIENT) -> dict[str | int, int]:
    return {name: tally.requests for name, tally in await store.load_usage(by, 0, 1000 * _HOUR)}


async def test_every_count_comes_back_after_a_restart(path: Path) -> None:
    """Protects each number from being written into another's column."""
    store = await SqliteStore.open(path)
    await store.save_usage([TallyRow(_key(), "w", _FULL)])
    await store.close()
    again = await SqliteStore.open(path)
    assert await again.load_usage(Dimension.CLIENT, 0, 10 * _HOUR) == (("anna", _FULL),)
    await again.close()


async def test_a_sum_takes_the_place_of_what_its_writer_wrote_before(store: Store) -> None:
    """Protects against counting twice what is written twice, and one process from overwriting another's sum."""
    for _ in range(3):
        await store.save_usage([TallyRow(_key(), "w1", Tally(requests=4, input_tokens=9))])
    await store.save_usage([TallyRow(_key(), "w2", _ONE), TallyRow(_key(client="bert"), "w2", _ONE)])
    assert await store.load_usage(Dimension.CLIENT, 0, 10 * _HOUR) == (
        ("anna", Tally(requests=5, input_tokens=9, output_tokens=5)),
        ("bert", _ONE),
    )


@pytest.mark.parametrize(
    ("by", "names"),
    [
        (Dimension.CLIENT, {"anna": 3, "bert": 1}),
        (Dimension.CREDENTIAL, {"": 1, "api-1": 2, "api-2": 1}),
        (Dimension.MODEL, {"": 1, "claude-haiku-5-5": 1, "claude-opus-5-5": 2}),
        (Dimension.TIER, {"": 1, "over_100000": 1, "standard": 2}),
        (Dimension.HOUR, {_HOUR: 2, 2 * _HOUR: 1, 3 * _HOUR: 1}),
    ],
)
async def test_sums_are_read_apart_for_each_dimension(
    store: Store, by: Dimension, names: dict[str | int, int]
) -> None:
    """Protects the questions operators ask: whose, by what, for what, at which price, when."""
    keys = [
        _key(),
        _key(client="bert"),
        _key(2, credential="api-2", model="claude-haiku-5-5", tier="over_100000"),
        _key(3, credential="", model="", tier=""),
    ]
    await store.save_usage([TallyRow(key, "w", _ONE) for key in keys])
    assert await _requests(store, by) == names
    assert list(await _requests(store, by)) == sorted(names)


@pytest.mark.parametrize(
    ("begin", "end", "hours"), [(1, 4, [1, 2, 3]), (2, 3, [2]), (1, 1, []), (3, 9, [3]), (0, 1, [])]
)
async def test_only_the_hours_asked_for_are_summed(
    store: Store, begin: int, end: int, hours: list[int]
) -> None:
    """Protects a bill from the hour before it and the one after."""
    await store.save_usage([TallyRow(_key(hour), "w", _ONE) for hour in (1, 2, 3)])
    found = await store.load_usage(Dimension.HOUR, begin * _HOUR, end * _HOUR)
    assert [name for name, _ in found] == [hour * _HOUR for hour in hours]


async def test_old_hours_are_dropped(store: Store) -> None:
    """Protects the disk from growing for ever, and the first hour that is kept."""
    await store.save_usage([TallyRow(_key(hour), "w", _ONE) for hour in (1, 2, 3)])
    await store.save_usage([])
    await store.forget_usage(2 * _HOUR)
    assert await _requests(store, Dimension.HOUR) == {2 * _HOUR: 1, 3 * _HOUR: 1}


async def test_all_sums_of_a_call_are_kept_or_none(store: Store) -> None:
    """Protects against half a write where one number is too large for the database."""
    with pytest.raises(StoreError):
        await store.save_usage(
            [TallyRow(_key(), "w", _ONE), TallyRow(_key(2), "w", Tally(input_tokens=2**70))]
        )
    assert await _requests(store) == {}


async def test_hostile_names_are_only_names(store: Store) -> None:
    """Protects the database from names that look like SQL or JSON."""
    names = ["'); DROP TABLE usage; --", '"}]', "\u2028é", "\\", "null", "0"]
    await store.save_usage([TallyRow(_key(model=name), "w", _ONE) for name in names])
    assert await _requests(store, Dimension.MODEL) == dict.fromkeys(sorted(names), 1)


def test_the_table_has_a_column_for_every_count() -> None:
    """Protects the next count from being added without its migration."""
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        for step in shipped_migrations():
            database.executescript(step.sql)
        columns = [row[1] for row in database.execute("PRAGMA table_info(usage)")]
    assert columns == [*TallyKey._fields, "writer", *COUNTED]
