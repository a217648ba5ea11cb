"""Output items while their deltas come in: each knows the events that begin, fill and end it.

Source: "Streaming events" of the Responses API in OpenAI's reference. What its clients rely on: an item is added
before its parts, a part before its deltas, and what is done says again all that was added bit by bit.
"""

from typing import Final, Protocol

import msgspec

from proxy.dialects.openai_chat.response import custom_input
from proxy.dialects.openai_responses.frames import Frames
from proxy.dialects.openai_responses.output import (
    CustomCallItem,
    FunctionCallItem,
    MessageItem,
    OutputItem,
    OutputRefusal,
    OutputText,
    ReasoningItem,
    Status,
    SummaryText,
    UrlCitation,
    without_seal,
)
from proxy.dialects.openai_responses.sealing import Seal
from proxy.dialects.openai_responses.tools import CalledTool
from proxy.model.content import (
    GATEWAY_SIGNATURE_PREFIX,
    RedactedThinkingBlock,
    ThinkingBlock,
    ToolUseBlock,
)

_encode: Final = msgspec.json.Encoder().encode
_ADDED: Final = b"response.output_item.added"
_DONE: Final = b"response.output_item.done"
_PART_ADDED: Final = b"response.content_part.added"
_PART_DONE: Final = b"response.content_part.done"


class OpenItem(Protocol):
    """An item that is being made."""

    def close(self, status: Status) -> OutputItem:
        """Tell its end. Returns it as it is then."""
        ...


class _Citation(msgspec.Struct):
    type: str = ""
    url: str | None = None
    title: str | None = None


class OpenText:
    """A message of one text."""

    __slots__ = ("_citations", "_frames", "_id", "_index", "_place", "_prefix", "_texts")

    def __init__(self, frames: Frames, item_id: str, index: int) -> None:
        self._frames = frames
        self._id = item_id
        self._index = index
        self._place = _place(item_id, index) + b',"content_index":0'
        self._prefix = self._place + b',"logprobs":[],"delta":'
        self._texts: list[str] = []
        self._citations: list[_Citation] = []
        frames.item(_ADDED, index, MessageItem(id=item_id, status="in_progress", content=[]))
        frames.event(_PART_ADDED, self._place + b',"part":' + _encode(OutputText("")))

    def add(self, text: str) -> None:
        """More of it."""
        self._texts.append(text)
        self._frames.event(b"response.output_text.delta", self._prefix + _encode(text))

    def cite(self, citation: msgspec.Raw) -> None:
        """A source of it; only those on the web have a form here."""
        try:
            found = msgspec.json.decode(citation, type=_Citation)
        except (ValueError, RecursionError):
            return
        if found.type == "web_search_result_location" and found.url:
            self._citations.append(found)

    def close(self, status: Status) -> MessageItem:
        """See `OpenItem.close`."""
        text = "".join(self._texts)
        cited = [UrlCitation(0, len(text), one.url or "", one.title or "") for one in self._citations]
        for number, citation in enumerate(cited):
            annotation = b',"annotation_index":%d,"annotation":%b' % (number, _encode(citation))
            self._frames.event(b"response.output_text.annotation.added", self._place + annotation)
        said = OutputText(text, cited)
        whole = self._place + b',"logprobs":[],"text":' + _encode(text)
        self._frames.event(b"response.output_text.done", whole)
        self._frames.event(_PART_DONE, self._place + b',"part":' + _encode(said))
        item = MessageItem(id=self._id, status=status, content=[said])
        self._frames.item(_DONE, self._index, item)
        return item


class OpenReasoning:
    """A block of thinking; of what is not shown only its seal is told.

    Attributes:
        place: of the block among those of the answer.
    """

    __slots__ = (
        "_data",
        "_frames",
        "_id",
        "_index",
        "_prefix",
        "_seal",
        "_shown",
        "_shows_seals",
        "_shows_text",
        "_signature",
        "_texts",
        "place",
    )

    def __init__(
        self,
        frames: Frames,
        item_id: str,
        index: int,
        block: ThinkingBlock | RedactedThinkingBlock,
        place: int,
        seal: Seal,
        *,
        shows_text: bool,
        shows_seals: bool,
    ) -> None:
        self.place = place
        self._frames = frames
        self._id = item_id
        self._index = index
        self._prefix = _place(item_id, index) + b',"summary_index":0'
        self._data = block.data if isinstance(block, RedactedThinkingBlock) else None
        self._seal = seal
        self._shows_text = shows_text
        self._shows_seals = shows_seals
        self._shown = False
        self._texts: list[str] = []
        self._signature = ""
        frames.item(_ADDED, index, ReasoningItem(id=item_id, summary=[], status="in_progress"))
        if isinstance(block, ThinkingBlock):
            self.think(block.thinking)
            self.sign(block.signature)

    def think(self, text: str) -> None:
        """More of it."""
        if not text:
            return
        self._texts.append(text)
        if not self._shows_text:
            return
        if not self._shown:
            self._shown = True
            part = self._prefix + b',"part":' + _encode(SummaryText(""))
            self._frames.event(b"response.reasoning_summary_part.added", part)
        delta = self._prefix + b',"delta":' + _encode(text)
        self._frames.event(b"response.reasoning_summary_text.delta", delta)

    def sign(self, signature: str) -> None:
        """More of its signature."""
        self._signature += signature

    @property
    def proven(self) -> ThinkingBlock | RedactedThinkingBlock | None:
        """The block, if its provider would know it again."""
        if self._data is not None:
            return RedactedThinkingBlock(self._data)
        if not self._signature or self._signature.startswith(GATEWAY_SIGNATURE_PREFIX):
            return None
        return ThinkingBlock("".join(self._texts), self._signature)

    def close(self, status: Status) -> ReasoningItem:
        """See `OpenItem.close`."""
        summary = [SummaryText("".join(self._texts))] if self._shown else []
        for part in summary:
            whole = self._prefix + b',"text":' + _encode(part.text)
            self._frames.event(b"response.reasoning_summary_text.done", whole)
            done = self._prefix + b',"part":' + _encode(part)
            self._frames.event(b"response.reasoning_summary_part.done", done)
        proven = self.proven
        sealed = msgspec.UNSET if proven is None else self._seal.close(proven)
        item = ReasoningItem(id=self._id, summary=summary, encrypted_content=sealed, status=status)
        self._frames.item(_DONE, self._index, item if self._shows_seals else without_seal(item))
        return item


