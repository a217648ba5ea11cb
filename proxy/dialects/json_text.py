"""JSON an answer was asked for in words: without the code fence that models like to put around it.

Text that does not begin with a fence passes as it is. A stream holds back no more than the first bytes that may be a
fence, and the last that may close it.
"""

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from proxy.model.content import Block, TextBlock
from proxy.model.events import (
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    Event,
    TextDelta,
)
from proxy.model.message import Message

JSON_WISH: Final = (
    "Respond with one JSON object and nothing else: no text before or after it, and no code fence around it."
)
"""The system sentence that asks for JSON where nothing compels it."""

_HELD_MAX_CHARS: Final = 16
_FENCE: Final = "```"
_OPENING: Final = re.compile(r"\s*```[a-zA-Z0-9]*[ \t]*\r?\n")
# what may still become an opening fence
_BEGUN: Final = re.compile(r"\s*(?:`{0,2}|```[a-zA-Z0-9]*[ \t]*\r?)")


def unfenced(text: str) -> str:
    """The text inside a code fence around all of it; any other text as it is."""
    opening = _OPENING.match(text)
    return _without_closing(text[opening.end() :]) if opening is not None else text


def _without_closing(text: str) -> str:
    ended = text.rstrip()
    return ended[: -len(_FENCE)].rstrip() if ended.endswith(_FENCE) else text


def _tail(text: str) -> int:
    """Where the end of a text begins that may become a closing fence."""
    ended = text.rstrip()
    ticks = len(ended) - len(ended.rstrip("`"))
    return len(ended[: len(ended) - min(ticks, len(_FENCE))].rstrip())


def is_json_object(text: str) -> bool:
    """Whether the text is one JSON object, in a fence or not."""
    try:
        msgspec.json.decode(unfenced(text), type=dict[str, msgspec.Raw])
    except (ValueError, RecursionError):
        return False
    return True


def unfenced_message(message: Message) -> Message:
    """The answer with each of its texts out of its fence."""
    return msgspec.structs.replace(message, content=[_unfenced_block(block) for block in message.content])


def _unfenced_block(block: Block) -> Block:
    if not isinstance(block, TextBlock):
        return block
    text = unfenced(block.text)
    return block if text == block.text else msgspec.structs.replace(block, text=text)


class FenceCutter:
    """Takes the fence off the texts of one streamed answer, event by event."""

    __slots__ = ("_fenced", "_held", "_open", "_undecided")

    def __init__(self) -> None:
        self._open = False
        self._undecided = False
        self._fenced = False
        self._held = ""

    def cut(self, events: Iterable[Event]) -> list[Event]:
        """The events to be shown instead of these."""
        shown: list[Event] = []
        for event in events:
            match event:
                case ContentBlockStart(content_block=TextBlock()):
                    self._open, self._undecided, self._fenced, self._held = True, True, False, ""
                    shown.append(event)
                case ContentBlockDelta(index=index, delta=TextDelta(text=text)) if self._open:
                    if passed := self._feed(text):
                        shown.append(ContentBlockDelta(index, TextDelta(passed)))
                case ContentBlockStop(index=index) if self._open:
                    if rest := self._rest():
                        shown.append(ContentBlockDelta(index, TextDelta(rest)))
                    self._open = False
                    shown.append(event)
                case _:
                    shown.append(event)
        return shown

    def _feed(self, text: str) -> str:
        if not self._undecided and not self._fenced:
            return text
        text = self._held + text
        self._held = ""
        if self._undecided:
            opening = _OPENING.match(text)
            if opening is not None and opening.end() <= _HELD_MAX_CHARS:
                self._undecided, self._fenced, text = False, True, text[opening.end() :]
            elif len(text) < _HELD_MAX_CHARS and _BEGUN.fullmatch(text):
                self._held = text
                return ""
            else:
                self._undecided = False
                return text
        tail = _tail(text)
        self._held = text[tail:]
        return text[:tail]

    def _rest(self) -> str:
        held, self._held = self._held, ""
        return _without_closing(held) if self._fenced else held
