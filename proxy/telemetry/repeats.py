"""Lines that come again and again: the first is written at once, the others are counted and told in one.

Only warnings and worse, and only what is the same but for the request it belongs to. The lines of requests do not come
this way, and those of orders are kept in the store besides.
"""

import asyncio
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import msgspec
import structlog
from structlog.typing import EventDict, WrappedLogger

from proxy.clock import Clock

EVERY_S: Final[Mapping[str, float]] = MappingProxyType({"warning": 5.0, "error": 60.0, "critical": 60.0})
"""How long the same line is only counted: warnings tell of events, errors of trouble that goes on."""

LOOK_EVERY_S: Final = 5.0
KEPT_MAX: Final = 256
_REQUEST: Final = "request_id"
_KEY_BYTES_MAX: Final = 2048
_encoder = msgspec.msgpack.Encoder(enc_hook=lambda value: type(value).__name__)


class _Repeated:
    __slots__ = ("count", "event", "level", "since_s")

    def __init__(self, level: str, event: EventDict, since_s: float) -> None:
        self.level = level
        self.event = event
        self.since_s = since_s
        self.count = 0


class Repeats:
    """Remembers lines for as long as `EVERY_S` says, 256 at most; what finds no room is written as it comes.

    What was left out is told then by the last line of its sort, with the field ``repeated``: trouble that goes on is a
    line a minute (R16 of the reliability requirements). Where no loop runs, that waits for the next line, and what a
    process has counted when it ends is lost.
    """

    def __init__(self, clock: Clock, write: Callable[[str, EventDict], None]) -> None:
        """`write` takes a level and a line of that level which tells of repeated ones."""
        self._clock = clock
        self._write = write
        self._kept: dict[bytes, _Repeated] = {}
        self._waiting: asyncio.AbstractEventLoop | None = None

    def __call__(self, _: WrappedLogger, level: str, event: EventDict) -> EventDict:
        """As a processor of structlog. Raises `structlog.DropEvent` for a line that is only counted."""
        if level not in EVERY_S or (key := _key_of(level, event)) is None:
            return event
        self.tell()
        kept = self._kept.get(key)
        if kept is None:
            if len(self._kept) < KEPT_MAX:
                self._kept[key] = _Repeated(level, event, self._clock.monotonic_s())
            return event
        kept.count += 1
        kept.event = event
        self._tell_later()
        raise structlog.DropEvent

    def tell(self) -> None:
        """Write what has been counted for long enough; where nothing was, the next of its sort is a first one again."""
        now_s = self._clock.monotonic_s()
        for key, kept in tuple(self._kept.items()):
            if now_s - kept.since_s < EVERY_S[kept.level]:
                continue
            if not kept.count:
                del self._kept[key]
                continue
            self._write(kept.level, {**kept.event, "repeated": kept.count})
            kept.count, kept.since_s = 0, now_s

    def _tell_later(self) -> None:
        if self._waiting is not None and self._waiting.is_running():
            return
        try:
            loop = self._waiting = asyncio.get_running_loop()
        except RuntimeError:
            return
        loop.call_later(LOOK_EVERY_S, self._look)

    def _look(self) -> None:
        self._waiting = None
        self.tell()
        if any(kept.count for kept in self._kept.values()):
            self._tell_later()


def _key_of(level: str, event: EventDict) -> bytes | None:
    """What two lines have in common that are the same; None for one that cannot be remembered."""
    try:
        key = _encoder.encode([level, {name: value for name, value in event.items() if name != _REQUEST}])
    except (UnicodeEncodeError, TypeError):
        return None
    return key if len(key) <= _KEY_BYTES_MAX else None
