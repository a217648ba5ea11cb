"""Content blocks: known ones typed, unknown ones carried."""

import msgspec
import pytest

from proxy.model.content import (
    Base64Source,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    block_type,
    decode_block,
)

_CASES = [
    (b'{"type":"text","text":"a"}', TextBlock("a")),
    (b'{"type":"thinking","thinking":"","signature":"s"}', ThinkingBlock("", "s")),
    (
        b'{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AA=="}}',
        ImageBlock(Base64Source("image/png", "AA==")),
    ),
    (
        b'{"type":"tool_use","id":"t","name":"n","input":{"b":1,"a":2}}',
        ToolUseBlock("t", "n", msgspec.Raw(b'{"b":1,"a":2}')),
    ),
]


@pytest.mark.parametrize(("raw", "block"), _CASES)
def test_known_blocks_go_both_ways(raw: bytes, block: TextBlock) -> None:
    """One case list, read and written: the bytes are the same, key order of tool input included."""
    assert decode_block(raw) == block
    assert msgspec.json.encode(block) == raw


def test_an_unknown_block_is_carried_on_one_line() -> None:
    """A block yet to be invented neither fails nor breaks the framing of a stream."""
    block = decode_block(b'{ "type": "hologram",\n "shape": "cube" }')
    assert msgspec.json.encode([block]) == b'[{"type":"hologram","shape":"cube"}]'
    assert isinstance(block, msgspec.Raw)
    assert block_type(block) == "hologram"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        (b',"content":null', []),
        (b',"content":""', []),
        (b',"content":"ok"', [TextBlock("ok")]),
        (b',"content":[{"type":"text","text":"ok"}]', [TextBlock("ok")]),
    ],
)
def test_tool_results_are_written_out(content: bytes, expected: list[TextBlock]) -> None:
    """The shorthand of a string and the list mean the same."""
    raw = b'{"type":"tool_result","tool_use_id":"t"' + content + b"}"
    assert decode_block(raw) == ToolResultBlock("t", [*expected])


@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        b"[]",
        b'{"type":1}',
        b'{"type":"text"}',
        b'{"type":"text","text":3}',
        b'{"type":"tool_result","tool_use_id":"t","content":[{"type":"tool_use","id":"a","name":"b","input":{}}]}',
    ],
)
def test_wrong_blocks_are_refused(raw: bytes) -> None:
    """Patience with the new is no patience with the wrong."""
    with pytest.raises(msgspec.ValidationError):
        decode_block(raw)
