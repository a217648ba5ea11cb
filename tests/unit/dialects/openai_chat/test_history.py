"""Chat messages as they are remembered."""

from typing import Final

import msgspec
import pytest

from proxy.dialects.common import PLAIN_FORM, AnswerForm
from proxy.dialects.history import History
from proxy.dialects.openai_chat.history import ChatHistory, with_conversation
from proxy.errors import InvalidRequest
from proxy.model.content import Block, TextBlock, ThinkingBlock, ToolUseBlock
from proxy.model.message import Message

_CHAT: Final = ChatHistory()
_CALL: Final = ToolUseBlock("toolu_1", "weather", msgspec.Raw(b'{"city":"Rome"}'))
_THOUGHT: Final = ThinkingBlock("Hm.", "signed")


def _answer(*content: Block, form: AnswerForm = PLAIN_FORM) -> dict[str, object] | None:
    found = _CHAT.answer(Message(content=list(content), stop_reason="end_turn"), form)
    return None if found is None else msgspec.json.decode(found, type=dict[str, object])


def test_leading_instructions_are_told_apart_from_turns() -> None:
    """Protects system text from being counted and forgotten like a message."""
    roles = ("developer", "system", "user", "system")
    found = _CHAT.read(msgspec.json.encode({"messages": [{"role": role, "content": "x"} for role in roles]}))
    assert (len(found.system), len(found.messages)) == (2, 2)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{}", "messages"),
        (b'{"messages":5}', "messages"),
        (b'{"messages":[5]}', "messages[0]"),
        (b'{"messages":[{"role":7}]}', "messages[0].role"),
        (b'{"messages":[{"role":"user","content":"\xff"}]}', None),
    ],
)
def test_a_body_without_readable_messages_is_refused_by_name(body: bytes, param: str | None) -> None:
    """Protects clients from an error of ours, and the history from what is no message."""
    with pytest.raises(InvalidRequest) as caught:
        _CHAT.read(body)
    assert caught.value.param == param


def test_a_request_gets_the_history_in_place_of_its_messages() -> None:
    """Protects every other field of it, and keeps our own from the upstream."""
    body = b'{"model":"m","conversation_id":"c","messages":[{"role":"user","content":"b"}],"seed":1}'
    history = History((msgspec.Raw(b'{"role":"system"}'),), (msgspec.Raw(b'{"role" : "user"}'),))
    assert _CHAT.written(body, history, {"model": b'"n"'}) == (
        b'{"model":"n","messages":[{"role":"system"},{"role" : "user"}],"seed":1}'
    )


def test_an_answer_is_remembered_without_the_thinking_that_was_shown() -> None:
    """Protects the history from what was never part of the answer's text."""
    assert _answer(_THOUGHT, TextBlock("Hello.")) == {"role": "assistant", "content": "Hello."}


def test_a_turn_that_calls_tools_keeps_its_signed_thinking() -> None:
    """Protects tool loops of thinking models, which want it back unchanged."""
    turn = _answer(_THOUGHT, _CALL)
    assert turn is not None
    assert turn["content"] is None
    assert turn["tool_calls"] == [
        {"id": "toolu_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Rome"}'}}
    ]
    (detail,) = msgspec.convert(turn["reasoning_details"], list[dict[str, object]])
    assert (detail["text"], detail["signature"]) == ("Hm.", "signed")
    foreign = _answer(ThinkingBlock("Hm.", "gw1.ours"), _CALL)
    assert foreign is not None
    assert "reasoning_details" not in foreign


def test_an_answer_is_remembered_in_the_form_its_client_saw() -> None:
    """Protects clients from tool calls that nobody but we asked for, and old ones from new fields."""
    assert _answer(_CALL, form=AnswerForm(text_tool="weather")) == {
        "role": "assistant",
        "content": '{"city":"Rome"}',
    }
    old = _answer(_CALL, form=AnswerForm(legacy_call=True))
    assert old is not None
    assert old["function_call"] == {"name": "weather", "arguments": '{"city":"Rome"}'}


def test_an_answer_that_says_nothing_is_no_message() -> None:
    """Protects the next request from an empty message, which would be refused."""
    assert _answer() is None
    assert _answer(_THOUGHT) is None


def test_a_passing_answer_gets_its_conversation() -> None:
    """Protects clients of a last resort that read the id from the body."""
    assert with_conversation(b'{"id":"x", "choices": [ ]}', "c") == (
        b'{"id":"x","choices":[ ],"conversation_id":"c"}'
    )
