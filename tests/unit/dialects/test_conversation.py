"""Turns of one conversation are known by how it began, and by what their client calls it."""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.anthropic import AnthropicDialect
from proxy.dialects.common import Dialect
from proxy.dialects.conversation import Opening, name_in, opening, session_in, short, turns_in
from proxy.dialects.decoding import Anything
from proxy.dialects.openai_chat import OpenAIChatDialect
from proxy.errors import InvalidRequest


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def _turns(*roles: str) -> list[msgspec.Raw]:
    return [_raw({"role": role, "content": f"{role} {number}"}) for number, role in enumerate(roles)]


def _opening(messages: Sequence[msgspec.Raw] | None, system: Anything = msgspec.UNSET) -> Opening:
    return opening(None if messages is None else turns_in(messages, "messages"), system)


def test_later_turns_have_the_digest_of_the_first() -> None:
    """Protects the prompt cache: each turn must be known as one of the same conversation."""
    turns = _turns("user", "assistant", "user", "assistant", "user")
    first = _opening(turns[:1], _raw("be kind"))
    third = _opening(turns[:3], _raw("be kind"))
    assert first.digest == third.digest == _opening(turns, _raw("be kind")).digest
    assert (first.continuing, third.continuing) == (False, True)


def test_another_beginning_is_another_conversation() -> None:
    """Protects clients of one key from being thrown onto one credential."""
    hello, bye = _raw({"role": "user", "content": "hello"}), _raw({"role": "user", "content": "bye"})
    digests = {
        _opening([hello]).digest,
        _opening([bye]).digest,
        _opening([hello], _raw("be kind")).digest,
        _opening([hello], _raw("be short")).digest,
        _opening(None).digest,
    }
    assert len(digests) == 5


def test_a_cache_mark_that_moves_on_changes_nothing() -> None:
    """Protects thrifty clients, which write the first message as a marked block at first and as plain text later."""
    mark = {"type": "ephemeral"}
    block = _raw({"role": "user", "content": [{"type": "text", "text": "hello", "cache_control": mark}]})
    plain = _raw({"role": "user", "content": "hello"})
    assert _opening([block]).digest == _opening([plain]).digest
    system = _raw([{"type": "text", "text": "be kind", "cache_control": mark}])
    assert _opening([plain], system).digest == _opening([plain], _raw("be kind")).digest


def test_content_of_an_unknown_shape_still_tells_conversations_apart() -> None:
    """Protects clients of what is newer than we are."""
    one, other = _raw({"role": "user", "content": {"new": 1}}), _raw({"role": "user", "content": {"new": 2}})
    assert _opening([one]).digest != _opening([other]).digest
    assert _opening([_raw({"role": "user"})]).digest != _opening([one]).digest


@pytest.mark.parametrize("role", ["system", "developer"])
def test_instructions_among_the_messages_count_as_the_system_prompt(role: str) -> None:
    """Protects Chat clients, whose system prompt is a message."""
    told = _raw({"role": role, "content": "be kind"})
    (hello,) = _turns("user")
    assert _opening([told, hello]).digest != _opening([hello]).digest


def test_a_long_system_prompt_counts_by_its_beginning() -> None:
    """Protects the hot path from hashing megabytes, and what a client changes at its end from moving it."""
    (hello,) = _turns("user")
    begin = "x" * 20_000
    assert _opening([hello], _raw(begin + "a")).digest == _opening([hello], _raw(begin + "b")).digest
    assert _opening([hello], _raw("a" + begin)).digest != _opening([hello], _raw("b" + begin)).digest


@pytest.mark.parametrize(
    ("roles", "continuing"),
    [
        ((), False),
        (("user",), False),
        (("user", "user"), False),
        (("assistant",), True),
        (("system", "user"), False),
    ],
)
def test_an_assistants_message_makes_it_continuing(roles: tuple[str, ...], continuing: bool) -> None:
    """Protects new conversations, which rotate, from being taken for old ones."""
    assert _opening(_turns(*roles)).continuing is continuing


