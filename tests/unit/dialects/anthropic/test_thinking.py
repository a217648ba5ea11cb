"""Thinking that the next reader of a history could not know is taken out, and nothing else is touched."""

import msgspec
import pytest

from proxy.dialects.anthropic.thinking import holds_our_signatures, without_foreign_thinking
from proxy.errors import InvalidRequest

_OURS = b'{"type":"thinking","thinking":"a","signature":"gw1.x"}'
_THEIRS = b'{"type":"thinking",  "thinking":"b","signature":"EqQB"}'
_SEALED = b'{"type":"redacted_thinking","data":"d"}'
_TEXT = b'{"type":"text", "text":"caf\\u00e9"}'
_CALL = b'{"type":"tool_use","id":"t","name":"f","input":{"a": 1.50}}'
_RESULT = b'{"type":"tool_result","tool_use_id":"t","content":"gw1."}'


def _turn(role: str, *blocks: bytes) -> bytes:
    return b'{"role":"%b", "content":[%b]}' % (role.encode(), b", ".join(blocks))


def _body(*turns: bytes, more: bytes = b"") -> bytes:
    return b'{"model":"m", "messages": [%b]%b}' % (b" , ".join(turns), more)


_ASK = _turn("user", b'{"type":"text","text":"\\"gw1.\\""}')


@pytest.mark.parametrize(
    ("spoken", "for_anthropic", "left"),
    [
        ((_OURS, _TEXT), True, (_TEXT,)),
        ((_OURS, _TEXT), False, None),
        ((_THEIRS, _TEXT), True, None),
        ((_THEIRS, _TEXT), False, (_TEXT,)),
        ((_SEALED, _TEXT), True, None),
        ((_SEALED, _TEXT), False, (_TEXT,)),
        ((_THEIRS, _OURS, _SEALED, _TEXT, _CALL), True, (_THEIRS, _SEALED, _TEXT, _CALL)),
        ((_THEIRS, _OURS, _SEALED, _TEXT, _CALL), False, (_OURS, _TEXT, _CALL)),
        ((_TEXT, _CALL), False, None),
    ],
)
def test_only_the_blocks_concerned_leave(
    spoken: tuple[bytes, ...], for_anthropic: bool, left: tuple[bytes, ...] | None
) -> None:
    """Protects signatures from readers that did not make them, and every other byte from us."""
    answered = _turn("user", _RESULT)
    body = _body(_ASK, _turn("assistant", *spoken), answered, more=b', "x" : [1,  2]')
    found, dropped = without_foreign_thinking(body, for_anthropic=for_anthropic)
    if left is None:
        assert found is body
        assert dropped == ()
        return
    assert [loss.field for loss in dropped] == ["messages[1].content"]
    changed = b'{"role":"assistant","content":[%b]}' % b",".join(left)
    assert found == b'{"model":"m","messages":[%b,%b,%b],"x":[1,  2]}' % (_ASK, changed, answered)


def test_a_turn_of_nothing_else_is_left_out() -> None:
    """Protects the request from a message without content."""
    body = _body(_ASK, _turn("assistant", _OURS), _ASK)
    found, dropped = without_foreign_thinking(body, for_anthropic=True)
    assert msgspec.json.decode(found)["messages"] == [msgspec.json.decode(_ASK)] * 2
    assert [loss.field for loss in dropped] == ["messages[1].content"]


@pytest.mark.parametrize(
    ("thinking", "spoken", "stays"),
    [
        (b'{"type":"enabled","budget_tokens":1024}', (_OURS, _CALL), False),
        (b'{"type":"enabled","budget_tokens":1024}', (_THEIRS, _OURS, _CALL), True),
        (b'{"type":"enabled","budget_tokens":1024}', (_OURS, _TEXT), True),
        (b'{"type":"adaptive"}', (_OURS, _CALL), True),
    ],
)
def test_a_budget_leaves_with_the_thinking_it_demands(
    thinking: bytes, spoken: tuple[bytes, ...], stays: bool
) -> None:
    """Protects tool turns on models that would refuse them without thinking at their begin."""
    body = _body(_ASK, _turn("assistant", *spoken), _turn("user", _RESULT), more=b',"thinking":' + thinking)
    found, dropped = without_foreign_thinking(body, for_anthropic=True)
    assert (b'"budget_tokens"' in found or b'"adaptive"' in found) is stays
    assert ("thinking" in [loss.field for loss in dropped]) is not stays


@pytest.mark.parametrize(
    "turn",
    [
        b'{"role":"assistant","content":"plain"}',
        b'{"role":"assistant"}',
        b'{"role":"assistant","content":[1,"gw1."]}',
        b'{"role":"assistant","content":[{"type":"thinking","signature":null}]}',
        b'{"role":"user","content":[%b]}' % _OURS,
        b'["gw1."]',
    ],
)
def test_what_is_no_assistants_thinking_stays_for_the_upstream_to_judge(turn: bytes) -> None:
    """Protects the upstream's own words about a request that is wrong."""
    body = _body(turn)
    assert without_foreign_thinking(body, for_anthropic=True) == (body, ())


@pytest.mark.parametrize("body", [b"", b"[]", b'{"messages":1}', b"[" * 100_000])
def test_a_body_that_is_no_request_is_refused(body: bytes) -> None:
    """Protects the caller from anything but a client's mistake."""
    with pytest.raises(InvalidRequest):
        without_foreign_thinking(body, for_anthropic=True)


def test_a_quick_look_finds_our_signatures() -> None:
    """Protects the common request from being read for their sake."""
    assert holds_our_signatures(_body(_turn("assistant", _OURS)))
    assert not holds_our_signatures(_body(_turn("assistant", _THEIRS)))
