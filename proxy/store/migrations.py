"""Bringing a database of an earlier version up to this one. There is no way back."""

import fcntl
import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from proxy.store.base import StoreError
from proxy.store.files import make_private

_KEPT_COPIES: Final = 2
_NAME: Final = re.compile(r"([0-9]{4})_[a-z0-9_]+\.sql")
_COPY: Final = re.compile(r"\.before-([0-9]{4})")


@dataclass(frozen=True, slots=True)
class Migration:
    """One step.

    Attributes:
        number: 1 and up without gaps; the database's ``user_version`` afterwards.
        sql: its statements, run in one transaction.
    """

    number: int
    sql: str


def shipped_migrations() -> tuple[Migration, ...]:
    """The steps that belong to this version of the program, in their order."""
    found = [
        Migration(int(match[1]), entry.read_text(encoding="utf-8"))
        for entry in files("proxy.store").joinpath("migrations").iterdir()
        if (match := _NAME.fullmatch(entry.name))
    ]
    return tuple(sorted(found, key=lambda migration: migration.number))


def migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration]) -> None:
    """Run the steps the database has not seen, each in a transaction of its own.

    Before the first one an existing database is copied beside itself; the last two copies are kept.

    Args:
        connection: in autocommit mode.
        path: the database's file.
        migrations: all steps, in their order.

    Raises:
        StoreError: the database is of a newer version.
        sqlite3.Error: a step failed; the database is as it was before that step.
    """
    if _version(connection) == migrations[-1].number:
        return
    with _alone_in(path.parent):
        _migrate(connection, path, migrations)


def _migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration]) -> None:
    version = _version(connection)
    newest = migrations[-1].number
    if version > newest:
        raise StoreError(
            f"{path} was written by a newer version of the program (its version is {version}, "
            f"this one knows {newest}); start that one, or put a copy of the file in its place."
        )
    if 0 < version < newest:
        _copy(connection, path, version + 1)
    for migration in migrations:
        if migration.number > version:
            _apply(connection, migration)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Have processes that come together take their turns; the turn of one that is killed is over too.

    To the others a database that one has half brought up to date would look like one of an older version.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _apply(connection: sqlite3.Connection, migration: Migration) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process of the same folder may have been faster.
        if _version(connection) < migration.number:
            for statement in _statements(migration.sql):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {migration.number:d}")
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


def _statements(sql: str) -> Iterator[str]:
    # executescript() would commit the transaction it is called in.
    pending = ""
    for line in sql.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""


def _copy(connection: sqlite3.Connection, path: Path, number: int) -> None:
    target = path.with_name(f"{path.name}.before-{number:04d}")
    target.unlink(missing_ok=True)
    make_private(target)
    copy = sqlite3.connect(target)
    try:
        connection.backup(copy)
    finally:
        copy.close()
    copies = [each for each in path.parent.iterdir() if _COPY.fullmatch(each.name.removeprefix(path.name))]
    for old in sorted(copies)[:-_KEPT_COPIES]:
        old.unlink()
