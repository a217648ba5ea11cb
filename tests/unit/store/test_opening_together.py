"""Several processes open one database in the same moment."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from proxy.store import sqlite

_PROCESSES = 8


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
