"""JSON is read field by field, and no value gets into a message."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.credentials.reading import Reader, shown
from proxy.secrets import Secret
from proxy.settings import Problem, values


def raw(value: object) -> msgspec.Raw:
    """A value as JSON, unread."""
    return msgspec.Raw(msgspec.json.encode(value))


@pytest.mark.parametrize("reference", ["$TEAM_KEY", "${TEAM_KEY}"])
def test_a_reference_is_looked_up(reference: str) -> None:
    """Protects files that hold no secret themselves."""
    reader = Reader({"TEAM_KEY": Secret(" sk-team\n")})
    assert reader.secret("key", raw(reference), values.secret) == Secret("sk-team")
    assert reader.problems == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("$NONE", "refers to $NONE, which is not set"),
        ("$EMPTY", "refers to $EMPTY, which is not set"),
        ("$BAD", "holds a space, a control character or a character outside ASCII"),
        ("$team", "begins with $ but is no reference: $ and a name in capital letters"),
        ("${TEAM_KEY", "begins with $ but is no reference: $ and a name in capital letters"),
        ("$TEAM_KEY ", "begins with $ but is no reference: $ and a name in capital letters"),
        ("a b", "holds a space, a control character or a character outside ASCII"),
        (7, "expected a string"),
        (None, "expected a string"),
    ],
)
def test_a_secret_that_cannot_be_says_why(text: object, reason: str) -> None:
    """Protects against a credential whose key is the text of its reference."""
    reader = Reader({"EMPTY": Secret(""), "BAD": Secret("a b"), "TEAM_KEY": Secret("x")})
    assert reader.secret("key", raw(text), values.secret) is None
    assert reader.problems == [Problem("key", reason)]


def test_every_item_of_a_list_is_looked_at() -> None:
    """Protects the operator from one mistake a start."""
    reader = Reader({})
    reader.strings("models", raw(["ok", "a b", "also-ok", ""]), values.model_id)
    assert [problem.setting for problem in reader.problems] == ["models[1]", "models[3]"]


def test_what_is_no_json_is_told_by_its_place_alone() -> None:
    """Protects a key in a broken file from the parser's own text."""
    reader = Reader({})
    assert reader.members("file", msgspec.Raw(b'{"key": "sk-canary" x}')) is None
    assert reader.problems == [Problem("file", "is not valid JSON (byte 20)")]


@given(st.text(max_size=60))
def test_a_field_name_is_shown_only_if_it_looks_like_one(name: str) -> None:
    """Protects a key that was typed to the left of the colon."""
    result = shown(name)
    assert result in {name, "a field with an unusual name"}
    assert result != name or (len(name) <= 40 and name.replace("_", "a").isalnum() and name.isascii())
