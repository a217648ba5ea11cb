"""A run: one question on which the program calls the API again and again, as it uses tools on its way.

The client gets one answer for all of them: what the model says, without the calls of tools it has nothing to do with.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Final

import msgspec

from proxy.dialects.claude_options import OutputFormat
from proxy.dialects.common import Observed, StreamError
from proxy.upstreams.base import UpstreamRefused
from proxy.upstreams.claude_code.turn import Edits, Ended, Turn
from proxy.upstreams.reply import HttpReply

CALLS_MAX: Final = 100
"""Most requests upstream in one run."""

_FOLLOWED: Final = frozenset({"max_tokens", "refusal", "model_context_window_exceeded"})
"""After an answer that ends so the program asks again by itself, which nobody has asked it to."""

_GOES_ON: Final = "tool_use"
_STOPPED: Final = "pause_turn"
_SHOWN: Final = frozenset({"assistant", "user", "result"})
_SHOWN_OF_START: Final = frozenset(
    {"type", "subtype", "session_id", "uuid", "tools", "mcp_servers", "model", "permissionMode"}
)
_encoder = msgspec.json.Encoder()

_Event = dict[str, object]


class RunTurn(Turn):
    """The turn of a run. The events of its answers are told as those of one."""

    def __init__(self, edits: Edits, output_format: OutputFormat = "text", *, acts: bool = True) -> None:
        """`acts` says whether there may be more than one request upstream."""
        super().__init__(edits, wired=False)
        self._format = output_format
        self._most = CALLS_MAX if acts else 1
        self._calls = 0
        self._seen: Observed | None = None
        self._answer = _Joined()
        self._lines = 0

    @property
    def acted(self) -> bool:
        """See `Turn.acted`."""
        return self._calls > 1

    def begin(self) -> bool:
        """See `Turn.begin`; further ones may pass while the model uses tools."""
        over = self._seen is not None and self._seen.stop_reason in _FOLLOWED
        if self._aborted or over or self._calls >= self._most:
            return False
        self._calls += 1
        return True

    def answer(self, reply: HttpReply, observed: Observed) -> None:
        """See `Turn.answer`. What is observed of one answer is not told as the whole one's."""
        super().answer(reply, observed)
        self.observed, self._seen = None, observed

    def refuse(self, refused: UpstreamRefused) -> None:
        """See `Turn.refuse`. A refusal after the first answer is an error in the middle of this one."""
        if not self._answer.begun:
            super().refuse(refused)
            return
        error = refused.error
        told = StreamError(error.type or "api_error", error.message, error.code)
        self.observed = Observed(started=True, error=told)
        super().end(Ended(failed=True))

    async def tell(self, event: _Event) -> None:
        """See `Turn.tell`."""
        for each in self._answer.told(event, spoken=self._format == "text"):
            await super().tell(each)

    def saw(self, message: Mapping[str, object]) -> None:
        """See `Turn.saw`."""
        match self._format:
            case "json" if message.get("type") == "result":
                self._line(message)
            case "stream-json" if message.get("type") in _SHOWN and not message.get("parent_tool_use_id"):
                self._line(message)
            case "stream-json" if message.get("subtype") == "init":
                self._line({name: value for name, value in message.items() if name in _SHOWN_OF_START})
            case _:
                pass

    def end(self, ended: Ended) -> None:
        """See `Turn.end`. A run that was stopped while it used tools has an end all the same."""
        if self.ended is None and not self.broken:
            if self._seen is not None and self._seen.error is not None:
                self.observed = self._seen
            elif not ended.failed:
                self._add(self._answer.ending(spoken=self._format == "text"))
        super().end(ended)

    def _line(self, message: Mapping[str, object]) -> None:
        text = _encoder.encode(message).decode()
        self._add(self._answer.line(f"\n{text}" if self._lines else text))
        self._lines += 1


