"""A stream of ``chat.completion.chunk`` objects.

Source: "The chat completion chunk object" in OpenAI's API reference. What its clients rely on: the role comes
once, a tool call's id and name once, tool indexes count from 0 without gaps, a finish chunk ends the answer,
a usage chunk follows only when asked for, ``[DONE]`` comes last. Only ``message_stop`` ends an answer here: a
stream that breaks off gets neither a finish chunk nor ``[DONE]``.
"""

from collections.abc import Callable, Sequence
from typing import Final, assert_never

import msgspec

from proxy.dialects.common import Rendering, Thought
from proxy.dialects.openai_chat.annotations import UNTOLD, Annotator
from proxy.dialects.openai_chat.reasoning_details import THINK_CLOSE, THINK_OPEN, ThoughtCollector, details_of
from proxy.dialects.openai_chat.response import (
    BESIDE_TEXT,
    REFUSAL,
    WITHIN_TEXT,
    completion_id,
    completion_usage,
    custom_input,
    finish_reason,
    refusal_text,
)
from proxy.model.content import Block, RedactedThinkingBlock, TextBlock, ThinkingBlock, ToolUseBlock
from proxy.model.events import (
    CitationsDelta,
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    Delta,
    ErrorEvent,
    Event,
    InputJsonDelta,
    MessageDelta,
    MessageStart,
    MessageStop,
    Ping,
    SignatureDelta,
    Stop,
    TextDelta,
    ThinkingDelta,
)
from proxy.model.message import Message, Usage

_encode: Final[Callable[[object], bytes]] = msgspec.json.Encoder().encode
_DONE: Final = b"data: [DONE]\n\n"


class _CitableText:
    """Stands for an open text that may cite something, as its beginning says: its characters are counted."""


_TEXTS: Final = (TextBlock, _CitableText)


