"""Thinking blocks in a dialect that has none: sent with the answer as ``reasoning_details``, and taken back.

A model that thinks and calls tools wants its thinking back, unchanged, when it gets the tools' results. Clients
that keep ``reasoning_details`` bring it themselves; for the others the blocks of tool turns are remembered.
Sources: "Extended thinking with tool use" in Anthropic's documentation; "Preserving reasoning" in OpenRouter's for
the shape of the field.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from proxy.dialects.common import Thought
from proxy.dialects.openai_chat.schema import ReasoningDetail
from proxy.model.content import (
    GATEWAY_SIGNATURE_PREFIX,
    Block,
    RedactedThinkingBlock,
    TextBlock,
    ThinkingBlock,
)

THINK_OPEN: Final = "<think>"
THINK_CLOSE: Final = "</think>"
_FORMAT: Final = "anthropic-claude-v1"
_TEXT: Final = "reasoning.text"
_ENCRYPTED: Final = "reasoning.encrypted"


def details_of(thoughts: Iterable[Thought]) -> list[ReasoningDetail]:
    """Thinking blocks as a client gets them."""
    return [_detail(thought) for thought in thoughts]


def _detail(thought: Thought) -> ReasoningDetail:
    block, index = thought.block, thought.index
    if isinstance(block, RedactedThinkingBlock):
        return ReasoningDetail(_ENCRYPTED, data=block.data, format=_FORMAT, index=index)
    return ReasoningDetail(_TEXT, block.thinking, block.signature, format=_FORMAT, index=index)


def read_details(details: Iterable[ReasoningDetail]) -> list[Thought]:
    """The thinking blocks a client brings back; those of another provider's, or without proof, are left out."""
    thoughts = []
    for place, detail in enumerate(details):
        block = _block(detail)
        if block is not None:
            index = place if detail.index is None else detail.index
            thoughts.append(Thought(index, block))
    return thoughts


def _block(detail: ReasoningDetail) -> ThinkingBlock | RedactedThinkingBlock | None:
    if detail.format not in {None, _FORMAT}:
        return None
    proof = detail.signature if detail.type == _TEXT else detail.data
    if not proof or proof.startswith(GATEWAY_SIGNATURE_PREFIX):
        return None
    if detail.type == _TEXT:
        return ThinkingBlock(detail.text or "", proof)
    return RedactedThinkingBlock(proof) if detail.type == _ENCRYPTED else None


def thoughts_of(content: Iterable[Block]) -> list[Thought]:
    """The thinking blocks of an answer that their provider would know again."""
    return [
        Thought(index, block)
        for index, block in enumerate(content)
        if isinstance(block, RedactedThinkingBlock) or (isinstance(block, ThinkingBlock) and _proven(block))
    ]


def _proven(block: ThinkingBlock) -> bool:
    return bool(block.signature) and not block.signature.startswith(GATEWAY_SIGNATURE_PREFIX)


def with_thoughts(blocks: list[Block], thoughts: Sequence[Thought]) -> list[Block]:
    """An assistant's turn with its thinking where it was, before its last block at the latest.

    What showed it within the text leaves in exchange. A turn that says and calls nothing has none: thinking cannot
    stand alone.
    """
    if not thoughts:
        return blocks
    placed = [block for block in (_unshown(block, thoughts) for block in blocks) if block is not None]
    if all(isinstance(block, TextBlock) and not block.text.strip() for block in placed):
        return blocks
    at = -1
    for thought in sorted(thoughts, key=lambda thought: thought.index):
        at = min(max(thought.index, at + 1), len(placed) - 1)
        placed.insert(at, thought.block)
    return placed


def _unshown(block: Block, thoughts: Iterable[Thought]) -> Block | None:
    """A block without the thinking that was shown in it; None where nothing else is left."""
    if not isinstance(block, TextBlock) or THINK_OPEN not in block.text:
        return block
    text = block.text
    for thought in thoughts:
        if isinstance(thought.block, ThinkingBlock) and thought.block.thinking:
            text = text.replace(f"{THINK_OPEN}{thought.block.thinking}{THINK_CLOSE}", "", 1)
    return msgspec.structs.replace(block, text=text) if text else None


class ThoughtCollector:
    """Gathers the thinking blocks of one streamed answer.

    Attributes:
        thoughts: those that are whole and that their provider would know again.
    """

    __slots__ = ("_index", "_signature", "_text", "thoughts")

    def __init__(self) -> None:
        self.thoughts: list[Thought] = []
        self._index = 0
        self._text: list[str] = []
        self._signature = ""

    def begin(self, index: int, block: ThinkingBlock) -> None:
        """A block begins, the answer's `index`-th."""
        self._index = index
        self._text = [block.thinking]
        self._signature = block.signature

    def think(self, text: str) -> None:
        """More of its text."""
        self._text.append(text)

    def sign(self, signature: str) -> None:
        """More of its signature."""
        self._signature += signature

    @property
    def chars(self) -> int:
        """How many characters the text of the last block has so far."""
        return sum(map(len, self._text))

    def end(self) -> Thought | None:
        """The block is whole; None if it proves nothing."""
        block = ThinkingBlock("".join(self._text), self._signature)
        return self.take(self._index, block) if _proven(block) else None

    def take(self, index: int, block: ThinkingBlock | RedactedThinkingBlock) -> Thought:
        """A block that came whole."""
        thought = Thought(index, block)
        self.thoughts.append(thought)
        return thought