class OpenCall:
    """A call of a function."""

    __slots__ = ("_arguments", "_call", "_frames", "_index", "_place", "_whole")

    def __init__(
        self, frames: Frames, item_id: str, index: int, block: ToolUseBlock, tool: CalledTool
    ) -> None:
        self._frames = frames
        self._index = index
        self._place = _place(item_id, index)
        self._whole = bytes(block.input).decode("utf-8", "replace")
        self._arguments: list[str] = []
        self._call = FunctionCallItem(
            id=item_id,
            call_id=block.id,
            name=tool.name,
            namespace=tool.namespace or msgspec.UNSET,
            arguments="",
            status="in_progress",
        )
        frames.item(_ADDED, index, self._call)

    def add(self, arguments: str) -> None:
        """More of its arguments."""
        if arguments:
            self._arguments.append(arguments)
            delta = self._place + b',"delta":' + _encode(arguments)
            self._frames.event(b"response.function_call_arguments.delta", delta)

    def close(self, status: Status) -> FunctionCallItem:
        """See `OpenItem.close`."""
        if not self._arguments and status == "completed":
            self.add(self._whole)
        arguments = "".join(self._arguments)
        done = self._place + b',"name":%b,"arguments":%b' % (_encode(self._call.name), _encode(arguments))
        self._frames.event(b"response.function_call_arguments.done", done)
        item = msgspec.structs.replace(self._call, arguments=arguments, status=status)
        self._frames.item(_DONE, self._index, item)
        return item


class OpenCustomCall:
    """A call of a tool that takes text: its JSON is read when it is whole."""

    __slots__ = ("_call", "_frames", "_index", "_json", "_place", "_whole")

    def __init__(
        self, frames: Frames, item_id: str, index: int, block: ToolUseBlock, tool: CalledTool
    ) -> None:
        self._frames = frames
        self._index = index
        self._place = _place(item_id, index)
        self._whole = bytes(block.input).decode("utf-8", "replace")
        self._json: list[str] = []
        self._call = CustomCallItem(
            id=item_id,
            call_id=block.id,
            name=tool.name,
            namespace=tool.namespace or msgspec.UNSET,
            input="",
            status="in_progress",
        )
        frames.item(_ADDED, index, self._call)

    def add(self, arguments: str) -> None:
        """More of its JSON."""
        self._json.append(arguments)

    def close(self, status: Status) -> CustomCallItem:
        """See `OpenItem.close`."""
        text = _unwrapped("".join(self._json) or self._whole)
        if text:
            delta = self._place + b',"delta":' + _encode(text)
            self._frames.event(b"response.custom_tool_call_input.delta", delta)
        self._frames.event(
            b"response.custom_tool_call_input.done", self._place + b',"input":' + _encode(text)
        )
        item = msgspec.structs.replace(self._call, input=text, status=status)
        self._frames.item(_DONE, self._index, item)
        return item


def _unwrapped(arguments: str) -> str:
    """The text a model gave as a JSON object; what is no such object, as it stands."""
    return "" if arguments == "{}" else custom_input(arguments)


def tell_refusal(frames: Frames, item_id: str, index: int, text: str) -> MessageItem:
    """A message that refuses, from its begin to its end."""
    place = _place(item_id, index) + b',"content_index":0'
    refusal = _encode(OutputRefusal(text))
    frames.item(_ADDED, index, MessageItem(id=item_id, status="in_progress", content=[]))
    frames.event(_PART_ADDED, place + b',"part":' + _encode(OutputRefusal("")))
    frames.event(b"response.refusal.delta", place + b',"delta":' + _encode(text))
    frames.event(b"response.refusal.done", place + b',"refusal":' + _encode(text))
    frames.event(_PART_DONE, place + b',"part":' + refusal)
    item = MessageItem(id=item_id, status="completed", content=[OutputRefusal(text)])
    frames.item(_DONE, index, item)
    return item


def _place(item_id: str, index: int) -> bytes:
    return b'"item_id":%b,"output_index":%d' % (_encode(item_id), index)
