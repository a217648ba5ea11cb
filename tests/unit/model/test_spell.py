"""A whole answer told as a stream."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from proxy.model.collect import Collector
from proxy.model.content import Block, RedactedThinkingBlock, TextBlock, ThinkingBlock, ToolUseBlock
from proxy.model.events import ContentBlockStart
from proxy.model.message import Message, StopDetails, Usage
from proxy.model.spell import spelled

_RAW = st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=3).map(
    lambda fields: msgspec.Raw(msgspec.json.encode(fields))
)
_BLOCKS: st.SearchStrategy[Block] = st.one_of(
    st.builds(TextBlock, st.text(), st.none() | st.lists(_RAW, max_size=2)),
    st.builds(ThinkingBlock, st.text(), st.text()),
    st.builds(ToolUseBlock, st.text(min_size=1), st.text(min_size=1), _RAW),
    st.builds(RedactedThinkingBlock, st.text()),
)


@given(
    st.lists(_BLOCKS, max_size=4), st.sampled_from(["end_turn", "tool_use", "max_tokens", "refusal", None])
)
def test_the_fold_of_the_stream_is_the_answer(blocks: list[Block], reason: str | None) -> None:
    """Protects every part of an answer that comes whole to somebody who reads streams."""
    message = Message(
        id="msg_1",
        model="m",
        content=blocks,
        stop_reason=reason,
        stop_sequence="X",
        stop_details=StopDetails("refusal"),
        usage=Usage(input_tokens=3, output_tokens=7),
    )
    collector = Collector()
    for event in spelled(message):
        collector.add(event)
    assert collector.message() == message


def test_blocks_begin_empty() -> None:
    """Protects clients that show deltas alone, and those that add them to what the block began with."""
    blocks: list[Block] = [
        TextBlock("a"),
        ThinkingBlock("b", "s"),
        ToolUseBlock("t", "f", msgspec.Raw(b'{"x":1}')),
    ]
    begun = [
        event.content_block
        for event in spelled(Message(content=blocks))
        if isinstance(event, ContentBlockStart)
    ]
    assert begun == [TextBlock(""), ThinkingBlock(""), ToolUseBlock("t", "f", msgspec.Raw(b"{}"))]
