"""Conversations held between turns: continued by whom they belong to, and by nobody else."""

import msgspec
import pytest

from proxy.errors import GatewayError
from proxy.simulator.messages import Answer, Call, Text
from proxy.simulator.threads import Threads
from proxy.simulator.wire import MessagesRequest

ANSWER = Answer(
    id="msg_1",
    model="claude-opus-5",
    parts=[Text(["Let me ", "look."]), Call("toolu_1", "weather", b'{"city":"Graz"}')],
    stop_reason="tool_use",
    prompt_tokens=1,
    output_tokens=1,
)


def _asked(text: str, thread: object, **fields: object) -> MessagesRequest:
    body = {"model": "claude-opus-5", "max_tokens": 9, "messages": [{"role": "user", "content": text}]}
    return msgspec.convert(
        body | {"thread": msgspec.Raw(msgspec.json.encode(thread))} | fields, type=MessagesRequest
    )


def _following(message_id: str) -> dict[str, str]:
    return {"type": "continue", "previous_message_id": message_id}


def test_a_turn_that_continues_has_all_that_came_before() -> None:
    """Protects tests of tool loops, whose second request holds the result and nothing else."""
    threads = Threads()
    threads.keep(_asked("One", {"type": "create"}, system="Be kind."), ANSWER, "org")
    turn = _asked("Two", _following("msg_1"))
    threads.unfold(turn, "org")
    assert [message.role for message in turn.messages] == ["user", "assistant", "user"]
    blocks = turn.messages[1].content
    assert [(block.type, block.id) for block in blocks if not isinstance(block, str)] == [
        ("text", ""),
        ("tool_use", "toolu_1"),
    ]
    assert turn.system == "Be kind."


@pytest.mark.parametrize(
    ("message_id", "organization"), [("msg_2", "org"), ("msg_1", "another")], ids=["answer", "organization"]
)
def test_a_thread_is_not_found_by_another_name_or_elsewhere(message_id: str, organization: str) -> None:
    """Protects tests of rotation from a simulated Claude that knows of all organizations' threads."""
    threads = Threads()
    threads.keep(_asked("One", {"type": "create"}), ANSWER, "org")
    with pytest.raises(GatewayError) as caught:
        threads.unfold(_asked("Two", _following(message_id)), organization)
    assert (caught.value.status, caught.value.details) == (404, b'{"error_code":"thread_not_found"}')


@pytest.mark.parametrize("thread", [None, {"type": "create"}])
def test_a_request_that_continues_nothing_stays_as_it_is(thread: object) -> None:
    """Protects ordinary requests, which hold the whole conversation."""
    threads = Threads()
    turn = _asked("One", thread)
    threads.unfold(turn, "org")
    assert len(turn.messages) == 1


@pytest.mark.parametrize(
    "thread", [[1], "x", {}, {"type": "fork"}, {"type": "continue", "previous_message_id": 1}]
)
def test_what_is_no_thread_is_refused_by_name(thread: object) -> None:
    """Protects clients' mistakes from being overlooked."""
    with pytest.raises(GatewayError, match="thread: ") as caught:
        Threads().unfold(_asked("One", thread), "org")
    assert caught.value.status == 400


def test_what_is_forgotten_is_not_found() -> None:
    """Protects tests from the threads of the tests before them; and without a thread nothing is held."""
    threads = Threads()
    threads.keep(_asked("One", {"type": "create"}), ANSWER, "org")
    threads.clear()
    threads.keep(_asked("One", None), ANSWER, "org")
    with pytest.raises(GatewayError):
        threads.unfold(_asked("Two", _following("msg_1")), "org")