class ChatStreamEncoder:
    """Canonical events to the bytes of one chat completion stream.

    An ``error`` event gives no bytes: whoever sends the stream ends it with `OpenAIChatDialect.error_frame`.
    """

    __slots__ = (
        "_annotator",
        "_arguments",
        "_as_content",
        "_as_reasoning",
        "_cited",
        "_content_chars",
        "_custom",
        "_first_call",
        "_open",
        "_prefix",
        "_rendering",
        "_stop",
        "_suffix",
        "_text_begins",
        "_text_prefix",
        "_thinking_shown",
        "_thoughts",
        "_tool_prefix",
        "_tool_suffix",
        "_tools",
        "_uncounted",
        "_usage",
    )

    def __init__(self, rendering: Rendering) -> None:
        self._rendering = rendering
        shown = rendering.thinking_format
        self._as_content = shown in WITHIN_TEXT
        self._as_reasoning = shown in BESIDE_TEXT
        self._open: type[Block | _CitableText] | None = None
        self._thinking_shown = False
        self._thoughts = ThoughtCollector()
        self._first_call = ""
        self._content_chars = 0
        self._text_begins = 0
        self._cited: list[msgspec.Raw] = []
        self._uncounted = False
        self._annotator: Annotator | None = None
        self._tools = 0
        self._arguments = b""
        self._custom: list[str] | None = None
        self._stop = Stop()
        self._usage = Usage()
        self._suffix = b'},"logprobs":null,"finish_reason":null}]' + self._end()
        self._tool_prefix = b""
        self._tool_suffix = (b"}" if rendering.form.legacy_call else b"}}]") + self._suffix
        self._begin(Message())

    def encode(self, events: Sequence[Event]) -> bytes:
        """See `proxy.dialects.common.StreamEncoder.encode`."""
        out: list[bytes] = []
        for event in events:
            if type(event) is ContentBlockDelta:
                delta = event.delta
                if type(delta) is TextDelta and self._open is TextBlock:
                    if delta.text:
                        out.append(self._text_prefix + _encode(delta.text) + self._suffix)
                else:
                    out.append(self._delta(delta))
            else:
                out.append(self._step(event))
        return b"".join(out)

    def _step(self, event: Event) -> bytes:
        match event:
            case MessageStart(message=message):
                self._begin(message)
                return self._chunk(b'"role":"assistant","content":"","refusal":null')
            case ContentBlockDelta(delta=delta):
                return self._delta(delta)
            case ContentBlockStart(index=index, content_block=block):
                return self._block_start(index, block)
            case ContentBlockStop():
                return self._block_stop()
            case MessageDelta(delta=stop, usage=usage):
                self._stop = stop
                self._usage = self._usage.merge(usage)
                return b""
            case MessageStop():
                return self._finish()
            case Ping() | ErrorEvent():
                return b""
            case _:
                assert_never(event)

    def _begin(self, message: Message) -> None:
        rendering = self._rendering
        self._usage = message.usage
        self._prefix = (
            b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,%b"choices":['
            % (
                _encode(completion_id(message.id or rendering.request_id)),
                rendering.created_s,
                _encode(rendering.model or message.model),
                (
                    b'"conversation_id":%b,' % _encode(rendering.conversation)
                    if rendering.conversation
                    else b""
                )
                + (b'"session_id":%b,' % _encode(rendering.session) if rendering.session else b""),
            )
        )
        self._text_prefix = self._prefix + b'{"index":0,"delta":{"content":'

    def _end(self) -> bytes:
        return b',"usage":null}\n\n' if self._rendering.include_usage else b"}\n\n"

    def _chunk(self, delta: bytes) -> bytes:
        return b'%b{"index":0,"delta":{%b%b' % (self._prefix, delta, self._suffix)

    def _content(self, text: str) -> bytes:
        return self._text_prefix + _encode(text) + self._suffix

    def _delta(self, delta: Delta) -> bytes:
        match delta:
            case InputJsonDelta(partial_json=text):
                if not text or self._open is not ToolUseBlock:
                    return b""
                self._arguments = b""
                if self._custom is not None:
                    self._custom.append(text)
                    return b""
                return self._tool_prefix + _encode(text) + self._tool_suffix
            case ThinkingDelta(thinking=text):
                if self._open is not ThinkingBlock:
                    return b""
                self._thoughts.think(text)
                return self._thinking(text)
            case TextDelta(text=text):
                return self._counted(text) if text and self._open is _CitableText else b""
            case SignatureDelta(signature=signature):
                self._thoughts.sign(signature)
                return b""
            case CitationsDelta() | msgspec.Raw():
                if isinstance(delta, CitationsDelta) and self._open in _TEXTS:
                    self._cited.append(delta.citation)
                return b""
            case _:
                assert_never(delta)

    def _thinking(self, text: str) -> bytes:
        if not text:
            return b""
        out = b""
        if self._as_content:
            out = self._content(text if self._thinking_shown else THINK_OPEN + text)
            self._thinking_shown = True
        if self._as_reasoning:
            out += self._chunk(b'"reasoning_content":' + _encode(text))
        return out

    def _block_start(self, index: int, block: Block) -> bytes:
        self._open = type(block)
        match block:
            case TextBlock():
                return self._text_start(block)
            case ThinkingBlock(thinking=text):
                self._thoughts.begin(index, block)
                return self._thinking(text)
            case RedactedThinkingBlock():
                return self._details(self._thoughts.take(index, block))
            case ToolUseBlock():
                return self._tool_start(block)
            case _:
                return b""

    def _text_start(self, block: TextBlock) -> bytes:
        if block.citations is None:
            # most answers are all of this sort, so nothing is counted for them
            self._uncounted = True
            return self._content(block.text) if block.text else b""
        self._open = _CitableText
        self._text_begins, self._cited = self._content_chars, [*block.citations]
        return self._counted(block.text) if block.text else b""

    def _counted(self, text: str) -> bytes:
        self._content_chars += len(text)
        return self._content(text)

    def _tool_start(self, block: ToolUseBlock) -> bytes:
        form, index = self._rendering.form, self._tools
        if form.legacy_call and index:
            # there is no room for a second call in the style before tools
            self._open = None
            return b""
        self._tools += 1
        self._first_call = self._first_call or block.id
        # What to send at the block's end, should no delta bring anything.
        self._arguments = bytes(block.input)
        kind, text = (b"custom", b"input") if block.name in form.custom_tools else (b"function", b"arguments")
        self._custom = [] if kind == b"custom" else None
        if form.legacy_call:
            self._tool_prefix = self._prefix + b'{"index":0,"delta":{"function_call":{"arguments":'
            return self._chunk(b'"function_call":{"name":%b,"arguments":""}' % _encode(block.name))
        self._tool_prefix = b'%b{"index":0,"delta":{"tool_calls":[{"index":%d,"%b":{"%b":' % (
            self._prefix,
            index,
            kind,
            text,
        )
        return self._chunk(
            b'"tool_calls":[{"index":%d,"id":%b,"type":"%b","%b":{"name":%b,"%b":""}}]'
            % (index, _encode(block.id), kind, kind, _encode(block.name), text)
        )

    def _block_stop(self) -> bytes:
        kind, self._open = self._open, None
        if kind is ToolUseBlock:
            return self._tool_stop()
        if self._cited:
            self._cite()
        return self._thought_stop() if kind is ThinkingBlock else b""

    def _cite(self) -> None:
        """What the text that has just ended cites, if all texts so far were counted, so that its place is known."""
        self._annotator = self._annotator or Annotator()
        if self._uncounted:
            self._annotator.lost = True
        else:
            self._annotator.cite(self._cited, self._text_begins, self._content_chars)
        self._cited = []

    def _tool_stop(self) -> bytes:
        """What no delta has brought; a custom tool's text comes whole, because it has to be taken out of its JSON."""
        text = self._arguments.decode("utf-8", "replace")
        if self._custom is not None:
            text = custom_input("".join(self._custom) or text)
        return self._tool_prefix + _encode(text) + self._tool_suffix if text else b""

    def _thought_stop(self) -> bytes:
        details = self._details(self._thoughts.end())
        if not self._thinking_shown:
            return details
        self._thinking_shown = False
        self._content_chars += len(THINK_OPEN) + self._thoughts.chars + len(THINK_CLOSE)
        return self._content(THINK_CLOSE) + details

    def _details(self, thought: Thought | None) -> bytes:
        """A whole block in one piece: clients join the pieces of a list in ways of their own."""
        if thought is None or not (self._as_content or self._as_reasoning):
            return b""
        return self._chunk(b'"reasoning_details":' + _encode(details_of((thought,))))

    def _finish(self) -> bytes:
        before = b""
        if self._stop.stop_reason != REFUSAL:
            self._keep()
            before = self._annotations()
        else:
            before = self._chunk(b'"refusal":' + _encode(refusal_text(self._stop.stop_details)))
        finish = b'%b{"index":0,"delta":{},"logprobs":null,"finish_reason":%b}]%b' % (
            self._prefix,
            _encode(finish_reason(self._stop.stop_reason, legacy=self._rendering.form.legacy_call)),
            self._end(),
        )
        usage = b""
        if self._rendering.include_usage:
            usage = b'%b],"usage":%b}\n\n' % (self._prefix, _encode(completion_usage(self._usage)))
        return before + finish + usage + _DONE

    def _annotations(self) -> bytes:
        """All of them in one chunk: clients join the pieces of a list in ways of their own."""
        cited = self._annotator
        if cited is None:
            return b""
        if cited.lost:
            self._rendering.tell(UNTOLD)
        return self._chunk(b'"annotations":' + _encode(cited.found)) if cited.found else b""

    def _keep(self) -> None:
        keep, thoughts = self._rendering.keep, self._thoughts.thoughts
        if keep is not None and thoughts and self._first_call:
            keep(self._first_call, thoughts)
