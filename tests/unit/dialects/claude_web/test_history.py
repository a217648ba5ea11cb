"""A conversation is recognised by what was said in it, and by nothing that clients drop or move."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.claude_web.history import History, history_of, newest
from proxy.model.content import (
    Base64Source,
    Block,
    CacheControl,
    ImageBlock,
    RedactedThinkingBlock,
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
)
from proxy.model.request import InputMessage, Request

_TEXTS = st.text(max_size=20)


def _request(*said: str | list[Block], system: str = "") -> Request:
    """User and assistant in turns, from the user on."""
    messages = [
        InputMessage("assistant" if index % 2 else "user", [TextBlock(one)] if isinstance(one, str) else one)
        for index, one in enumerate(said)
    ]
    rules = [TextBlock(system)] if system else []
    return Request(model="claude-sonnet-4-6", max_tokens=100, messages=messages, system=rules)


def _history(request: Request, owner: str = "ann") -> History:
    found = history_of(request, owner)
    assert found is not None
    return found


@given(st.lists(_TEXTS, min_size=1, max_size=9).filter(lambda said: len(said) % 2 == 1), _TEXTS, _TEXTS)
def test_the_next_request_is_recognised_whatever_was_said(said: list[str], answer: str, more: str) -> None:
    """Protects continuing: what is known after an answer is what the next request has before its question."""
    before = _history(_request(*said))
    assert _history(_request(*said, answer, more)).before == before.answered(answer)


@given(st.lists(_TEXTS, min_size=3, max_size=7).filter(lambda said: len(said) % 2 == 1), st.data())
def test_any_change_of_the_past_is_seen(said: list[str], data: st.DataObject) -> None:
    """Protects answers from a past that was taken back; spaces around an answer are no change."""
    index = data.draw(st.integers(0, len(said) - 2))
    changed = [*said]
    changed[index] = said[index] + "x"
    assert _history(_request(*changed)).before != _history(_request(*said)).before


def test_the_owner_and_the_rules_belong_to_it() -> None:
    """Protects one client's conversation from another's, and an old system prompt from being taken for a new one."""
    seen = {
        _history(_request("a", "b", "c")).before,
        _history(_request("a", "b", "c"), "bob").before,
        _history(_request("a", "b", "c", system="Be brief.")).before,
    }
    assert len(seen) == 3


_PICTURE = ImageBlock(Base64Source("image/png", "aaaa"))


@pytest.mark.parametrize(
    ("first", "answer"),
    [
        ([TextBlock("a", cache_control=CacheControl("ephemeral"))], "b"),
        ("a", [ThinkingBlock("hm"), TextBlock("b")]),
        ("a", [RedactedThinkingBlock("xx"), TextBlock("b")]),
        ("a", "<think>hm\n</think>\nb"),
        ("a", " b\n"),
        ("a", [TextBlock(""), TextBlock("b")]),
    ],
)
def test_what_clients_drop_and_move_is_no_change(first: str | list[Block], answer: str | list[Block]) -> None:
    """Protects continuing from cache marks, thinking in any form, and an answer in pieces."""
    assert _history(_request(first, answer, "c")).before == _history(_request("a", "b", "c")).before


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([_PICTURE], [ImageBlock(Base64Source("image/png", "bbbb"))]),
        ([_PICTURE], [TextBlock("image-1.png")]),
        ([TextBlock("a"), TextBlock("b")], [TextBlock("ab")]),
        ([msgspec.Raw(b'{"type":"x"}')], [msgspec.Raw(b'{"type":"y"}')]),
    ],
)
def test_what_a_question_brought_along_belongs_to_it(one: list[Block], other: list[Block]) -> None:
    """Protects against another picture under the same words."""
    assert _history(_request(one, "b", "c")).before != _history(_request(other, "b", "c")).before


def test_an_answer_with_a_call_is_not_taken_for_its_text() -> None:
    """Protects histories of other upstreams, in which tools were called."""
    call = ToolUseBlock("t", "f", msgspec.Raw(b"{}"))
    assert (
        _history(_request("a", [TextBlock("b"), call], "c")).before
        != _history(_request("a", "b", "c")).before
    )


def test_an_answer_that_is_to_go_on_has_no_history() -> None:
    """Protects prefilled answers, which no kept conversation can take."""
    assert history_of(_request("a", "b"), "ann") is None
    assert history_of(_request(), "ann") is None


def test_only_what_follows_the_last_answer_is_new() -> None:
    """Protects the site from what it has, and the question from being lost; rules were given at the beginning."""
    request = _request("a", "b", "c", system="Be brief.")
    request.messages.append(InputMessage("user", [TextBlock("d")]))
    found = newest(request)
    assert found is not None
    assert found.system == []
    assert [message.content for message in found.messages] == [[TextBlock("c")], [TextBlock("d")]]
    assert newest(_request("a")) is None
    assert newest(_request("a", "b")) is None
