"""The table is whole, and follows from the rows and from the verdicts on OpenAI's fields."""

import pytest

from proxy.capabilities import CELLS, ROWS, Cell, Feature, Front, Verdict
from proxy.capabilities.cells import CARRIED, dropped, emulated, refused, row
from proxy.capabilities.table import SECTIONS, asked
from proxy.credentials import Kind
from proxy.dialects.openai_chat import fields
from proxy.dialects.openai_chat import text as openai_text


def test_every_feature_has_one_row() -> None:
    """Protects the table from a feature that was forgotten, or stands in two sections."""
    listed = [feature for rows in SECTIONS.values() for feature in rows]
    assert sorted(listed) == sorted(Feature)
    assert set(CELLS) == {(feature, front, kind) for feature in ROWS for front in Front for kind in Kind}


def test_titles_are_told_apart() -> None:
    """Protects readers of the page from two lines of one name."""
    titles = [row.title for row in ROWS.values()]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize(
    ("front", "rules"), [(Front.CHAT, fields.FIELDS), (Front.TEXT, openai_text.FIELDS)], ids=["chat", "text"]
)
def test_what_is_lost_of_openais_fields_stands_in_the_table(
    front: Front, rules: dict[str, fields.Rule]
) -> None:
    """Protects routing from a field whose loss nobody has put into a row; some tell only what another one asks."""
    beside = {"audio", "top_logprobs", "moderation", "messages[].audio", "stream_options.include_obfuscation"}
    hard = {
        name
        for name, rule in rules.items()
        if rule.verdict in {fields.Verdict.DROPPED, fields.Verdict.REFUSED}
    }
    told = {row.fields[front] for row in ROWS.values() if front in row.fields}
    assert hard - told <= beside


def test_a_loss_or_refusal_always_has_its_field() -> None:
    """Protects clients: what is not carried is told under a name."""
    for cell in CELLS.values():
        if cell.verdict in {Verdict.DROPPED, Verdict.REFUSED}:
            assert cell.field


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("seed", dropped("seed")),
        ("n", refused("n")),
        ("temperature", CARRIED),
        ("suffix", emulated("a system sentence")),
        ("best_of", refused("best_of")),
    ],
)
def test_the_way_into_the_canonical_request_is_told_by_the_fields_verdict(field: str, expected: Cell) -> None:
    """Protects the one table of OpenAI's fields from being repeated here."""
    assert asked(row("", text=field), Front.TEXT) == expected


@pytest.mark.parametrize(
    ("feature", "front", "kind", "verdict"),
    [
        (Feature.TOOLS, Front.MESSAGES, Kind.ANTHROPIC, Verdict.CARRIED),
        (Feature.TOOLS, Front.CHAT, Kind.CLAUDE_WEB, Verdict.REFUSED),
        (Feature.TOOLS, Front.TEXT, Kind.ANTHROPIC, Verdict.NO_FIELD),
        (Feature.SEED, Front.CHAT, Kind.ANTHROPIC, Verdict.DROPPED),
        (Feature.SEED, Front.CHAT, Kind.OPENAI, Verdict.CARRIED),
        (Feature.SEED, Front.TEXT, Kind.OPENAI, Verdict.DROPPED),
        (Feature.CUSTOM_TOOLS, Front.CHAT, Kind.ANTHROPIC, Verdict.EMULATED),
        (Feature.CUSTOM_TOOLS, Front.CHAT, Kind.CLAUDE_WEB, Verdict.REFUSED),
        (Feature.THINKING, Front.CHAT, Kind.CLAUDE_CODE, Verdict.CARRIED),
        (Feature.FILES, Front.MESSAGES, Kind.ANTHROPIC, Verdict.CARRIED),
        (Feature.FILES, Front.MESSAGES, Kind.CLAUDE_WEB, Verdict.REFUSED),
        (Feature.FILES, Front.CHAT, Kind.ANTHROPIC, Verdict.NO_FIELD),
    ],
)
def test_the_worse_of_two_fates_counts(feature: Feature, front: Front, kind: Kind, verdict: Verdict) -> None:
    """Protects the rule by which cells are put together."""
    assert CELLS[feature, front, kind].verdict is verdict
