"""Turns of a Messages conversation as they are remembered."""

from typing import Final

import msgspec
import pytest

from proxy.dialects.anthropic.history import MessagesHistory
from proxy.dialects.common import PLAIN_FORM
from proxy.dialects.history import History
from proxy.errors import InvalidRequest
from proxy.model.content import Block, TextBlock, ThinkingBlock
from proxy.model.message import Message

_MESSAGES: Final = MessagesHistory()


def test_the_system_text_is_kept_as_it_was_written() -> None:
    """Protects its bytes, on which the prompt cache depends, in both of its forms."""
    for system in (b'"Be brief."', b'[{"type":"text", "text":"Be brief."}]'):
        found = _MESSAGES.read(b'{"system":' + system + b',"messages":[{"role":"user","content":"Hi"}]}')
        assert [bytes(raw) for raw in found.system] == [system]
    for absent in (b'{"system":null,"messages":[]}', b'{"messages":[]}'):
        assert _MESSAGES.read(absent) == History()


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"system":"x"}', "messages"),
        (b'{"messages":[null]}', "messages[0]"),
        (b'{"messages":[{"role":[]}]}', "messages[0].role"),
    ],
)
def test_a_body_without_readable_messages_is_refused_by_name(body: bytes, param: str) -> None:
    """Protects clients from an error of ours, and the history from what is no message."""
    with pytest.raises(InvalidRequest) as caught:
        _MESSAGES.read(body)
    assert caught.value.param == param


def test_a_request_gets_the_history_and_the_system_text_it_left_out() -> None:
    """Protects every other field of it, and keeps our own from the upstream."""
    history = History((msgspec.Raw(b'"Be brief."'),), (msgspec.Raw(b'{"role":"user","content":"a"}'),))
    body = b'{"max_tokens":5,"conversation_id":"c","messages":[{"role":"user","content":"b"}]}'
    assert _MESSAGES.written(body, history, {}) == (
        b'{"max_tokens":5,"messages":[{"role":"user","content":"a"}],"system":"Be brief."}'
    )


def test_an_answer_is_remembered_whole_but_for_empty_text() -> None:
    """Protects thinking with its signature, and the next request from a block the API refuses."""
    content: list[Block] = [ThinkingBlock("Hm.", "signed"), TextBlock(""), TextBlock("Hello.")]
    found = _MESSAGES.answer(Message(content=content), PLAIN_FORM)
    assert found is not None
    assert msgspec.json.decode(found) == {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": "signed"},
            {"type": "text", "text": "Hello."},
        ],
    }
    assert _MESSAGES.answer(Message(content=[TextBlock("")]), PLAIN_FORM) is None


@pytest.mark.parametrize(
    ("message", "begins"),
    [
        (b'{"role":"user","content":"Hi"}', True),
        (b'{"role":"user","content":[{"type":"text","text":"Hi"}]}', True),
        (b'{"role":"user","content":[{"type":"tool_result"},{"type":"text","text":"Hi"}]}', False),
        (b'{"role":"user"}', False),
        (b'{"role":"assistant","content":"Hi"}', False),
        (b'{"role":"system","content":"Hi"}', False),
    ],
)
def test_a_turn_begins_where_the_user_speaks(message: bytes, *, begins: bool) -> None:
    """Protects results from being cut off from their calls."""
    assert _MESSAGES.begins(msgspec.Raw(message)) is begins
    assert not _MESSAGES.instructs(msgspec.Raw(message))
