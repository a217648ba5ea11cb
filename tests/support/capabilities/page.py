"""The tables of ``docs/compatibility.md``, made from the program's own.

``python -m tests.support.capabilities.page`` writes them into the page; a test says when that was forgotten.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from proxy.capabilities import CELLS, Cell, Feature, Front, Row
from proxy.capabilities.table import SECTIONS
from proxy.credentials import Kind

PAGE: Final = Path(__file__).parents[3] / "docs" / "compatibility.md"
BEGIN: Final = "<!-- made by tests/support/capabilities/page.py: begin -->\n"
END: Final = "<!-- made by tests/support/capabilities/page.py: end -->\n"
_DIALECTS: Final = {Front.MESSAGES: "Messages", Front.CHAT: "Chat", Front.TEXT: "Text"}
_KINDS: Final = (Kind.ANTHROPIC, Kind.CLAUDE_WEB, Kind.OPENAI, Kind.CLAUDE_CODE)
_HEAD: Final = (
    f"| feature | dialect | asked for in | {' | '.join(f'`{kind}`' for kind in _KINDS)} |\n"
    f"|{'---|' * (3 + len(_KINDS))}\n"
)


def tables() -> str:
    """All tables, each under its heading."""
    return "\n".join(f"### {title}\n\n{_HEAD}{''.join(_lines(rows))}" for title, rows in SECTIONS.items())


def renewed(page: str) -> str:
    """The page with its tables made anew."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{tables()}\n{END}{tail}"


def _lines(rows: Mapping[Feature, Row]) -> Iterator[str]:
    for feature, row in rows.items():
        for front, field in row.fields.items():
            cells = " | ".join(_shown(CELLS[feature, front, kind]) for kind in _KINDS)
            yield f"| {row.title} | {_DIALECTS[front]} | `{field}` | {cells} |\n"


def _shown(cell: Cell) -> str:
    told = f" `{cell.field}`" if cell.field else ""
    return f"{cell.verdict.value}{told}" + (f"; {cell.note}" if cell.note else "")


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text()))