def test_a_message_that_is_none_is_named() -> None:
    """Protects clients from a 500 for a list of numbers."""
    with pytest.raises(InvalidRequest) as caught:
        _opening([*_turns("user"), _raw(3)])
    assert caught.value.param == "messages[1]"


@pytest.mark.parametrize(
    ("metadata", "session"),
    [
        ({"user_id": '{"session_id":"s1","device_id":"d"}'}, "s1"),
        ({"user_id": "user-7"}, ""),
        ({"user_id": "{nonsense"}, ""),
        ({"user_id": '{"session_id":7}'}, ""),
        ({"user_id": None}, ""),
        ({}, ""),
        (None, ""),
        ([1], ""),
    ],
)
def test_a_session_in_the_metadata_is_found(metadata: object, session: str) -> None:
    """Protects Claude Code's sessions; a plain user id is no session, for one user has many."""
    assert session_in(_raw(metadata)) == session
    assert session_in(msgspec.UNSET) == ""


@pytest.mark.parametrize(("value", "name"), [("c1", "c1"), ("", ""), (None, ""), (7, ""), ({"id": "c1"}, "")])
def test_a_name_is_a_string(value: object, name: str) -> None:
    """Protects the peek from what later validation will refuse."""
    assert name_in(_raw(value)) == name


@given(st.text(min_size=257, max_size=600, alphabet=st.characters()))
def test_a_long_name_is_kept_as_a_digest(name: str) -> None:
    """Protects memory from names of megabytes, whatever they are made of."""
    assert len(short(name)) == 32
    assert short(name) == short(name)
    assert short(name + "x") != short(name)


def test_an_item_that_is_no_object_is_named_as_its_dialect_calls_it() -> None:
    """Protects users from a field name they never wrote."""
    with pytest.raises(InvalidRequest) as caught:
        opening(turns_in([msgspec.Raw(b"5")], "input"))
    assert caught.value.param == "input[0]"


@given(
    st.text(st.sampled_from('ab \\"/\n\u00e9\u20ac\U0001f600\x01'), min_size=1, max_size=40),
    st.integers(0, 12),
    st.booleans(),
)
def test_of_a_long_text_the_beginning_alone_counts_wherever_it_is_cut(
    piece: str, shift: int, escaped: bool
) -> None:
    """Protects conversations from becoming others by how their client writes a character."""
    text = "x" * shift + piece * (60_000 // len(piece))
    written = msgspec.json.encode(text)
    if escaped:
        units = text.encode("utf-16-be")
        written = b'"%b"' % b"".join(
            b"\\u%02x%02x" % pair for pair in zip(units[::2], units[1::2], strict=True)
        )
    plain = msgspec.Raw(written)
    (hello,) = _turns("user")
    other = _raw([{"type": "text", "text": text}])
    assert _opening([hello], plain).digest == _opening([hello], other).digest


def test_a_long_content_of_another_shape_is_looked_at_as_it_was_written() -> None:
    """Protects clients of what is newer than we are, and those that send many blocks."""
    (hello,) = _turns("user")
    blocks = [{"type": "text", "text": "be kind"}] * 5_000
    first = _opening([hello], _raw(blocks)).digest
    assert first == _opening([hello], _raw([*blocks, {"type": "text", "text": "at the end"}])).digest
    assert first != _opening([hello], _raw({"new": "x" * 200_000})).digest


@pytest.mark.parametrize(
    "dialect", [AnthropicDialect(), OpenAIChatDialect()], ids=lambda dialect: dialect.name
)
def test_a_role_that_is_no_text_is_named_wherever_it_stands(dialect: Dialect) -> None:
    """Protects clients from an error that names nothing, for a message deep in a history."""
    turns = [{"role": role, "content": "x"} for role in ("user", "assistant", "user")]
    body = msgspec.json.encode({"model": "m", "max_tokens": 1, "messages": [*turns, {"role": 5}]})
    with pytest.raises(InvalidRequest) as caught:
        dialect.peek(body)
    assert caught.value.param == "messages[3].role"
