"""Tables and progress for people: in colour and moving on a terminal alone, plain text everywhere else.

Imported only by commands that show them, as the library behind them is no part of a server.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from proxy.telemetry.redaction import REDACTOR

_PLAIN_COLUMNS: Final = 200


def printable(text: str) -> str:
    """`text` on one line, without secrets and without characters that would steer a terminal."""
    clean = REDACTOR.clean(text.encode(errors="replace")).decode(errors="replace")
    return "".join(character if character.isprintable() else " " for character in clean)


class Cell(Text):
    """A piece of a table: the text as it is, never read as markup."""

    def __init__(self, text: str, style: str = "") -> None:
        super().__init__(printable(text), style=style)


def console(out: TextIO) -> Console:
    """Where to print to: as wide as the terminal, and wide enough for whole lines where there is none."""
    return Console(
        file=out, width=None if out.isatty() else _PLAIN_COLUMNS, markup=False, highlight=False, emoji=False
    )


def table(out: TextIO, heads: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Print a table."""
    made = Table(header_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for head in heads:
        made.add_column(head, overflow="fold")
    for row in rows:
        made.add_row(*row)
    console(out).print(made)


class Steps:
    """How far something has come."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=total)

    def done(self, told: str) -> None:
        """One more is done, and the next is `told`."""
        self._progress.update(self._task, advance=1, description=printable(told))


@contextmanager
def steps(total: int, told: str) -> Iterator[Steps]:
    """A progress bar on standard error while something takes its time; nothing where that is no terminal."""
    progress = Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
        console=console(sys.stderr),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with progress:
        shown = Steps(progress, total)
        progress.update(progress.task_ids[0], description=printable(told))
        yield shown
