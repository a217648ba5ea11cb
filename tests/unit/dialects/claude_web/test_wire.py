"""Bodies that go to the site and come from it."""

import msgspec
import pytest

from proxy.dialects.claude_web import (
    FIRST_PARENT,
    Plan,
    Prompt,
    TurnUuids,
    WireBroken,
    decode_created,
    decode_uploaded,
    encode_completion,
    encode_create,
    encode_delete,
)
from proxy.dialects.claude_web.files import text_attachment
from proxy.simulator.web_wire import CompletionBody, CreateBody, DeleteBody

_TURN = TurnUuids(FIRST_PARENT, "human", "assistant")


def _completion(plan: Plan, files: tuple[str, ...] = (), model: str | None = None) -> dict[str, object]:
    body = encode_completion(plan, plan.prompt, _TURN, files, model=model)
    msgspec.json.decode(body, type=CompletionBody)
    return msgspec.json.decode(body, type=dict[str, object])


def test_a_plain_question_says_little() -> None:
    """Protects against fields the site refuses: no model of those who may not choose, no empty list of tools."""
    body = _completion(Plan(prompt=Prompt(text="Hi"), model="m", max_tokens=5))
    assert body == {
        "prompt": "Hi",
        "parent_message_uuid": FIRST_PARENT,
        "timezone": "Etc/UTC",
        "rendering_mode": "messages",
        "turn_message_uuids": {"human_message_uuid": "human", "assistant_message_uuid": "assistant"},
        "attachments": [],
        "files": [],
        "sync_sources": [],
        "thinking_mode": "off",
    }


def test_a_full_question_names_everything() -> None:
    """Protects thinking, effort, files and the model."""
    attachment = text_attachment("context.txt", "é")
    prompt = Prompt(text="Hi", attachments=(attachment,))
    plan = Plan(prompt=prompt, model="m", max_tokens=5, thinking=True, effort="low")
    body = _completion(plan, ("f1",), "claude-opus-4-8")
    assert body["attachments"] == [
        {"file_name": "context.txt", "file_type": "text/plain", "file_size": 2, "extracted_content": "é"}
    ]
    assert (body["files"], body["model"], body["thinking_mode"], body["effort"]) == (
        ["f1"],
        "claude-opus-4-8",
        "extended",
        "low",
    )


@pytest.mark.parametrize("model", [None, "claude-opus-4-8"])
def test_a_conversation_is_named_by_us(model: str | None) -> None:
    """Protects deletions: the uuid is known before the conversation is."""
    made = msgspec.json.decode(encode_create("u", temporary=True, model=model), type=CreateBody)
    assert (made.uuid, made.is_temporary, made.model, made.name) == ("u", True, model, "")
    assert msgspec.json.decode(encode_delete("u"), type=DeleteBody).uuid == "u"


def test_what_was_made_is_read_by_its_uuid() -> None:
    """Protects against fields to come."""
    assert decode_created(b'{"uuid":"u","new":1}') == "u"
    assert decode_uploaded(b'{"success":true,"file_uuid":"f"}') == "f"


@pytest.mark.parametrize("body", [b"", b"{}", b"<html>", b'{"uuid":5,"file_uuid":5}'])
def test_anything_else_was_not_made(body: bytes) -> None:
    """Protects the session from a page in the answer's place."""
    for decode in (decode_created, decode_uploaded):
        with pytest.raises(WireBroken):
            decode(body)
