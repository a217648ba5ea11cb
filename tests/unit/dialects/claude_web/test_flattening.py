"""Blocks of every kind inside a conversation that has to become one text."""

import msgspec
import pytest

from proxy.dialects.claude_web.files import FileCollector
from proxy.dialects.claude_web.flattening import Flattened, flatten
from proxy.model.content import (
    Base64Source,
    Block,
    CacheControl,
    CitationsConfig,
    DocumentBlock,
    ImageBlock,
    RedactedThinkingBlock,
    TextBlock,
    TextSource,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from proxy.model.request import InputMessage, Request

_IMAGE = ImageBlock(Base64Source("image/png", "AAAA"))


def _flat(*turns: list[Block], files: FileCollector | None = None) -> Flattened:
    messages = [InputMessage("user" if n % 2 == 0 else "assistant", turn) for n, turn in enumerate(turns)]
    request = Request(model="m", max_tokens=1, messages=messages)
    return flatten(request, files or FileCollector(), role_prefixes=True)


def test_files_are_named_where_they_stood_but_not_in_a_message_alone() -> None:
    """Protects histories with several images, and the bare message."""
    assert _flat([TextBlock("look"), _IMAGE]).text == "look"
    longer = _flat([TextBlock("look"), _IMAGE], [TextBlock("a cat")], [TextBlock("and this?"), _IMAGE])
    assert longer.text == (
        "Human: look\n[image-1.png]\n\nAssistant: a cat\n\nHuman: and this?\n[image-2.png]"
    )


def test_a_file_alone_gets_a_prompt() -> None:
    """Protects messages that are an image and nothing else: the site takes no empty prompt."""
    assert _flat([_IMAGE]).text.strip()


def test_earlier_tool_calls_are_told_in_words() -> None:
    """Protects histories from elsewhere, whose tools had been called before."""
    call = ToolUseBlock("t", "look_up", msgspec.Raw(b'{"q":1}'))
    result = ToolResultBlock("t", [TextBlock("found"), _IMAGE])
    flat = _flat([TextBlock("q")], [call], [result])
    assert flat.text == (
        'Human: q\n\nAssistant: [called look_up with {"q":1}]\n\n'
        "Human: [the tool answered: found\n[image-1.png]]"
    )


@pytest.mark.parametrize(
    ("block", "field"),
    [
        (ThinkingBlock("hm", "sig"), "messages.thinking"),
        (RedactedThinkingBlock("x"), "messages.thinking"),
        (msgspec.Raw(b'{"type":"server_tool_use"}'), "messages[1].content[0]"),
        (TextBlock("x", cache_control=CacheControl("ephemeral")), "cache_control"),
        (DocumentBlock(TextSource("text/plain", "x"), context="c"), "messages[1].content[0].context"),
        (
            DocumentBlock(TextSource("text/plain", "x"), citations=CitationsConfig(enabled=True)),
            "messages[1].content[0].citations",
        ),
    ],
)
def test_what_has_no_words_is_reported_once(block: Block, field: str) -> None:
    """Protects the promise that no loss is silent."""
    flat = _flat([TextBlock("q")], [block, block], [TextBlock("r")])
    assert field in [dropped.field for dropped in flat.dropped]
    assert len({dropped.field for dropped in flat.dropped}) == len(flat.dropped)


def test_a_message_without_words_leaves_no_role_behind() -> None:
    """Protects the model from an empty line of its own."""
    assert _flat([TextBlock("q")], [ThinkingBlock("x")], [TextBlock("r")]).text == "Human: q\n\nHuman: r"
