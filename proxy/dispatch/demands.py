"""What a client demands of an answer, and whether a whole answer has it."""

from typing import assert_never

from proxy.dialects.common import Demand
from proxy.dialects.json_text import is_json_object
from proxy.model.content import TextBlock, ToolUseBlock
from proxy.model.message import Message


def is_met(demand: Demand, message: Message) -> bool:
    """Whether the answer has what was demanded; one that calls tools has not come to its text yet."""
    if any(isinstance(block, ToolUseBlock) for block in message.content):
        return True
    match demand:
        case Demand.CALL:
            return False
        case Demand.JSON:
            texts = [block.text for block in message.content if isinstance(block, TextBlock)]
            return is_json_object("".join(texts))
        case _:
            assert_never(demand)
