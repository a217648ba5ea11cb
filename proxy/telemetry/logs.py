"""Log lines: text for people, JSON for machines, one line an event, on standard error.

Both structlog's loggers and the standard library's end in the same sink, which redacts and never raises:
a full disk behind standard error must not stop an answer. The line each request gets is the one on the path of every
answer: the request goes to the sink as it ended, and its line is made, rendered and redacted together with those of
its twentieth of a second.
"""

import asyncio
import datetime
import logging
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import BinaryIO

import msgspec
import structlog
from structlog.typing import EventDict, WrappedLogger

from proxy.clock import Clock, SystemClock
from proxy.telemetry.redaction import REDACTOR
from proxy.telemetry.repeats import Repeats
from proxy.telemetry.requests import HasLine, RequestLine

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}
_FLUSH_AFTER_S = 0.05
_DELETE = 0x7F
_IN_HEAD = frozenset(("time", "level", "room", "event"))
_encoder = msgspec.json.Encoder(enc_hook=lambda value: type(value).__name__)


class _Sink:
    """Where structlog's rendered lines go: warnings and worse at once, the rest together, 20 times a second."""

    def __init__(self, stream: BinaryIO, style: str) -> None:
        self._stream = stream
        self._as_json = style == "json"
        self._stamp = _Stamp()
        self._pending: list[HasLine] = []
        self._flushing: asyncio.AbstractEventLoop | None = None

    def msg(self, line: bytes) -> None:
        """Write one rendered line now."""
        self._write(line)
        self._flush()

    def info(self, line: bytes) -> None:
        """Write one rendered line soon; now where no loop runs."""
        self._write(line)
        self._flush_soon()

    debug = info
    warning = error = critical = exception = msg

    def request(self, ended: HasLine) -> None:
        """Render and write the line of a request soon; now where no loop runs."""
        self._pending.append(ended)
        if self._flushing is None or not self._flushing.is_running():
            self._flush_soon()

    def _flush_soon(self) -> None:
        if self._flushing is not None and self._flushing.is_running():
            return
        try:
            loop = self._flushing = asyncio.get_running_loop()
        except RuntimeError:
            self._flush()
            return
        loop.call_later(_FLUSH_AFTER_S, self._flush)

    def _write(self, line: bytes) -> None:
        self._render_pending()
        with suppress(OSError, ValueError):
            self._stream.write(REDACTOR.clean(line) + b"\n")

    def _render_pending(self) -> None:
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        with suppress(OSError, ValueError):
            self._stream.write(REDACTOR.clean(self._rendered([self._line(each) for each in pending])))

    def _line(self, ended: HasLine) -> RequestLine:
        line = ended.line()
        line.time = self._stamp.text(ended.ended_unix_ms)
        return line

    def _rendered(self, lines: list[RequestLine]) -> bytes:
        if self._as_json:
            with suppress(UnicodeEncodeError):
                return _visible(_encoder.encode_lines(lines))
        render = _json_of if self._as_json else _text_of
        return b"".join(render(line.told()) + b"\n" for line in lines)

    def _flush(self) -> None:
        self._flushing = None
        self._render_pending()
        with suppress(OSError, ValueError):
            self._stream.flush()


class _StandardLibraryHandler(logging.Handler):
    """Hands records of the standard library's loggers to structlog, by class of error alone."""

    def emit(self, record: logging.LogRecord) -> None:
        """One record; its traceback is reduced to the class of the exception."""
        error = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = str(record.msg)
        extra = {"error": error} if error else {}
        structlog.get_logger(room=record.name).log(record.levelno, message, **extra)


def configure_logging(
    level: str, style: str, stream: BinaryIO | None = None, clock: Clock | None = None
) -> Callable[[HasLine], None]:
    """Set level (a word such as ``info``) and style (``text`` or ``json``) for the whole process.

    Returns what takes the line of each request, once it is answered.
    """
    number = _LEVELS[level.lower()]
    sink, stamp = _Sink(stream or sys.stderr.buffer, style), _Stamp()
    rendered = _json_of if style == "json" else _text_of
    repeats = Repeats(
        clock or SystemClock(), lambda level, event: sink.msg(rendered(stamp(None, level, event)))
    )
    structlog.configure(
        processors=[repeats, stamp, lambda _, __, event: rendered(event)],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: sink,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_StandardLibraryHandler()], level=max(number, logging.INFO), force=True)
    logging.captureWarnings(capture=True)
    # what anybody can provoke with a malformed line is no error of ours, and one line each would fill a disk
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    return sink.request if number <= logging.INFO else no_request_line


def no_request_line(ended: HasLine) -> None:
    """Keep nothing of a request: for levels above ``info``."""


class _Stamp:
    """Puts time and level in front. Lines come many a second, so the text of the second is kept."""

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def __call__(self, _: WrappedLogger, method: str, event: EventDict) -> EventDict:
        return {"time": self.text(time.time_ns() // 1_000_000), "level": method, **event}

    def text(self, unix_ms: int) -> str:
        """A time, in UTC to the millisecond."""
        second, milliseconds = divmod(unix_ms, 1000)
        if second != self._second:
            self._second = second
            self._text = f"{datetime.datetime.fromtimestamp(second, datetime.UTC):%Y-%m-%dT%H:%M:%S}"
        return f"{self._text}.{milliseconds:03d}Z"


def _json_of(event: Mapping[str, object]) -> bytes:
    try:
        return _visible(_encoder.encode(event))
    except UnicodeEncodeError:
        # Header values that are no UTF-8 reach us with lone surrogates, which JSON cannot hold.
        return _visible(
            _encoder.encode(
                {name: str(value).encode(errors="replace").decode() for name, value in event.items()}
            )
        )


def _visible(data: bytes) -> bytes:
    """JSON whose strings hold nothing that some reader takes for the end of a line, or a terminal for a command."""
    if data.isascii() and _DELETE not in data:
        return data
    return "".join(
        char if char.isprintable() or char == "\n" else _escaped(char) for char in data.decode()
    ).encode()


def _escaped(char: str) -> str:
    units = char.encode("utf-16-be").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


def _text_of(event: Mapping[str, object]) -> bytes:
    head = f"{event['time']} {event['level']:<8}{event.get('room', '')}: {event.get('event', '')}"
    tail = "".join(
        f" {name}={_shown(value)}"
        for name, value in event.items()
        if value is not None and name not in _IN_HEAD
    )
    return _one_line(head + tail).encode(errors="replace")


def _shown(value: object) -> str:
    text = str(value)
    if " " not in text and '"' not in text:
        return text
    # a quote inside would end the value, and what follows it would read like fields of ours
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _one_line(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
