"""Turns as chat messages: every block has its place, or is told."""

import msgspec
import pytest

from proxy.dialects.openai_chat.upstream.turns import Losses, chat_messages, system_text
from proxy.model.content import (
    Base64Source,
    Block,
    CacheControl,
    DocumentBlock,
    FileSource,
    ImageBlock,
    RedactedThinkingBlock,
    TextBlock,
    TextSource,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    UrlSource,
)
from proxy.model.request import InputMessage, Role

MARK = CacheControl("ephemeral")
IMAGE = ImageBlock(Base64Source("image/png", "aGk="))
IMAGE_PART = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
CALL = ToolUseBlock("toolu_1", "weather", msgspec.Raw(b'{"city": "Bern"}'))
CALLED = {
    "id": "toolu_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Bern"}'},
}


def messages(*turns: tuple[Role, list[Block]]) -> tuple[list[dict[str, object]], list[str]]:
    """The chat messages of some turns, and the paths of what they lost."""
    losses = Losses()
    found = chat_messages([InputMessage(role, content) for role, content in turns], losses)
    raw = msgspec.json.encode(found)
    return msgspec.json.decode(raw, type=list[dict[str, object]]), [item.field for item in losses.found]


def test_instructions_are_one_message() -> None:
    """Protects models that take no second one; marks are told."""
    losses = Losses()
    found = system_text(
        [TextBlock("Be kind.", cache_control=MARK), TextBlock(""), TextBlock("Be brief.")], losses
    )
    assert msgspec.to_builtins(found) == [{"role": "system", "content": "Be kind.\n\nBe brief."}]
    assert [item.field for item in losses.found] == ["system[0].cache_control"]
    assert system_text([TextBlock("")], losses) == []


@pytest.mark.parametrize("role", ["user", "system"])
def test_text_is_a_string(role: Role) -> None:
    """Protects APIs that take no lists of parts, also for instructions in mid-conversation."""
    assert messages((role, [TextBlock("a"), TextBlock("b")])) == ([{"role": role, "content": "a\n\nb"}], [])


@pytest.mark.parametrize(
    ("block", "part"),
    [(IMAGE, IMAGE_PART), (ImageBlock(UrlSource("https://x/y.png")), {"type": "image_url", "image_url": {"url": "https://x/y.png"}})],
)  # fmt: skip
def test_images_go_along(block: Block, part: object) -> None:
    """Protects pictures, inline or by address, in their order."""
    found, lost = messages(("user", [TextBlock("a"), block]))
    assert found == [{"role": "user", "content": [{"type": "text", "text": "a"}, part]}]
    assert lost == []


def test_calls_and_results_keep_together() -> None:
    """Protects tool use: results come right after the calls, before what the user says beside them."""
    found, lost = messages(
        ("assistant", [ThinkingBlock("hm", "sig"), TextBlock("Let me see."), CALL]),
        (
            "user",
            [ToolResultBlock("toolu_1", [TextBlock("Rain"), TextBlock("12 °C")]), TextBlock("And now?")],
        ),
    )
    assert found == [
        {"role": "assistant", "content": "Let me see.", "tool_calls": [CALLED]},
        {"role": "tool", "tool_call_id": "toolu_1", "content": "Rain\n\n12 °C"},
        {"role": "user", "content": "And now?"},
    ]
    assert lost == ["messages[0].content[0]"]


def test_an_image_of_a_tool_comes_behind_the_results() -> None:
    """Protects screenshots: a tool's message holds text alone, and nothing may come between results."""
    other = ToolResultBlock("toolu_2", [TextBlock("done")])
    found, lost = messages(
        ("user", [ToolResultBlock("toolu_1", [TextBlock("see"), IMAGE], is_error=True), other])
    )
    assert [each["role"] for each in found] == ["tool", "tool", "user"]
    assert found[2]["content"] == [IMAGE_PART]
    assert lost == ["messages[0].content[0].is_error"]


@pytest.mark.parametrize(
    "block",
    [
        DocumentBlock(TextSource("text/plain", "secret")),
        ImageBlock(FileSource("file_1")),
        ThinkingBlock("secret", "sig"),
        RedactedThinkingBlock("secret"),
        msgspec.Raw(b'{"type":"server_tool_use","input":"secret"}'),
    ],
)
def test_a_block_without_a_place_is_left_out_and_told(block: Block) -> None:
    """Protects signed thinking from other providers, and clients from not knowing what was lost."""
    found, lost = messages(("user", [block, TextBlock("Hi")]), ("assistant", [block]), ("user", [block]))
    assert found == [{"role": "user", "content": "Hi"}, {"role": "user", "content": "(no content)"}]
    assert lost == ["messages[0].content[0]", "messages[1].content[0]", "messages[2].content[0]"]


@pytest.mark.parametrize(
    ("block", "path"),
    [
        (TextBlock("a", cache_control=MARK), "cache_control"),
        (TextBlock("a", citations=[msgspec.Raw(b"{}")]), "citations"),
        (msgspec.structs.replace(IMAGE, cache_control=MARK), "cache_control"),
        (msgspec.structs.replace(CALL, cache_control=MARK), "cache_control"),
        (ToolResultBlock("toolu_1", cache_control=MARK), "cache_control"),
        (ToolResultBlock("toolu_1", [TextBlock("a", cache_control=MARK)]), "content[0].cache_control"),
        (ToolResultBlock("toolu_1", [DocumentBlock(TextSource("text/plain", "x"))]), "content[0]"),
    ],
)
def test_marks_are_left_out_and_told(block: Block, path: str) -> None:
    """Protects the other API from fields it does not know."""
    _, lost = messages(("user", [block]))
    assert lost == [f"messages[0].content[0].{path}"]
