"""Thinking blocks on their way to clients without a word for them, and back."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.common import Thought
from proxy.dialects.openai_chat.reasoning_details import (
    ThoughtCollector,
    details_of,
    read_details,
    thoughts_of,
    with_thoughts,
)
from proxy.dialects.openai_chat.schema import ReasoningDetail
from proxy.model.content import Block, RedactedThinkingBlock, TextBlock, ThinkingBlock, ToolUseBlock

_FORMAT = "anthropic-claude-v1"
_FIRST = ThinkingBlock("I think.", "s1")
_SECOND = ThinkingBlock("", "s2")
_SEALED = RedactedThinkingBlock("xyz")
_TEXT = TextBlock("Let me see.")


def _call(name: str) -> ToolUseBlock:
    return ToolUseBlock(name, "f", msgspec.Raw(b"{}"))


def test_blocks_are_told_with_their_proof_and_place() -> None:
    """Protects what clients send back: text and signature, or what nobody may read."""
    told = msgspec.to_builtins(details_of([Thought(0, _FIRST), Thought(1, _SECOND), Thought(3, _SEALED)]))
    assert told == [
        {"type": "reasoning.text", "text": "I think.", "signature": "s1", "format": _FORMAT, "index": 0},
        {"type": "reasoning.text", "text": "", "signature": "s2", "format": _FORMAT, "index": 1},
        {"type": "reasoning.encrypted", "data": "xyz", "format": _FORMAT, "index": 3},
    ]


_BLOCKS = st.one_of(
    st.builds(ThinkingBlock, st.text(), st.text(min_size=1).filter(lambda text: not text.startswith("gw1."))),
    st.builds(RedactedThinkingBlock, st.text(min_size=1).filter(lambda text: not text.startswith("gw1."))),
)


@given(st.lists(st.builds(Thought, st.integers(0, 99), _BLOCKS)))
def test_what_was_told_comes_back_as_it_was(thoughts: list[Thought]) -> None:
    """Protects every byte a signature is bound to."""
    wire = msgspec.json.encode(details_of(thoughts))
    assert read_details(msgspec.json.decode(wire, type=list[ReasoningDetail])) == thoughts


@pytest.mark.parametrize(
    "detail",
    [
        ReasoningDetail("reasoning.text", "t"),
        ReasoningDetail("reasoning.text", "t", ""),
        ReasoningDetail("reasoning.text", "t", "gw1.abc"),
        ReasoningDetail("reasoning.text", "t", "s", format="openai-responses-v1"),
        ReasoningDetail("reasoning.summary", "t", "s"),
        ReasoningDetail("reasoning.encrypted", data="gw1.abc"),
        ReasoningDetail("reasoning.encrypted"),
        ReasoningDetail("reasoning.novel", data="x"),
    ],
)
def test_what_the_provider_did_not_make_is_left_out(detail: ReasoningDetail) -> None:
    """Protects the request from being refused for another's reasoning."""
    assert read_details([detail]) == []


def test_details_without_a_place_or_a_format_are_taken_in_their_order() -> None:
    """Protects clients that keep nothing but what proves a block."""
    details = [ReasoningDetail("reasoning.text", None, "a"), ReasoningDetail("reasoning.encrypted", data="b")]
    assert read_details(details) == [
        Thought(0, ThinkingBlock("", "a")),
        Thought(1, RedactedThinkingBlock("b")),
    ]


@pytest.mark.parametrize(
    "content",
    [
        [_FIRST, _call("a")],
        [_FIRST, _SEALED, _TEXT, _call("a")],
        [_TEXT, _FIRST, _call("a")],
        [_FIRST, _call("a"), _SECOND, _call("b"), _call("c")],
        [_FIRST, _TEXT],
    ],
)
def test_blocks_go_back_to_where_they_were(content: list[Block]) -> None:
    """Protects the order of a turn, which the API refuses to see changed."""
    rest: list[Block] = [
        block for block in content if not isinstance(block, ThinkingBlock | RedactedThinkingBlock)
    ]
    assert with_thoughts(rest, thoughts_of(content)) == content


@pytest.mark.parametrize(
    ("blocks", "thoughts", "turn"),
    [
        ([_call("a")], [Thought(5, _FIRST), Thought(5, _SECOND)], [_FIRST, _SECOND, _call("a")]),
        ([_call("a")], [Thought(-3, _FIRST)], [_FIRST, _call("a")]),
        (
            [_TEXT, _call("a")],
            [Thought(0, _FIRST), Thought(0, _SECOND)],
            [_FIRST, _SECOND, _TEXT, _call("a")],
        ),
        ([], [Thought(0, _FIRST)], []),
        ([TextBlock(" ")], [Thought(0, _FIRST)], [TextBlock(" ")]),
        ([_TEXT], [], [_TEXT]),
        (
            [TextBlock("<think>I think.</think>So."), _call("a")],
            [Thought(0, _FIRST)],
            [_FIRST, TextBlock("So."), _call("a")],
        ),
        ([TextBlock("<think>I think.</think>"), _call("a")], [Thought(0, _FIRST)], [_FIRST, _call("a")]),
        (
            [TextBlock("<think>I think.</think>")],
            [Thought(0, _FIRST)],
            [TextBlock("<think>I think.</think>")],
        ),
        (
            [TextBlock("<think>Else.</think>"), _call("a")],
            [Thought(0, _FIRST)],
            [_FIRST, TextBlock("<think>Else.</think>"), _call("a")],
        ),
    ],
)
def test_a_turn_the_client_has_changed_still_has_its_thinking_before_its_end(
    blocks: list[Block], thoughts: list[Thought], turn: list[Block]
) -> None:
    """Protects requests from ending a turn with thinking, or having one of nothing else."""
    assert with_thoughts(blocks, thoughts) == turn


def test_thinking_without_proof_or_with_ours_is_no_thought() -> None:
    """Protects the memory from what could never go back."""
    assert thoughts_of([ThinkingBlock("t"), ThinkingBlock("t", "gw1.x"), _FIRST]) == [Thought(2, _FIRST)]


def test_a_streamed_block_is_gathered_from_its_pieces() -> None:
    """Protects blocks whose text and signature come bit by bit; those without proof are none."""
    collector = ThoughtCollector()
    collector.begin(0, ThinkingBlock("I ", "s"))
    collector.think("think.")
    collector.sign("1")
    assert collector.end() == Thought(0, _FIRST)
    collector.begin(1, ThinkingBlock(""))
    collector.think("unproven")
    assert collector.end() is None
    assert collector.take(2, _SEALED) == Thought(2, _SEALED)
    assert collector.thoughts == [Thought(0, _FIRST), Thought(2, _SEALED)]
