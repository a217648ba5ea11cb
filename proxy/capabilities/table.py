"""The table itself: every cell, worked out from the rows and from the verdicts on OpenAI's fields."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, assert_never

import msgspec

from proxy.capabilities import acting, saying, tuning
from proxy.capabilities.cells import CARRIED
from proxy.capabilities.feature import Cell, Feature, Front, Row, Verdict
from proxy.credentials import Kind
from proxy.dialects.openai_chat import fields, told_field
from proxy.dialects.openai_chat import text as openai_text

SECTIONS: Final[Mapping[str, Mapping[Feature, Row]]] = MappingProxyType(
    {
        "Answers and endpoints": saying.ENDPOINTS,
        "Texts": saying.TEXTS,
        "Images, documents, sound": saying.MEDIA,
        "Answers in a form": saying.JSON,
        "Tools": acting.TOOLS,
        "What the provider keeps or runs": acting.KEPT,
        "Thinking": tuning.THINKING,
        "Length": tuning.LENGTH,
        "Sampling": tuning.SAMPLING,
        "Caches, users, tiers": tuning.ACCOUNT,
    }
)
"""The rows by what they are about."""

ROWS: Final[Mapping[Feature, Row]] = MappingProxyType(
    {feature: row for rows in SECTIONS.values() for feature, row in rows.items()}
)

_SEVERITY: Final = (Verdict.CARRIED, Verdict.EMULATED, Verdict.DROPPED, Verdict.REFUSED)
_RULES: Final[Mapping[Front, Mapping[str, fields.Rule]]] = {
    Front.MESSAGES: {},
    Front.CHAT: fields.FIELDS,
    Front.TEXT: openai_text.FIELDS,
}


def asked(row: Row, front: Front) -> Cell:
    """What becomes of a feature on its way from a client's request into the canonical one."""
    own = row.asked.get(front)
    if own is not None:
        return own
    field = row.fields[front]
    rule = _RULES[front].get(field)
    if rule is None:
        return CARRIED
    match rule.verdict:
        case fields.Verdict.MAPPED:
            return CARRIED
        case fields.Verdict.EMULATED:
            return Cell(Verdict.EMULATED, note=rule.how)
        case fields.Verdict.DROPPED:
            return Cell(Verdict.DROPPED, field)
        case fields.Verdict.REFUSED:
            return Cell(Verdict.REFUSED, field)
        case _:
            assert_never(rule.verdict)


def _cell(row: Row, front: Front, kind: Kind) -> Cell:
    if front not in row.fields:
        return Cell(Verdict.NO_FIELD)
    match kind:
        case Kind.ANTHROPIC:
            return asked(row, front)
        case Kind.CLAUDE_WEB:
            return _worse(asked(row, front), _in_words_of(front, row, row.web))
        case Kind.OPENAI:
            return row.passing if front is Front.CHAT else _worse(asked(row, front), row.openai)
        case Kind.CLAUDE_CODE:
            return _worse(asked(row, front), _in_words_of(front, row, row.code))
        case _:
            assert_never(kind)


def _in_words_of(front: Front, row: Row, cell: Cell) -> Cell:
    """Its fate with the field as OpenAI's clients know it; lost messages are named as Claude has them."""
    lost_message = cell.verdict is Verdict.DROPPED and cell.field.startswith("messages")
    if front is Front.MESSAGES or not cell.field or lost_message:
        return cell
    field = row.fields[front] if row.in_place else told_field(cell.field) or cell.field
    return msgspec.structs.replace(cell, field=field)


def _worse(first: Cell, then: Cell) -> Cell:
    """The fate of what goes through both; what the first has taken away never comes to the second."""
    return then if _SEVERITY.index(then.verdict) > _SEVERITY.index(first.verdict) else first


CELLS: Final[Mapping[tuple[Feature, Front, Kind], Cell]] = MappingProxyType(
    {
        (feature, front, kind): _cell(row, front, kind)
        for feature, row in ROWS.items()
        for front in Front
        for kind in Kind
    }
)
"""What becomes of every feature on every path."""
