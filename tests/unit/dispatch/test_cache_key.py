"""Which requests are the same question."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.openai_responses import ResponsesDialect
from proxy.dispatch.cache_key import CacheKey, cache_key
from proxy.exchange import Exchange, Operation
from proxy.server.routes import ANTHROPIC, OPENAI_CHAT
from tests.unit.dialects.openai_responses.building import call
from tests.unit.dispatch.building import body, exchange

_Json = st.recursive(
    st.none() | st.booleans() | st.integers(-100, 100) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=10,
)


def _key(raw: bytes | None = None, *, owner: str = "one", **changes: object) -> CacheKey | None:
    asked: Exchange = exchange(raw, **changes)  # type: ignore[arg-type]  # fields of an exchange
    return cache_key(asked, asked.body, owner)


def _turned(value: object) -> object:
    """The same with the keys of every object the other way round."""
    if isinstance(value, dict):
        return {name: _turned(item) for name, item in reversed(value.items())}
    return [_turned(item) for item in value] if isinstance(value, list) else value


@given(_Json)
def test_order_of_keys_and_spaces_make_no_difference(value: object) -> None:
    """Protects clients that write the same request in another way."""
    raw = body(metadata=value)
    told = msgspec.json.format(msgspec.json.encode(_turned(msgspec.json.decode(raw))), indent=3)
    assert _key(told) == _key(raw)
    assert _key(raw) is not None


@given(_Json, _Json)
def test_requests_that_say_something_else_are_other_questions(one: object, other: object) -> None:
    """Protects every client from the answer to a request it has not made."""
    same = msgspec.json.encode(one, order="deterministic") == msgspec.json.encode(
        other, order="deterministic"
    )
    assert (_key(body(metadata=one)) == _key(body(metadata=other))) is same


def test_responses_that_can_be_gone_on_from_are_never_answered_from_memory() -> None:
    """Protects what is stored under a response's own id from being handed out under another's."""
    assert _key(dialect=ResponsesDialect(call())) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"owner": "two"},
        {"dialect": OPENAI_CHAT},
        {"model": "claude-opus-5-5"},
        {"think": True},
        {"version": "2023-01-01"},
        {"beta": "one-beta"},
    ],
    ids=["owner", "dialect", "model", "think", "version", "beta"],
)
def test_what_decides_beside_the_body_tells_questions_apart(changes: dict[str, object]) -> None:
    """Protects clients from an answer of another key, dialect, model or feature."""
    assert _key(**changes) is not None  # type: ignore[arg-type]  # fields of an exchange
    assert _key(**changes) != _key()  # type: ignore[arg-type]  # fields of an exchange


def test_a_stream_is_another_question_than_a_whole_answer() -> None:
    """Protects clients from an answer in a form they do not read; not saying it is the same as saying no."""
    assert _key(body(stream=True)) != _key(body(stream=False))
    assert _key(body(stream=False)) == _key(body())


def test_an_alias_of_the_same_model_makes_no_difference() -> None:
    """Protects clients that name a model by its family."""
    assert _key(body(model="sonnet")) == _key(body())


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({}, True),
        ({"temperature": None}, True),
        ({"temperature": 0}, True),
        ({"temperature": 0.0}, True),
        ({"temperature": 0.2}, False),
        ({"temperature": 1}, False),
        ({"temperature": "hot"}, False),
        ({"temperature": [0]}, False),
        ({"system_prompt": "Be kind."}, True),
        ({"conversation_id": "conv-1"}, False),
        ({"session_id": "s"}, False),
        ({"project_id": "p"}, False),
        ({"claude_options": {"tools": ["Bash"]}}, False),
        ({"thread": {"type": "message_thread"}}, False),
        ({"container": "container_1"}, False),
        ({"mcp_servers": [{"type": "url", "url": "https://mcp.example.com", "name": "m"}]}, False),
        ({"mcp_servers": []}, True),
        ({"metadata": {"user_id": '{"session_id": "abc"}'}}, False),
        ({"metadata": {"user_id": "anna"}}, True),
    ],
    ids=str,
)
def test_what_is_a_turn_or_asks_for_chance_or_acts_is_never_kept(
    fields: dict[str, object], kept: bool
) -> None:
    """Protects conversations, and whoever asks for another answer each time or has things done."""
    assert (_key(body(**fields)) is not None) is kept


def test_counting_tokens_is_no_question() -> None:
    """Protects what costs nothing from taking the place of what does."""
    assert _key(operation=Operation.COUNT_TOKENS) is None


def test_a_file_of_this_machine_may_change_and_is_read_again() -> None:
    """Protects clients from the answer about yesterday's picture."""
    part = {"type": "image_url", "image_url": {"url": "/srv/picture.png"}}
    asked = body(messages=[{"role": "user", "content": [part]}])
    assert _key(asked, dialect=OPENAI_CHAT) is None


@pytest.mark.parametrize(
    "raw", [b"[1]", b"{", b'{"a":' * 2000 + b"1" + b"}" * 2000], ids=["list", "cut", "deep"]
)
def test_what_cannot_be_read_is_left_to_who_reads_it(raw: bytes) -> None:
    """Protects the words clients get for a broken body, and the server from a deep one."""
    asked = exchange(dialect=ANTHROPIC)
    assert cache_key(asked, raw, "one") is None
