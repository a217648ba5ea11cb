"""Lines are one line each, redacted, and writing them never fails."""

import io
import logging
import warnings
from collections.abc import Callable, Iterator

import msgspec
import pytest
import structlog

from proxy.log import get_logger
from proxy.secrets import Secret
from proxy.telemetry.logs import configure_logging
from proxy.telemetry.redaction import Redactor
from proxy.telemetry.requests import RequestLine
from tests.support.ended import EndedLine


class _Broken(io.BytesIO):
    """A stream on a full disk."""

    def write(self, _: object) -> int:
        """Fail."""
        raise OSError(28, "No space left on device")


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The configuration of logging is the process's: put it back, and redact with a redactor of our own."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    redactor = Redactor()
    redactor.learn([Secret("canary-secret")])
    monkeypatch.setattr("proxy.telemetry.logs.REDACTOR", redactor)
    yield
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def _lines(style: str, write: Callable[[], None], level: str = "info") -> list[str]:
    stream = io.BytesIO()
    configure_logging(level, style, stream)
    write()
    return stream.getvalue().decode().splitlines()


def _decoded(line: str) -> dict[str, object]:
    return msgspec.json.decode(line, type=dict[str, object])


def test_a_text_line_begins_with_time_level_and_room() -> None:
    """Protects people's eyes and their scripts: the order of a line is always the same."""
    (line,) = _lines(
        "text", lambda: get_logger("kitchen").warning("burns", pot=2, lid=None, note="two words")
    )
    time, rest = line.split(" ", 1)
    assert time.endswith("Z")
    assert len(time) == len("2026-11-20T12:00:00.000Z")
    assert rest == 'warning kitchen: burns pot=2 note="two words"'


def test_a_json_line_holds_the_same_fields_with_their_types() -> None:
    """Protects machines that read the log."""
    (line,) = _lines("json", lambda: get_logger("kitchen").warning("burns", pot=2, lid=None, list=["a"]))
    found = _decoded(line)
    assert found.pop("time")
    assert found == {
        "level": "warning",
        "room": "kitchen",
        "event": "burns",
        "pot": 2,
        "lid": None,
        "list": ["a"],
    }


@pytest.mark.parametrize("style", ["text", "json"])
@pytest.mark.parametrize(
    "value",
    [
        "a\nb",
        "a\r\nb",
        "a\u2028b",
        "a\u0085b",
        "\x1b[2Jclear",
        "a\0b",
        "\ud800",
        "\u202egnp",
        "\x9b2J",
        "\x7f",
    ],
)
def test_a_value_never_makes_a_second_line_or_moves_the_cursor(style: str, value: str) -> None:
    """Protects the log from lines a client made up, and terminals from a client's escape sequences."""
    stream = io.BytesIO()
    configure_logging("info", style, stream)
    get_logger("x").info("event", value=value)
    written = stream.getvalue()
    assert written.endswith(b"\n")
    assert written.count(b"\n") == 1
    assert written[:-1].decode().isprintable()


def test_a_quote_does_not_end_a_value() -> None:
    """Protects fields of ours from those a client writes into the text of its own."""
    (line,) = _lines("text", lambda: get_logger("x").info("asked", model='m" outcome="success\\'))
    assert line.endswith(r' model="m\" outcome=\"success\\"')


def test_an_escaped_value_is_the_same_to_who_reads_json() -> None:
    """Protects names in all scripts, and characters beyond the first 65,536."""
    value = "\u00e4\u4e2d\U0001f600\u2028\x85\U000e0001"
    (line,) = _lines("json", lambda: get_logger("x").info("event", value=value))
    assert _decoded(line)["value"] == value
    assert "\u00e4\u4e2d\U0001f600" in line


@pytest.mark.parametrize("style", ["text", "json"])
def test_a_secret_is_masked_in_event_and_fields(style: str) -> None:
    """Protects every secret that got into a line by mistake."""
    (line,) = _lines(style, lambda: get_logger("x").info("got canary-secret", value="canary-secret"))
    assert "canary" not in line
    assert line.count("[redacted]") == 2


@pytest.mark.parametrize("style", ["text", "json"])
def test_a_secret_as_a_value_shows_its_mask(style: str) -> None:
    """Protects a secret object handed to the log as it is."""
    (line,) = _lines(style, lambda: get_logger("x").info("event", value=Secret("another-canary")))
    assert "canary" not in line


@pytest.mark.parametrize(
    ("level", "seen"),
    [
        ("debug", ["d", "i", "w", "e"]),
        ("info", ["i", "w", "e"]),
        ("WARNING", ["w", "e"]),
        ("error", ["e"]),
        ("critical", []),
    ],
)
def test_lines_below_the_level_are_not_written(level: str, seen: list[str]) -> None:
    """Protects the operator's choice of how much to read."""

    def write() -> None:
        log = get_logger("x")
        log.debug("d")
        log.info("i")
        log.warning("w")
        log.error("e")

    assert [_decoded(line)["event"] for line in _lines("json", write, level)] == seen


