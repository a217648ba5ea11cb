"""The turns of a canonical request as chat messages.

Source: "Create chat completion" in OpenAI's API reference: every tool result is a message of its own, right after
the calls it answers, and holds text alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, assert_never

import msgspec

from proxy.dialects.common import Dropped
from proxy.model.content import (
    Base64Source,
    Block,
    DocumentBlock,
    FileSource,
    ImageBlock,
    RedactedThinkingBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    UrlSource,
)
from proxy.model.request import InputMessage

_NOTHING_SAID: Final = "(no content)"
_BETWEEN_TEXTS: Final = "\n\n"
_NO_FIELD: Final = "no such field"


@dataclass(slots=True)
class Losses:
    """What a request could not carry, in order."""

    found: list[Dropped] = field(default_factory=list)

    def add(self, path: str, reason: str) -> None:
        """Remember one."""
        self.found.append(Dropped(path, reason))


class _Text(msgspec.Struct):
    text: str
    type: str = "text"


class _Url(msgspec.Struct):
    url: str


class _Image(msgspec.Struct):
    image_url: _Url
    type: str = "image_url"


_Part = _Text | _Image


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part]


class _Function(msgspec.Struct):
    name: str
    arguments: str


class _Call(msgspec.Struct):
    id: str
    function: _Function
    type: str = "function"


class _Assistant(msgspec.Struct):
    content: str | None
    tool_calls: list[_Call] | msgspec.UnsetType = msgspec.UNSET
    role: str = "assistant"


class _Result(msgspec.Struct):
    tool_call_id: str
    content: str
    role: str = "tool"


def system_text(blocks: Sequence[TextBlock], losses: Losses) -> list[msgspec.Struct]:
    """The instructions as one message, if there are any: some models take no second one."""
    for place, block in enumerate(blocks):
        _marks(block, f"system[{place}]", losses)
    texts = [block.text for block in blocks if block.text]
    return [_Message("system", _BETWEEN_TEXTS.join(texts))] if texts else []


def chat_messages(turns: Sequence[InputMessage], losses: Losses) -> list[msgspec.Struct]:
    """The turns in their order; one that held nothing that can be carried still stands, but for the assistant's."""
    messages: list[msgspec.Struct] = []
    for place, turn in enumerate(turns):
        reader = _Turn(losses)
        for number, block in enumerate(turn.content):
            reader.read(block, f"messages[{place}].content[{number}]")
        messages += reader.messages(turn.role)
    return messages


class _Turn:
    """One turn while its blocks are read."""

    def __init__(self, losses: Losses) -> None:
        self._losses = losses
        self._parts: list[_Part] = []
        self._calls: list[_Call] = []
        self._results: list[_Result] = []

    def read(self, block: Block, at: str) -> None:
        """Take the next block."""
        match block:
            case TextBlock(text=text):
                _marks(block, at, self._losses)
                if text:
                    self._parts.append(_Text(text))
            case ImageBlock():
                self._image(block, at)
            case ToolUseBlock(id=call, name=name):
                _marks(block, at, self._losses)
                arguments = bytes(block.input).decode("utf-8", "replace")
                self._calls.append(_Call(call, _Function(name, arguments)))
            case ToolResultBlock():
                self._result(block, at)
            case DocumentBlock():
                self._losses.add(at, "documents have no place in a chat message")
            case ThinkingBlock() | RedactedThinkingBlock():
                self._losses.add(at, "thinking stays with the provider that signed it")
            case msgspec.Raw():
                self._losses.add(at, "a block that only Anthropic knows")
            case _:
                assert_never(block)

    def messages(self, role: str) -> list[msgspec.Struct]:
        """What was read, as messages: tool results first."""
        if role == "assistant":
            text = "".join([part.text for part in self._parts if isinstance(part, _Text)])
            if not text and not self._calls:
                return []
            return [_Assistant(text or None, self._calls or msgspec.UNSET)]
        found: list[msgspec.Struct] = [*self._results]
        if self._parts or not found:
            found.append(_Message(role, self._content()))
        return found

    def _content(self) -> str | list[_Part]:
        """Text as a string, which every model takes; parts only where there are images."""
        texts = [part.text for part in self._parts if isinstance(part, _Text)]
        if len(texts) < len(self._parts):
            return self._parts
        return _BETWEEN_TEXTS.join(texts) or _NOTHING_SAID

    def _image(self, block: ImageBlock, at: str) -> None:
        _marks(block, at, self._losses)
        match block.source:
            case Base64Source(media_type=media_type, data=data):
                self._parts.append(_Image(_Url(f"data:{media_type};base64,{data}")))
            case UrlSource(url=url):
                self._parts.append(_Image(_Url(url)))
            case FileSource():
                self._losses.add(at, "a file that lies at another provider")
            case _:
                assert_never(block.source)

    def _result(self, block: ToolResultBlock, at: str) -> None:
        """Text goes into the tool's message, images into the user's behind it."""
        _marks(block, at, self._losses)
        if block.is_error:
            self._losses.add(f"{at}.is_error", _NO_FIELD)
        texts: list[str] = []
        for number, part in enumerate(block.content):
            if isinstance(part, TextBlock):
                _marks(part, f"{at}.content[{number}]", self._losses)
                texts.append(part.text)
            else:
                self.read(part, f"{at}.content[{number}]")
        self._results.append(_Result(block.tool_use_id, _BETWEEN_TEXTS.join(texts)))


def _marks(block: TextBlock | ImageBlock | ToolUseBlock | ToolResultBlock, at: str, losses: Losses) -> None:
    if block.cache_control is not None:
        losses.add(f"{at}.cache_control", _NO_FIELD)
    if isinstance(block, TextBlock) and block.citations:
        losses.add(f"{at}.citations", _NO_FIELD)
