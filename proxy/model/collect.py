"""The fold of a stream's events to the whole answer, for callers that did not ask for a stream."""

from typing import assert_never

import msgspec

from proxy.model.content import (
    EMPTY_OBJECT,
    Block,
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
)
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
    TextDelta,
    ThinkingDelta,
)
from proxy.model.grammar import GrammarError, State, StreamGrammar
from proxy.model.message import Message

RAW_ARGUMENTS = "_raw_arguments"
"""The key under which tool arguments are kept that are not the JSON text of an object."""

CUT_SHORT = frozenset(("max_tokens", "model_context_window_exceeded"))
"""Stop reasons after which the last block may be incomplete."""

_fields_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Collector:
    """Folds the events of one stream into what the API would have answered without streaming.

    A tool call cut off by a token limit is left out, because its input is no JSON; other input that is no
    JSON object is kept as text under ``_raw_arguments``. Deltas this program does not know are left out.
    """

    def __init__(self) -> None:
        self._grammar = StreamGrammar()
        self._message: Message | None = None
        self._open: _OpenBlock | None = None
        self._blocks: list[_OpenBlock] = []

    def add(self, event: Event) -> None:
        """Take the next event. Raises GrammarError for one that may not come here."""
        self._grammar.accept(event)
        match event:
            case ContentBlockDelta(delta=delta):
                if self._open is not None:
                    self._open.add(delta)
            case ContentBlockStart(content_block=block):
                self._open = _OpenBlock(block)
                self._blocks.append(self._open)
            case MessageStart(message=message):
                self._message = message
            case MessageDelta():
                self._end(event)
            case ContentBlockStop() | MessageStop() | Ping() | ErrorEvent():
                pass
            case _:
                assert_never(event)

    def _end(self, event: MessageDelta) -> None:
        if self._message is None:
            return
        self._message = msgspec.structs.replace(
            self._message,
            stop_reason=event.delta.stop_reason,
            stop_sequence=event.delta.stop_sequence,
            stop_details=event.delta.stop_details,
            usage=self._message.usage.merge(event.usage),
        )

    def message(self) -> Message:
        """The whole answer. Raises GrammarError while ``message_stop`` has not come."""
        if self._message is None or self._grammar.state is not State.COMPLETE:
            raise GrammarError(f"the stream is not complete but {self._grammar.state}")
        cut = self._message.stop_reason in CUT_SHORT
        blocks = [block.whole(may_be_cut=cut) for block in self._blocks]
        return msgspec.structs.replace(
            self._message, content=[block for block in blocks if block is not None]
        )


class _OpenBlock:
    """A block while its deltas come in."""

    __slots__ = ("_block", "_citations", "_input", "_signature", "_text")

    def __init__(self, block: Block) -> None:
        self._block = block
        self._text: list[str] = []
        self._input: list[str] = []
        self._signature: list[str] = []
        self._citations: list[msgspec.Raw] = []

    def add(self, delta: Delta) -> None:
        match delta:
            case TextDelta(text=text) | ThinkingDelta(thinking=text):
                self._text.append(text)
            case InputJsonDelta(partial_json=text):
                self._input.append(text)
            case SignatureDelta(signature=text):
                self._signature.append(text)
            case CitationsDelta(citation=citation):
                self._citations.append(citation)
            case msgspec.Raw():
                pass
            case _:
                assert_never(delta)

    def whole(self, *, may_be_cut: bool) -> Block | None:
        block = self._block
        match block:
            case TextBlock():
                citations = [*(block.citations or ()), *self._citations] or block.citations
                text = block.text + "".join(self._text)
                return msgspec.structs.replace(block, text=text, citations=citations)
            case ThinkingBlock():
                return ThinkingBlock(
                    thinking=block.thinking + "".join(self._text),
                    signature=block.signature + "".join(self._signature),
                )
            case ToolUseBlock():
                return self._tool_use(block, may_be_cut=may_be_cut)
            case msgspec.Raw():
                return self._raw(block)
            case _:
                return block

    def _tool_use(self, block: ToolUseBlock, *, may_be_cut: bool) -> ToolUseBlock | None:
        text = "".join(self._input)
        if not text.strip():
            return block
        tool_input = json_object(text)
        if tool_input is None and may_be_cut:
            return None
        return msgspec.structs.replace(block, input=tool_input or raw_arguments(text))

    def _raw(self, block: msgspec.Raw) -> msgspec.Raw:
        """A server tool's call streams its input as the client's own tools do."""
        tool_input = json_object("".join(self._input))
        if tool_input is None:
            return block
        return msgspec.Raw(msgspec.json.encode(_fields_decoder.decode(block) | {"input": tool_input}))


def json_object(text: str) -> msgspec.Raw | None:
    """`text` itself, if it is one JSON object; else None."""
    try:
        msgspec.json.decode(text, type=dict[str, object])
    except (ValueError, RecursionError):
        return None
    return msgspec.Raw(text.encode())


def raw_arguments(text: str) -> msgspec.Raw:
    """A tool's input for arguments that are no JSON object: empty, or the text under one key."""
    if not text.strip():
        return EMPTY_OBJECT
    return msgspec.Raw(msgspec.json.encode({RAW_ARGUMENTS: text}))