def test_an_error_of_a_library_is_told_by_its_class_alone() -> None:
    """Protects against the texts of other people's exceptions, which hold headers and bodies."""

    def write() -> None:
        logging.getLogger("aiohttp.client").error("it failed", exc_info=ValueError("sensitive header"))

    (line,) = _lines("text", write)
    assert line.endswith("aiohttp.client: it failed error=ValueError")
    assert "sensitive" not in line


def test_a_library_that_misuses_its_logger_does_not_stop_us() -> None:
    """Protects an answer from a wrong format string somewhere else."""
    assert len(_lines("text", lambda: logging.getLogger("x").error("%d items", "no number"))) == 1


@pytest.mark.parametrize(("level", "seen"), [("debug", 0), ("info", 0)])
def test_debug_lines_of_libraries_are_never_written(level: str, seen: int) -> None:
    """Protects bodies and keys that libraries write at that level."""
    assert len(_lines("text", lambda: logging.getLogger("asyncio").debug("selector"), level)) == seen


def test_warnings_go_to_the_log() -> None:
    """Protects a clean standard error for machines that read it."""

    def write() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("old", DeprecationWarning, stacklevel=1)

    (line,) = _lines("text", write)
    assert "DeprecationWarning" in line


def test_a_full_disk_behind_the_log_stops_nothing() -> None:
    """Protects answers from the state of standard error."""
    configure_logging("info", "text", _Broken())
    get_logger("x").info("event")


def test_a_closed_stream_behind_the_log_stops_nothing() -> None:
    """Protects the last lines of a program whose terminal is gone."""
    stream = io.BytesIO()
    configure_logging("info", "json", stream)
    stream.close()
    get_logger("x").info("event")


def test_a_value_that_has_no_json_shows_its_class() -> None:
    """Protects the log from what a value would tell about itself."""
    (line,) = _lines("json", lambda: get_logger("x").info("event", value=object()))
    assert _decoded(line)["value"] == "object"


def _request_line(**changes: object) -> EndedLine:
    line = RequestLine(
        time="",
        level="info",
        room="requests",
        event="request",
        id="req_1",
        client="env-1",
        path="/v1/messages",
        status=200,
        took_ms=1.5,
    )
    for name, value in changes.items():
        setattr(line, name, value)
    return EndedLine(line)


def test_a_requests_line_holds_what_is_known_and_nothing_else() -> None:
    """Protects machines that count by these lines: absent is absent, and no zero stands for unknown."""
    stream = io.BytesIO()
    record = configure_logging("info", "json", stream)
    record(_request_line(stream=False, output_tokens=0, failed=["api-1:server"]))
    found = _decoded(stream.getvalue().decode())
    assert found == {
        "time": "2026-11-18T11:06:40.000Z",
        "level": "info",
        "room": "requests",
        "event": "request",
        "id": "req_1",
        "client": "env-1",
        "path": "/v1/messages",
        "status": 200,
        "stream": False,
        "took_ms": 1.5,
        "output_tokens": 0,
        "failed": ["api-1:server"],
    }


def test_a_requests_line_as_text_has_the_same_head_as_every_other() -> None:
    """Protects people's eyes."""
    stream = io.BytesIO()
    configure_logging("info", "text", stream)(_request_line(credential="api-1", attempts=2))
    head, _, rest = stream.getvalue().decode().partition(" ")
    assert head.endswith("Z")
    assert rest == (
        "info    requests: request id=req_1 client=env-1 path=/v1/messages status=200"
        " credential=api-1 attempts=2 took_ms=1.5\n"
    )


@pytest.mark.parametrize("style", ["text", "json"])
async def test_lines_keep_their_order_whoever_writes_them(style: str) -> None:
    """Protects the story a log tells: a request's line waits, and still comes before what happened after it."""
    stream = io.BytesIO()
    record = configure_logging("info", style, stream)
    record(_request_line(path="/first"))
    get_logger("x").info("second")
    record(_request_line(path="/third"))
    record(_request_line(path="/fourth"))
    get_logger("x").warning("fifth")
    places = [
        stream.getvalue().index(word) for word in (b"/first", b"second", b"/third", b"/fourth", b"fifth")
    ]
    assert places == sorted(places)
    assert stream.getvalue().count(b"\n") == 5


@pytest.mark.parametrize("style", ["text", "json"])
def test_a_requests_line_is_redacted_and_stays_one_line(style: str) -> None:
    """Protects secrets that a client put into its path or its model's name, and the lines of the others."""
    stream = io.BytesIO()
    configure_logging("info", style, stream)(_request_line(path="/canary-secret\n", model="\ud800"))
    written = stream.getvalue()
    assert b"canary" not in written
    assert b"[redacted]" in written
    assert written.count(b"\n") == 1


def test_requests_are_not_told_above_their_level() -> None:
    """Protects the operator's choice of how much to read."""
    stream = io.BytesIO()
    configure_logging("warning", "json", stream)(_request_line())
    assert not stream.getvalue()


def test_a_full_disk_stops_no_request() -> None:
    """Protects answers from the state of standard error."""
    configure_logging("info", "json", _Broken())(_request_line())
