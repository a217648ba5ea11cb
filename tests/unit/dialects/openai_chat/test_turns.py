"""The order of messages the upstream takes."""

from itertools import pairwise
from typing import Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.openai_chat import turns as subject
from proxy.dialects.openai_chat.turns import begins_with_thinking, closed, in_tool_turn, ordered, reminder
from proxy.model.catalog import Catalog
from proxy.model.content import (
    Block,
    RedactedThinkingBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from proxy.model.request import InputMessage

_CATALOG = Catalog.load()
_NEW = _CATALOG.facts("claude-opus-5-5")
_OLD = _CATALOG.facts("claude-haiku-4-5")


def _user(*blocks: Block | str) -> InputMessage:
    return InputMessage("user", [TextBlock(b) if isinstance(b, str) else b for b in blocks])


def _assistant(*blocks: Block | str) -> InputMessage:
    return InputMessage("assistant", [TextBlock(b) if isinstance(b, str) else b for b in blocks])


def _system(text: str) -> InputMessage:
    return InputMessage("system", [TextBlock(text)])


def _call(name: str) -> ToolUseBlock:
    return ToolUseBlock(name, "f", msgspec.Raw(b"{}"))


def _result(name: str, text: str = "r") -> ToolResultBlock:
    return ToolResultBlock(name, [TextBlock(text)])


_MISSING = ToolResultBlock("a", [TextBlock("no result supplied")], is_error=True)

_CASES = [
    ("nothing", [], [_user("(conversation start)")]),
    ("one question", [_user("q")], [_user("q")]),
    ("it begins with an answer", [_assistant("a")], [_user("(conversation start)"), _assistant("a")]),
    ("questions in a row", [_user("a"), _user("b")], [_user("a", "b")]),
    ("answers in a row", [_user("q"), _assistant("a"), _assistant("b")], [_user("q"), _assistant("a", "b")]),
    ("an empty question", [_user("")], [_user("(no content)")]),
    ("a blank question", [_user(" \n")], [_user("(no content)")]),
    ("a blank beside text", [_user("q", ""), _user(" ")], [_user("q")]),
    ("white space beside text stays", [_user("q", " ")], [_user("q", " ")]),
    ("an empty answer", [_user("q"), _assistant(""), _user("r")], [_user("q", "r")]),
    ("an empty question between", [_user("q"), _assistant("a"), _user(), _assistant("b")],
     [_user("q"), _assistant("a"), _user("(no content)"), _assistant("b")]),
    ("a call and its result", [_user("q"), _assistant(_call("a")), _user(_result("a"))],
     [_user("q"), _assistant(_call("a")), _user(_result("a"))]),
    ("results before text",
     [_user("q"), _assistant(_call("a"), _call("b")), _user("x"), _user(_result("b")), _user(_result("a"))],
     [_user("q"), _assistant(_call("a"), _call("b")), _user(_result("b"), _result("a"), "x")]),
    ("a missing result", [_user("q"), _assistant(_call("a")), _user("x")],
     [_user("q"), _assistant(_call("a")), _user(_MISSING, "x")]),
    ("a call at the end", [_user("q"), _assistant(_call("a"))], [_user("q"), _assistant(_call("a")), _user(_MISSING)]),
    ("a result nobody asked for", [_user("q"), _assistant("a"), _user(_result("z"))],
     [_user("q"), _assistant("a"), _user("r")]),
    ("an empty one of these", [_user("q"), _assistant("a"), _user(_result("z", ""))],
     [_user("q"), _assistant("a"), _user("(no content)")]),
    ("a result twice", [_user("q"), _assistant(_call("a")), _user(_result("a"), _result("a", "s"))],
     [_user("q"), _assistant(_call("a")), _user(_result("a"), "s")]),
    ("a result too late", [_user("q"), _assistant(_call("a")), _user("x"), _assistant("y"), _user(_result("a"))],
     [_user("q"), _assistant(_call("a")), _user(_MISSING, "x"), _assistant("y"), _user("r")]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "turns", "expected"), _CASES)
def test_repairs(name: str, turns: list[InputMessage], expected: list[InputMessage]) -> None:
    """Each sequence that clients send and the upstream refuses."""
    assert ordered(turns, _NEW) == expected, name


_S = _system("s")
_R = reminder("s")

_PLACES = [
    ("last after a question", [_user("q"), _S], [_user("q"), _S], [_user("q", _R)]),
    ("before an answer", [_user("q"), _S, _assistant("a"), _user("r")],
     [_user("q"), _S, _assistant("a"), _user("r")], [_user("q", _R), _assistant("a"), _user("r")]),
    ("between questions", [_user("q"), _S, _user("r")], [_user("q", _R, "r")], [_user("q", _R, "r")]),
    ("after an answer", [_user("q"), _assistant("a"), _S], [_user("q"), _assistant("a"), _user(_R)],
     [_user("q"), _assistant("a"), _user(_R)]),
    ("before its question", [_user("q"), _assistant("a"), _S, _user("r")],
     [_user("q"), _assistant("a"), _user(_R, "r")], [_user("q"), _assistant("a"), _user(_R, "r")]),
    ("between call and result", [_user("q"), _assistant(_call("a")), _S, _user(_result("a"))],
     [_user("q"), _assistant(_call("a")), _user(_result("a"), _R)],
     [_user("q"), _assistant(_call("a")), _user(_result("a"), _R)]),
    ("after a result", [_user("q"), _assistant(_call("a")), _user(_result("a")), _S],
     [_user("q"), _assistant(_call("a")), _user(_result("a")), _S],
     [_user("q"), _assistant(_call("a")), _user(_result("a"), _R)]),
    ("two in a row", [_user("q"), _S, _S], [_user("q"), InputMessage("system", [*_S.content, *_S.content])],
     [_user("q", _R, _R)]),
    ("blank", [_user("q"), _system(" ")], [_user("q")], [_user("q")]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "turns", "new", "old"), _PLACES)
def test_later_instructions(
    name: str, turns: list[InputMessage], new: list[InputMessage], old: list[InputMessage]
) -> None:
    """In their place where model and law allow it, else as a reminder beside it; never moved to the front."""
    assert ordered(turns, _NEW) == new, name
    assert ordered(turns, _OLD) == old, name


_ids = st.sampled_from("abc")
_turns = st.one_of(
    st.lists(st.sampled_from(["", "x"]).map(TextBlock) | _ids.map(_result), max_size=3).map(
        lambda b: _user(*b)
    ),
    st.lists(st.sampled_from(["", "x"]).map(TextBlock) | _ids.map(_call), max_size=3, unique_by=repr).map(
        lambda b: _assistant(*b)
    ),
    st.just(_S),
)


@given(st.lists(_turns, max_size=8), st.sampled_from([_NEW, _OLD]))
def test_whatever_comes_in_what_goes_out_is_lawful(turns: list[InputMessage], facts: object) -> None:
    """The laws of the API, on histories nobody would write."""
    out = closed(ordered(turns, facts), prefill=False)  # type: ignore[arg-type]  # drawn from two ModelFacts
    roles = [turn.role for turn in out]
    assert roles[0] == "user"
    assert roles[-1] != "assistant"
    assert all(a != b for a, b in pairwise(roles))
    for place, turn in enumerate(out):
        assert turn.content
        if turn.role == "system":
            assert roles[place - 1] == "user"
            assert roles[place + 1 : place + 2] in ([], ["assistant"])
        calls = [block.id for block in turn.content if isinstance(block, ToolUseBlock)]
        if calls:
            answers = [b.tool_use_id for b in out[place + 1].content if isinstance(b, ToolResultBlock)]
            assert sorted(answers) == sorted(set(calls))
        results = [isinstance(block, ToolResultBlock) for block in turn.content]
        assert results == sorted(results, reverse=True)


@given(st.lists(_turns, max_size=8), st.sampled_from([_NEW, _OLD]))
def test_ordering_twice_changes_nothing(turns: list[InputMessage], facts: object) -> None:
    """What is lawful is left alone, so that histories stay byte for byte the same."""
    once = ordered(turns, facts)  # type: ignore[arg-type]  # drawn from two ModelFacts
    assert ordered(once, facts) == once  # type: ignore[arg-type]  # drawn from two ModelFacts


_said = st.sampled_from(["", " ", "x"]).map(TextBlock) | st.just(ThinkingBlock("t", "s"))
_by_turns = st.lists(
    st.lists(st.one_of(_said, _said, _said, _ids.map(_result), _ids.map(_call)), max_size=2), max_size=4
)


@given(_by_turns, st.sampled_from(["user", "assistant", "system"]), st.sampled_from([_NEW, _OLD]))
def test_histories_that_need_no_order_are_told_from_those_that_do(
    contents: list[list[Block]], last: Literal["user", "assistant", "system"], facts: object
) -> None:
    """The short way for plain histories gives what the long one gives."""
    turns = [InputMessage("assistant" if at % 2 else "user", content) for at, content in enumerate(contents)]
    turns += [InputMessage(last, [TextBlock("y")])]
    short = ordered(turns, facts)  # type: ignore[arg-type]  # drawn from two ModelFacts
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(subject, "_is_plain", lambda _: False)
        assert short == ordered(turns, facts)  # type: ignore[arg-type]  # drawn from two ModelFacts


@pytest.mark.parametrize(
    ("last", "prefill", "expected"),
    [
        (_user("q"), True, [_user("q")]),
        (_assistant("a \n"), True, [_assistant("a")]),
        (_assistant("a", " "), True, [_assistant("a")]),
        (
            _assistant("a "),
            False,
            [_assistant("a "), _user("Continue exactly from where the previous message stopped.")],
        ),
    ],
)
def test_the_end(last: InputMessage, prefill: bool, expected: list[InputMessage]) -> None:
    """An answer at the end is gone on with, by the model or in words."""
    assert closed([last], prefill=prefill) == expected


def test_a_tool_turn_is_one_that_ends_with_results() -> None:
    """There thinking cannot begin in the middle."""
    assert in_tool_turn([_user("q"), _assistant(_call("a")), _user(_result("a"))])
    assert not in_tool_turn([_user("q")])
    assert not in_tool_turn([])


def test_the_assistants_latest_turn_may_begin_with_thinking() -> None:
    """Models whose thinking has a budget demand it of a turn that calls tools."""
    thinking = ThinkingBlock("t", "s")
    asked, answered = _user("q"), _user(_result("a"))
    assert begins_with_thinking([asked, _assistant(thinking, _call("a")), answered])
    assert begins_with_thinking([asked, _assistant(RedactedThinkingBlock("x"), _call("a")), answered])
    assert not begins_with_thinking([asked, _assistant(_call("a"), thinking), answered])
    assert not begins_with_thinking(
        [asked, _assistant(thinking, _call("b")), asked, _assistant(_call("a")), answered]
    )
    assert not begins_with_thinking([asked])
