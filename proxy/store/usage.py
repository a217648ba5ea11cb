"""Statements about the sums of usage, for the SQLite store. The columns are those of `TallyKey` and `Tally`."""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from proxy.model.tally import COUNTED, Dimension, TallyKey, TallyRow

_KEYS: Final = (*TallyKey._fields, "writer")
_COLUMNS: Final = (*_KEYS, *COUNTED)
_COLUMN_OF: Final[Mapping[Dimension, str]] = {
    Dimension.CLIENT: "client",
    Dimension.CREDENTIAL: "credential",
    Dimension.MODEL: "model",
    Dimension.TIER: "tier",
    Dimension.HOUR: "hour_unix_ms",
}


def _load(column: str) -> str:
    sums = ", ".join(f"sum({name})" for name in COUNTED)
    return (
        f"SELECT {column}, {sums} FROM usage WHERE hour_unix_ms >= ? AND hour_unix_ms < ? "  # noqa: S608 - names of ours
        f"GROUP BY {column} ORDER BY {column}"
    )


SAVE: Final = (
    f"INSERT INTO usage ({', '.join(_COLUMNS)}) "  # noqa: S608 - names of ours
    f"SELECT {', '.join(f'value->>{index}' for index in range(len(_COLUMNS)))} FROM json_each(?) WHERE true "
    f"ON CONFLICT ({', '.join(_KEYS)}) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in COUNTED)}"
)
LOAD: Final[Mapping[Dimension, str]] = {by: _load(column) for by, column in _COLUMN_OF.items()}
FORGET: Final = "DELETE FROM usage WHERE hour_unix_ms < ?"


def spelled(rows: Iterable[TallyRow]) -> str:
    """The rows as `SAVE` takes them: a JSON list of lists in the columns' order."""
    return msgspec.json.encode(
        [(*row.key, row.writer, *msgspec.structs.astuple(row.tally)) for row in rows]
    ).decode()
