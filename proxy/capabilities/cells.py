"""Short ways to write the rows of the table."""

from collections.abc import Mapping
from typing import Final

from proxy.capabilities.feature import Cell, Front, Row, Verdict

CARRIED: Final = Cell(Verdict.CARRIED)
EMULATED: Final = Cell(Verdict.EMULATED)


def carried(note: str) -> Cell:
    """The upstream does it itself, with a remark."""
    return Cell(Verdict.CARRIED, note=note)


def emulated(note: str) -> Cell:
    """The answer is what was asked for, and how that is brought about."""
    return Cell(Verdict.EMULATED, note=note)


def dropped(field: str, note: str = "") -> Cell:
    """Left out, and told under `field`."""
    return Cell(Verdict.DROPPED, field, note)


def refused(field: str, note: str = "") -> Cell:
    """An error that names `field`."""
    return Cell(Verdict.REFUSED, field, note)


def row(
    title: str,
    *,
    messages: str = "",
    chat: str = "",
    text: str = "",
    web: Cell = CARRIED,
    openai: Cell = CARRIED,
    code: Cell = CARRIED,
    in_place: bool = False,
    asked: Mapping[Front, Cell] | None = None,
    passing: Cell = CARRIED,
) -> Row:
    """A row; `messages`, `chat` and `text` are its fields in the three dialects, empty where there is none."""
    given = {Front.MESSAGES: messages, Front.CHAT: chat, Front.TEXT: text}
    return Row(
        title=title,
        fields={front: field for front, field in given.items() if field},
        web=web,
        openai=openai,
        code=code,
        in_place=in_place,
        asked=asked or {},
        passing=passing,
    )
