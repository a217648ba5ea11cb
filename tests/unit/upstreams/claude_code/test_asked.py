"""What a request asks: history, question, and what goes beside them."""

from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model.content import TextBlock, ThinkingBlock, ToolUseBlock
from proxy.model.request import InputMessage
from proxy.upstreams.base import UpstreamRefused
from proxy.upstreams.claude_code.asked import Asked, digest, read_asked
from proxy.upstreams.claude_code.carrying import APPLIED

_USER: Final[dict[str, object]] = {"role": "user", "content": "Hello!"}


def _read(*messages: dict[str, object], **fields: object) -> Asked:
    body = {"model": "claude-sonnet-5-5", "max_tokens": 9, "messages": list(messages or (_USER,)), **fields}
    return read_asked(msgspec.json.encode(body))


def _said(role: str, text: str) -> dict[str, object]:
    return {"role": role, "content": text}


def test_the_last_thing_the_user_says_is_the_question() -> None:
    """Protects the order of a conversation."""
    asked = _read(_said("user", "a"), _said("assistant", "b"), _said("user", "c"))
    assert [message.role for message in asked.history] == ["user", "assistant"]
    assert asked.question == (TextBlock("c"),)
    assert not asked.resumes


def test_neighbours_of_one_role_are_joined_and_instructions_become_reminders() -> None:
    """Protects what the program cannot hold from being lost: it knows two roles, in turns."""
    asked = _read(
        _said("user", "a"),
        _said("user", "b"),
        _said("assistant", "c"),
        _said("system", "d"),
        _said("user", "e"),
    )
    assert asked.history[0].content == [TextBlock("a"), TextBlock("b")]
    assert asked.question == (TextBlock("<system-reminder>\nd\n</system-reminder>"), TextBlock("e"))


def test_marks_for_the_prompt_cache_are_the_programs_own() -> None:
    """Protects requests from more marks than the API takes."""
    marked = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}
    assert _read({"role": "user", "content": [marked]}).question == (TextBlock("a"),)


@pytest.mark.parametrize(
    ("system", "text"),
    [(None, ""), ("s", "s"), ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "a\n\nb")],
)
def test_the_system_texts_are_one(system: object, text: str) -> None:
    """Protects instructions: the program takes one text."""
    assert _read(system=system).system == text


@pytest.mark.parametrize("name", APPLIED[1:])
def test_a_field_is_the_clients_or_is_not_sent(name: str) -> None:
    """Protects clients from the program's own choices, and their own from being lost."""
    asked = _read(**{name: {"any": "thing"}}).edits()
    assert asked.set[name] == b'{"any":"thing"}'
    assert name not in asked.remove
    assert name in _read().edits().remove


def test_the_longest_answer_is_the_programs_where_the_client_says_none() -> None:
    """Protects requests from going out without a field that the API asks for."""
    edits = read_asked(b'{"messages":[{"role":"user","content":"Hello!"}]}').edits()
    assert "max_tokens" not in edits.remove | edits.set.keys()


def test_a_login_carries_what_fits_into_an_environment() -> None:
    """Protects the start of a child from a variable that the system refuses."""
    carried = _read(stop_sequences=["END"], temperature=1.0).carried()
    assert (carried.max_tokens, carried.extra_body) == (9, '{"stop_sequences":["END"]}')
    with pytest.raises(UpstreamRefused):
        _read(stop_sequences=["x" * 130_000]).carried()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"messages": []}',
        b'{"messages": [{"role": "user", "content": ""}]}',
        b"[" * 100_000,
    ],
)
def test_what_cannot_be_read_is_refused(body: bytes) -> None:
    """Protects the server from a body that slipped through."""
    with pytest.raises(UpstreamRefused) as caught:
        read_asked(body)
    assert caught.value.error.status == 400


_texts = st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=4)


@given(_texts)
def test_a_digest_follows_the_words_and_not_how_they_are_cut(texts: list[str]) -> None:
    """Protects the finding of a conversation again from what clients do to it on their way."""
    cut = InputMessage("assistant", [TextBlock(text) for text in texts])
    whole = InputMessage("assistant", [ThinkingBlock("hm", "sig"), TextBlock("".join(texts))])
    other = InputMessage("user", [TextBlock("".join(texts))])
    assert digest([cut]) == digest([whole]) != digest([other])
    assert digest([cut, other]) == digest([other], digest([whole])) != digest([other, cut])


def test_a_digest_does_not_mind_how_the_input_of_a_tool_is_written() -> None:
    """Protects the same, where a client has decoded and encoded it."""
    one = ToolUseBlock("t", "f", msgspec.Raw(b'{"a": 1, "b": [2]}'))
    other = ToolUseBlock("t", "f", msgspec.Raw(b'{"b":[2],"a":1}'))
    third = ToolUseBlock("t", "f", msgspec.Raw(b'{"b":[2],"a":2}'))
    found = {digest([InputMessage("assistant", [block])]) for block in (one, other, third)}
    assert len(found) == 2
