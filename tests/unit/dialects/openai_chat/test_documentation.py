"""The page about Chat Completions, compared with the program."""

from pathlib import Path

import pytest

from proxy.dialects.openai_chat import fields
from proxy.dialects.openai_chat.fields import Rule
from proxy.dialects.openai_chat.text import request

_PAGE = Path(__file__).parents[4] / "docs" / "chat-completions.md"


def _rows(rules: dict[str, Rule]) -> list[str]:
    return [f"| `{name}` | {rule.verdict} | {rule.how} |" for name, rule in rules.items()]


@pytest.mark.parametrize("rules", [fields.FIELDS, request.FIELDS], ids=["chat", "text"])
def test_every_verdict_stands_in_the_page(rules: dict[str, Rule]) -> None:
    """Word for word and in the same order, so that no user is told of another one."""
    lines = _PAGE.read_text().splitlines()
    rows = _rows(dict(rules))
    begin = lines.index(rows[0])
    assert lines[begin : begin + len(rows) + 1] == [*rows, ""] or lines[begin:] == rows
