"""Several processes open one database in the same moment."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier
from typing import ClassVar

import pytest

from proxy.store import sqlite

_PROCESSES = 8


class _Contended(sqlite3.Connection):
    """A connection that another process gets ahead of, as often as `names` says, each time in the words there.

    Attributes:
        names: of SQLite's errors.
    """

    names: ClassVar[list[str]] = []

    def execute(self, sql: str, parameters: object = (), /) -> sqlite3.Cursor:
        """See the library."""
        assert parameters == ()
        if not self.names:
            return super().execute(sql)
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorname = self.names.pop()
        raise error


@pytest.mark.parametrize("name", ["SQLITE_BUSY", "SQLITE_BUSY_RECOVERY", "SQLITE_IOERR_DELETE_NOENT"])
def test_who_comes_second_tries_again(tmp_path: Path, name: str) -> None:
    """Protects a start from what another process did in the same moment, a journal it removed included."""
    with closing(sqlite3.connect(tmp_path / "a.db", factory=_Contended)) as connection:
        _Contended.names = [name, name]
        assert sqlite._journal_mode(connection) == "wal"
        assert _Contended.names == []


def test_a_disk_that_fails_is_not_asked_again(tmp_path: Path) -> None:
    """Protects the operator from a start that hides what is wrong with the disk."""
    with closing(sqlite3.connect(tmp_path / "a.db", factory=_Contended)) as connection:
        _Contended.names = ["SQLITE_IOERR_WRITE", "SQLITE_IOERR_WRITE"]
        with pytest.raises(sqlite3.OperationalError):
            sqlite._journal_mode(connection)
        assert _Contended.names == ["SQLITE_IOERR_WRITE"]


@pytest.mark.parametrize("round_", range(5))
def test_all_of_them_get_it(tmp_path: Path, round_: int) -> None:
    """Protects workers that start together: SQLite turns away all but one of those who begin its journal."""
    path, together = tmp_path / f"{round_}.db", Barrier(_PROCESSES)
    sqlite._connect(path).close()
    with sqlite3.connect(path) as plain:
        plain.execute("PRAGMA journal_mode = DELETE")
    plain.close()

    def mode(_: int) -> str:
        connection = sqlite3.connect(path, timeout=2, isolation_level=None)
        together.wait(10)
        try:
            return sqlite._journal_mode(connection)
        finally:
            connection.close()

    with ThreadPoolExecutor(_PROCESSES) as threads:
        assert set(threads.map(mode, range(_PROCESSES))) == {"wal"}


@pytest.mark.parametrize("round_", range(5))
def test_who_finds_a_database_half_made_waits_until_it_is_whole(tmp_path: Path, round_: int) -> None:
    """Protects workers that start together: what one is bringing up to date is no older version to be copied first."""
    path, together = tmp_path / f"{round_}.db", Barrier(_PROCESSES)

    def made(_: int) -> None:
        together.wait(10)
        sqlite._connect(path).close()

    with ThreadPoolExecutor(_PROCESSES) as threads:
        assert list(threads.map(made, range(_PROCESSES))) == [None] * _PROCESSES
    assert not [each.name for each in tmp_path.iterdir() if "before" in each.name]
