"""A warning that comes many times a second is written once, and then counted."""

import asyncio
import io
import logging
from collections.abc import Callable, Iterator

import msgspec
import pytest
import structlog

from proxy.log import get_logger
from proxy.telemetry.logs import configure_logging
from proxy.telemetry.repeats import EVERY_S, KEPT_MAX, LOOK_EVERY_S
from tests.support.clock import FakeClock


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """The configuration of logging is the process's: put it back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    yield
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


class _Log:
    """A log in memory, and its time."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self._stream = io.BytesIO()
        configure_logging("info", "json", self._stream, self.clock)

    def lines(self) -> list[dict[str, object]]:
        """Everything written, but for the time."""
        found = [
            msgspec.json.decode(line, type=dict[str, object]) for line in self._stream.getvalue().splitlines()
        ]
        for line in found:
            assert line.pop("time")
        return found


def test_the_same_warning_is_written_once_and_then_counted() -> None:
    """Protects a disk, and whoever reads, from a store that fails a thousand times a second."""
    log, room = _Log(), get_logger("usage")
    for number in range(413):
        room.error("usage not saved", problem="full", request_id=f"req_{number}")
    first = {"level": "error", "room": "usage", "event": "usage not saved", "problem": "full"}
    assert log.lines() == [{**first, "request_id": "req_0"}]
    log.clock.advance(EVERY_S["error"])
    room.warning("something else")
    told = {**first, "request_id": "req_412", "repeated": 412}
    assert log.lines()[1:] == [told, {"level": "warning", "room": "usage", "event": "something else"}]


@pytest.mark.parametrize(("level", "every_s"), [("error", 60), ("warning", 5)])
def test_what_goes_on_is_told_again_and_again(level: str, every_s: float) -> None:
    """Protects an operator from trouble that seems over, the log from it, and a line that comes seldom from waiting."""
    log, room = _Log(), get_logger("usage")
    for count in (3, 2, 1):
        for _ in range(count):
            getattr(room, level)("usage not saved")
        log.clock.advance(every_s)
    getattr(room, level)("usage not saved")
    assert [line.get("repeated") for line in log.lines()] == [None, 2, 2, 1]
    for _ in range(2):
        log.clock.advance(every_s)
        room.error("something else")
    getattr(room, level)("usage not saved")
    told = [line.get("repeated") for line in log.lines() if line["event"] == "usage not saved"]
    assert told == [None, 2, 2, 1, 1, None]


@pytest.mark.parametrize("change", [{"credential": "b"}, {"problem": "other"}, {"attempts": 2}], ids=str)
def test_a_line_with_another_field_is_another_line(change: dict[str, object]) -> None:
    """Protects what the second of two credentials had to say in the same second."""
    log, room = _Log(), get_logger("x")
    fields: dict[str, object] = {"credential": "a", "problem": "one", "attempts": 1}
    room.warning("trouble", **fields)
    room.warning("trouble", **{**fields, **change})
    room.error("trouble", **fields)
    get_logger("y").warning("trouble", **fields)
    assert len(log.lines()) == 4


def test_what_is_no_warning_is_always_written() -> None:
    """Protects lines that are counted by those who read them."""
    log, room = _Log(), get_logger("x")
    for _ in range(3):
        room.info("draining")
    assert len(log.lines()) == 3


def test_memory_is_bounded_and_what_finds_no_room_is_written() -> None:
    """Protects the server from lines that all differ, and those lines from being lost."""
    log, room = _Log(), get_logger("x")
    for number in range(KEPT_MAX):
        room.warning("filling", number=number)
    for _ in range(2):
        room.warning("no room")
        room.warning("filling", number=0)
        room.warning("very long", text="x" * 5000)
    events = [line["event"] for line in log.lines()[KEPT_MAX:]]
    assert events == ["no room", "very long"] * 2


@pytest.mark.parametrize(
    "value", ["\ud800", object(), {1, 2}, {(1, 2): 3}], ids=["surrogate", "object", "set", "key"]
)
def test_a_value_of_any_sort_stops_no_line(value: object) -> None:
    """Protects the one rule of the log: writing never fails."""
    log = _Log()
    get_logger("x").warning("event", value=value)
    assert len(log.lines()) == 1


async def test_a_count_is_told_though_no_other_line_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the end of a flood: the loop tells what was counted, and looks again only while there is something."""
    log, room = _Log(), get_logger("x")
    waiting: list[tuple[float, Callable[[], None]]] = []
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(type(loop), "call_later", lambda _, delay, work: waiting.append((delay, work)))
    for _ in range(3):
        room.warning("trouble")
    ((delay, look),) = waiting
    assert delay == LOOK_EVERY_S
    log.clock.advance(EVERY_S["warning"])
    look()
    assert [line.get("repeated") for line in log.lines()] == [None, 2]
    assert len(waiting) == 1
