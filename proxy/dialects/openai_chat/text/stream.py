"""A stream of ``text_completion`` chunks.

Source: "Create completion" in OpenAI's API reference. Its clients put the texts of all chunks together; the last chunk
of an answer has a finish reason, a chunk of usage follows where it was asked for, and ``[DONE]`` comes last, only
after an answer that is whole.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from proxy.dialects.common import Rendering
from proxy.dialects.openai_chat.reasoning_details import THINK_CLOSE, THINK_OPEN
from proxy.dialects.openai_chat.response import WITHIN_TEXT, completion_usage, finish_reason
from proxy.dialects.openai_chat.text.answer import CITATIONS, completion_id
from proxy.model.content import Block, TextBlock, ThinkingBlock
from proxy.model.events import (
    CitationsDelta,
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    Event,
    MessageDelta,
    MessageStart,
    MessageStop,
    Stop,
    TextDelta,
    ThinkingDelta,
)
from proxy.model.message import Message, Usage

_encode: Final[Callable[[object], bytes]] = msgspec.json.Encoder().encode
_DONE: Final = b"data: [DONE]\n\n"


class TextStreamEncoder:
    """Canonical events to the bytes of one text completion's stream.

    An ``error`` event gives no bytes: whoever sends the stream ends it with the dialect's ``error_frame``.
    """

    __slots__ = ("_open", "_prefix", "_rendering", "_shows_thinking", "_stop", "_thinking_shown", "_usage")

    def __init__(self, rendering: Rendering) -> None:
        self._rendering = rendering
        self._shows_thinking = rendering.thinking_format in WITHIN_TEXT
        self._thinking_shown = False
        self._open: type[Block] | None = None
        self._stop = Stop()
        self._usage = Usage()
        self._prefix = b""
        self._begin(Message())

    def encode(self, events: Sequence[Event]) -> bytes:
        """See `proxy.dialects.common.StreamEncoder.encode`."""
        return b"".join([self._step(event) for event in events])

    def _step(self, event: Event) -> bytes:
        match event:
            case ContentBlockDelta(delta=TextDelta(text=text)) if self._open is TextBlock:
                return self._text(text)
            case ContentBlockDelta(delta=ThinkingDelta(thinking=text)) if self._open is ThinkingBlock:
                return self._thinking(text)
            case ContentBlockStart(content_block=block):
                return self._start(block)
            case ContentBlockStop():
                self._open, shown = None, self._thinking_shown
                self._thinking_shown = False
                return self._text(THINK_CLOSE) if shown else b""
            case MessageStart(message=message):
                self._begin(message)
                return self._text(self._rendering.form.echo)
            case MessageDelta(delta=stop, usage=usage):
                self._stop, self._usage = stop, self._usage.merge(usage)
                return b""
            case MessageStop():
                return self._finish()
            case _:
                if isinstance(event, ContentBlockDelta) and isinstance(event.delta, CitationsDelta):
                    self._rendering.tell(CITATIONS)
                return b""

    def _begin(self, message: Message) -> None:
        rendering = self._rendering
        self._usage = message.usage
        self._prefix = b'data: {"id":%b,"object":"text_completion","created":%d,"model":%b,"choices":[' % (
            _encode(completion_id(message.id or rendering.request_id)),
            rendering.created_s,
            _encode(rendering.model or message.model),
        )

    def _start(self, block: Block) -> bytes:
        self._open = type(block)
        match block:
            case TextBlock(text=text):
                return self._text(text)
            case ThinkingBlock(thinking=text):
                return self._thinking(text)
            case _:
                return b""

    def _thinking(self, text: str) -> bytes:
        if not text or not self._shows_thinking:
            return b""
        begun, self._thinking_shown = self._thinking_shown, True
        return self._text(text if begun else THINK_OPEN + text)

    def _text(self, text: str) -> bytes:
        return self._chunk(_encode(text), b"null") if text else b""

    def _chunk(self, text: bytes, finish: bytes) -> bytes:
        usage = b',"usage":null' if self._rendering.include_usage else b""
        return b'%b{"text":%b,"index":0,"logprobs":null,"finish_reason":%b}]%b}\n\n' % (
            self._prefix,
            text,
            finish,
            usage,
        )

    def _finish(self) -> bytes:
        out = self._chunk(b'""', _encode(finish_reason(self._stop.stop_reason)))
        if self._rendering.include_usage:
            out += b'%b],"usage":%b}\n\n' % (self._prefix, _encode(completion_usage(self._usage)))
        return out + _DONE