class _Joined:
    """Several answers on their way to becoming one.

    Attributes:
        begun: whether the first has begun.
    """

    def __init__(self) -> None:
        self.begun = False
        self._waiting: list[str] = []
        self._places: dict[object, int] = {}
        self._next = 0
        self._spoke = False
        self._speaks = False
        self._line_open = False
        self._usage: dict[str, int] = {}
        self._now: dict[str, int] = {}
        self._stop: _Event | None = None
        self._ended = False

    def told(self, event: _Event, *, spoken: bool) -> list[_Event]:
        """What an event of one answer is in the whole one; `spoken` says whether its words are told."""
        match event.get("type"):
            case "message_start":
                return self._begin(event)
            case "content_block_start" if spoken:
                return self._block(event)
            case "content_block_delta" | "content_block_stop" if spoken:
                place = self._places.get(event.get("index"))
                return [] if place is None else [{**event, "index": place}]
            case "message_delta":
                self._stop = event
                self._count(event.get("usage"))
                return []
            case "message_stop":
                self._settle()
                return self.ending(spoken=spoken) if spoken and self._reason != _GOES_ON else []
            case "ping":
                return [event]
            case _:
                return []

    def line(self, text: str) -> list[_Event]:
        """A line of text that stands in place of the words."""
        if not self.begun:
            self._waiting.append(text)
            return []
        found: list[_Event] = []
        if not self._line_open:
            self._line_open = True
            found.append(_start(0))
        return [*found, _delta(0, text)]

    def ending(self, *, spoken: bool) -> list[_Event]:
        """The end of the whole answer, once; nothing where none has begun."""
        if self._ended or not self.begun or self._stop is None:
            return []
        self._ended = True
        found: list[_Event] = []
        if not spoken and self._line_open:
            found.append({"type": "content_block_stop", "index": 0})
        stop = deepcopy(self._stop)
        if self._reason == _GOES_ON:
            stop["delta"] = {"stop_reason": _STOPPED, "stop_sequence": None}
        given = stop.get("usage")
        stop["usage"] = {**(given if isinstance(given, dict) else {}), **self._usage}
        return [*found, stop, {"type": "message_stop"}]

    @property
    def _reason(self) -> object:
        delta = self._stop.get("delta") if self._stop is not None else None
        return delta.get("stop_reason") if isinstance(delta, dict) else None

    def _begin(self, event: _Event) -> list[_Event]:
        self._places, self._spoke, self._now = {}, self._spoke or self._speaks, {}
        message = event.get("message")
        self._count(message.get("usage") if isinstance(message, dict) else None)
        if self.begun:
            return []
        self.begun = True
        waiting, self._waiting = self._waiting, []
        return [event, *(each for text in waiting for each in self.line(text))]

    def _block(self, event: _Event) -> list[_Event]:
        block = event.get("content_block")
        kind = block.get("type") if isinstance(block, dict) else None
        if kind == "tool_use":
            return []
        place = self._places[event.get("index")] = self._next
        self._next += 1
        found: list[_Event] = [{**event, "index": place}]
        if kind == "text":
            if self._spoke:
                # words of two answers would run into each other
                found.append(_delta(place, "\n\n"))
                self._spoke = False
            self._speaks = True
        return found

    def _count(self, usage: object) -> None:
        """Note what one answer used so far; a later number stands in place of an earlier one."""
        if isinstance(usage, dict):
            for name, number in usage.items():
                if isinstance(number, int) and not isinstance(number, bool) and number:
                    self._now[name] = number

    def _settle(self) -> None:
        for name, number in self._now.items():
            self._usage[name] = self._usage.get(name, 0) + number
        self._now = {}


def _start(place: int) -> _Event:
    return {"type": "content_block_start", "index": place, "content_block": {"type": "text", "text": ""}}


def _delta(place: int, text: str) -> _Event:
    return {"type": "content_block_delta", "index": place, "delta": {"type": "text_delta", "text": text}}
