"""An answer as a ``text_completion`` object.

Source: "The completion object" in OpenAI's API reference. It has room for text alone: thinking is shown only where it
is asked for within the text, and a refusal is an empty text with its finish reason.
"""

from typing import Final

import msgspec

from proxy.dialects.common import Dropped, Rendering
from proxy.dialects.openai_chat.annotations import has_citations
from proxy.dialects.openai_chat.reasoning_details import THINK_CLOSE, THINK_OPEN
from proxy.dialects.openai_chat.response import (
    REFUSAL,
    WITHIN_TEXT,
    CompletionUsage,
    completion_usage,
    finish_reason,
)
from proxy.model.content import Block, TextBlock, ThinkingBlock
from proxy.model.message import Message

CITATIONS: Final = Dropped("content[].citations", "a text completion has room for text alone")


class TextChoice(msgspec.Struct):
    """The one choice there is."""

    text: str
    finish_reason: str | None
    index: int = 0
    logprobs: None = None


class Completion(msgspec.Struct, kw_only=True):
    """A whole answer."""

    id: str
    object: str = "text_completion"
    created: int
    model: str
    choices: list[TextChoice]
    usage: CompletionUsage | None


_encoder = msgspec.json.Encoder()


def encode_message(message: Message, rendering: Rendering) -> bytes:
    """See `proxy.dialects.common.Dialect.encode_message`."""
    thinking = rendering.thinking_format in WITHIN_TEXT
    text = rendering.form.echo
    if message.stop_reason != REFUSAL:
        text += "".join([_shown(block, thinking=thinking) for block in message.content])
        if has_citations(message.content):
            rendering.tell(CITATIONS)
    completion = Completion(
        id=completion_id(message.id or rendering.request_id),
        created=rendering.created_s,
        model=rendering.model or message.model,
        choices=[TextChoice(text, finish_reason(message.stop_reason))],
        usage=completion_usage(message.usage),
    )
    return _encoder.encode(completion)


def completion_id(message_id: str) -> str:
    """An id in OpenAI's style for an answer."""
    return "cmpl-" + message_id.removeprefix("msg_")


def _shown(block: Block, *, thinking: bool) -> str:
    if isinstance(block, TextBlock):
        return block.text
    if thinking and isinstance(block, ThinkingBlock) and block.thinking:
        return f"{THINK_OPEN}{block.thinking}{THINK_CLOSE}"
    return ""
