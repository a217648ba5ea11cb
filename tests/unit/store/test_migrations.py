"""Databases of earlier versions are brought up to this one, step by step."""

import fcntl
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from proxy.store import StoreError, migrations
from proxy.store.migrations import Migration, migrate, shipped_migrations

ONE = Migration(
    1, "-- a comment; with a semicolon\nCREATE TABLE a (x TEXT);\nINSERT INTO a VALUES ('semi;colon');\n"
)
TWO = Migration(2, "ALTER TABLE a ADD COLUMN y TEXT;\nCREATE TABLE b (x TEXT);\n")
THREE = Migration(3, "DROP TABLE b;\n")
FOUR = Migration(4, "CREATE TABLE c (x TEXT);\n")
BROKEN = Migration(2, "CREATE TABLE b (x TEXT);\nINSERT INTO nowhere VALUES (1);\n")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database lies."""
    return tmp_path / "x.db"


@pytest.fixture
def database(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection in autocommit mode."""
    connection = sqlite3.connect(path, isolation_level=None)
    yield connection
    connection.close()


def version(connection: sqlite3.Connection) -> int:
    """The version the database says it has."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def tables(connection: sqlite3.Connection) -> list[str]:
    """The tables there are."""
    return [row[0] for row in connection.execute("SELECT name FROM sqlite_master ORDER BY name")]


def test_the_shipped_steps_are_numbered_without_gaps_and_run(
    database: sqlite3.Connection, path: Path
) -> None:
    """Protects the packaging of the SQL files and their order."""
    steps = shipped_migrations()
    assert [step.number for step in steps] == list(range(1, len(steps) + 1))
    migrate(database, path, steps)
    assert version(database) == len(steps)
    assert "health" in tables(database)


def test_only_steps_that_are_missing_run(database: sqlite3.Connection, path: Path) -> None:
    """Protects data from a step that runs twice."""
    migrate(database, path, [ONE])
    migrate(database, path, [ONE, TWO])
    migrate(database, path, [ONE, TWO])
    assert version(database) == 2
    assert database.execute("SELECT x, y FROM a").fetchall() == [("semi;colon", None)]


def test_a_step_that_fails_leaves_the_database_before_it(database: sqlite3.Connection, path: Path) -> None:
    """Protects against half a step, after which neither version could start."""
    migrate(database, path, [ONE])
    with pytest.raises(sqlite3.OperationalError):
        migrate(database, path, [ONE, BROKEN])
    assert version(database) == 1
    assert tables(database) == ["a"]
    assert not database.in_transaction


def test_a_newer_database_stops_the_start(database: sqlite3.Connection, path: Path) -> None:
    """Protects a newer version's data from an older program."""
    migrate(database, path, [ONE, TWO])
    with pytest.raises(
        StoreError, match=r"x\.db was written by a newer version .*its version is 2, this one knows 1"
    ):
        migrate(database, path, [ONE])


def test_another_process_may_have_been_faster(
    database: sqlite3.Connection, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects two processes that start with one database at the same time."""
    other = sqlite3.connect(path, isolation_level=None)

    def faster(descriptor: int, operation: int) -> None:
        monkeypatch.undo()
        migrate(other, path, [ONE])
        fcntl.flock(descriptor, operation)

    monkeypatch.setattr(migrations, "fcntl", SimpleNamespace(flock=faster, LOCK_EX=fcntl.LOCK_EX))
    migrate(database, path, [ONE])
    other.close()
    assert database.execute("SELECT count(*) FROM a").fetchone() == (1,)


def test_another_process_may_be_faster_where_files_are_locked_for_one_machine_only(
    database: sqlite3.Connection, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same on a network's file system whose locks others do not see."""
    other = sqlite3.connect(path, isolation_level=None)
    mistakes: list[Exception] = []

    def faster(statement: str) -> None:
        if statement == "BEGIN IMMEDIATE":
            database.set_trace_callback(None)
            try:
                migrate(other, path, [ONE])
            except sqlite3.Error as mistake:
                # SQLite keeps to itself what a callback raises
                mistakes.append(mistake)

    monkeypatch.setattr(migrations, "fcntl", SimpleNamespace(flock=lambda *_: None, LOCK_EX=fcntl.LOCK_EX))
    database.set_trace_callback(faster)
    # the callback runs as the statement starts, before the database is locked
    migrate(database, path, [ONE])
    other.close()
    assert not mistakes
    assert database.execute("SELECT count(*) FROM a").fetchone() == (1,)


def test_an_existing_database_is_copied_first_and_two_copies_stay(
    database: sqlite3.Connection, path: Path
) -> None:
    """Protects the operator who has to go back to the earlier version."""
    migrate(database, path, [ONE])
    assert list(path.parent.iterdir()) == [path]
    for steps in ([ONE, TWO], [ONE, TWO, THREE], [ONE, TWO, THREE, FOUR]):
        migrate(database, path, steps)
    copies = sorted(each for each in path.parent.iterdir() if each != path)
    assert [each.name for each in copies] == ["x.db.before-0003", "x.db.before-0004"]
    for copy, expected in zip(copies, (2, 3), strict=True):
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600
        reader = sqlite3.connect(copy)
        assert version(reader) == expected
        assert reader.execute("SELECT x FROM a").fetchall() == [("semi;colon",)]
        reader.close()
