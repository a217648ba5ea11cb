"""What is in the files below a folder, but for those that are there to hold secrets or what was said."""

import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from tests.support.canaries.marks import PROMPT
from tests.support.canaries.watch import Place

MEANT_FOR_SECRETS: Final = {
    "*sessions*.json": "the operator's credentials",
    "*.env": "the operator's settings",
    "*tinyproxy.conf": "the settings of a proxy, with the password it asks for",
    "*schemathesis.toml": "the settings of a client, with its keys",
    "carousel/tests/*": "a clone of these tests",
    "carousel/proxy/commands/drill/stand_ins.py": "a clone of the program, whose drill has keys of nobody",
    "planted/*": "where a test lets secrets lie about that may not get into what is built there",
}
"""Files below the folder of a test that it has itself written secrets into, as the operator would; and why."""
MEANT_FOR_WORDS: Final = ("responses", "conversations", "projects", "sessions")
"""Tables of what was said, for those clients that asked to have it kept."""
_DATABASE: Final = b"SQLite format 3\0"
_MOST_BYTES: Final = 2**28


def read(folder: Path) -> Iterator[tuple[Place, str, bytes]]:
    """Each file with where it belongs and its name; those that nobody else can have are left out."""
    for file in sorted(folder.rglob("*")):
        if any(fnmatch(str(file.relative_to(folder)), name) for name in MEANT_FOR_SECRETS):
            continue
        with suppress(OSError):
            found = file.lstat()
            if stat.S_ISREG(found.st_mode) and found.st_size <= _MOST_BYTES:
                yield from _read(file, str(file.relative_to(folder)))


def _read(file: Path, name: str) -> Iterator[tuple[Place, str, bytes]]:
    data = file.read_bytes()
    if data.startswith(_DATABASE):
        yield Place.DATABASE, name, data
        if PROMPT.encode() in data:
            yield Place.FILE, name, _without_words(file)
    else:
        yield Place.DATABASE if name.endswith(("-wal", "-shm", "-journal")) else Place.FILE, name, data


def _without_words(file: Path) -> bytes:
    """A copy of a database without the tables that are there for what was said, and without what was deleted."""
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as one, closing(_memory()) as copy:
        one.backup(copy)
        for table in MEANT_FOR_WORDS:
            with suppress(sqlite3.OperationalError):
                copy.execute(f"DELETE FROM {table}")  # noqa: S608 - a constant
        copy.execute("VACUUM")
        return copy.serialize()


def _memory() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", isolation_level=None)
