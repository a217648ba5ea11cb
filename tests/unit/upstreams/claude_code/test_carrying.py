"""What Claude Code is not asked, and what it leaves out."""

from collections.abc import Sequence
from typing import Final

import msgspec
import pytest

from proxy.dialects.anthropic import read_messages
from proxy.errors import InvalidRequest
from proxy.upstreams.claude_code.carrying import lost_fields, refusal

_FILE: Final[dict[str, object]] = {"type": "file", "file_id": "file_1"}
_TEXT: Final[dict[str, object]] = {"type": "text", "text": "Hm."}


def _user(*blocks: dict[str, object]) -> dict[str, object]:
    return {"role": "user", "content": list(blocks or (_TEXT,))}


def _calls(*ids: str) -> dict[str, object]:
    calls = [{"type": "tool_use", "id": one, "name": "look_up", "input": {}} for one in ids]
    return {"role": "assistant", "content": [_TEXT, *calls]}


def _result(call_id: str, *parts: dict[str, object]) -> dict[str, object]:
    return {"type": "tool_result", "tool_use_id": call_id, "content": list(parts)}


def _refusal(messages: Sequence[object], **fields: object) -> InvalidRequest | None:
    body = msgspec.json.encode({"messages": messages, **fields})
    return refusal(msgspec.json.decode(body, type=dict[str, msgspec.Raw]), read_messages(body))


@pytest.mark.parametrize(
    "messages",
    [
        [_user()],
        [_user(), _calls("a", "b"), _user(_result("b"), _result("a"), _TEXT)],
        [_user(), _calls("a"), _calls("b"), _user(_result("a")), _user(_result("b"))],
        [_user(), _calls("a"), _user(_result("a")), {"role": "assistant", "content": ""}],
        [_user(), {"role": "system", "content": "Be brief."}],
    ],
)
def test_whole_conversations_are_taken(messages: list[object]) -> None:
    """Protects conversations whose messages come in any shape the API takes."""
    assert _refusal(messages, mcp_servers=[], container=None) is None


@pytest.mark.parametrize(
    ("messages", "param", "named"),
    [
        ([_user(), _calls("a", "b"), _user(_result("a"))], "messages", "b"),
        ([_user(), _calls("a"), _user()], "messages", "a"),
        ([_user(_result("x"))], "messages", "x"),
        ([_user(), _calls("a"), _user(_result("a"), _result("x"))], "messages", "x"),
        ([_user(), _calls()], "messages", "ends"),
        ([_user(_TEXT, {"type": "image", "source": _FILE})], "messages[0].content[1].source.type", "file"),
        (
            [_user(), _calls(), _user({"type": "document", "source": _FILE})],
            "messages[2].content[0].source.type",
            "",
        ),
        (
            [_user(), _calls("a"), _user(_result("a", {"type": "image", "source": _FILE}))],
            "messages[2].content[0].source.type",
            "file",
        ),
    ],
)
def test_what_the_program_would_change_is_refused(messages: list[object], param: str, named: str) -> None:
    """Protects clients from an answer to another conversation than theirs; what is wrong with it is named."""
    found = _refusal(messages)
    assert found is not None
    assert found.param == param
    assert named in found.message


@pytest.mark.parametrize(
    ("name", "value"),
    [("mcp_servers", [{"name": "a"}]), ("container", "c"), ("thread", {"type": "persistent"})],
)
def test_what_the_provider_keeps_or_runs_is_refused(name: str, value: object) -> None:
    """Protects clients from an answer without what it was to rest on."""
    found = _refusal([_user()], **{name: value})
    assert found is not None
    assert found.param == name


def test_fields_the_program_does_not_send_are_told_in_their_order() -> None:
    """Protects clients from silent losses, those of fields nobody here has heard of among them."""
    names = ["model", "temperature", "tools", "aurora", "stream", "context_management", "thread", "metadata"]
    assert lost_fields(names) == ["temperature", "aurora", "metadata"]
