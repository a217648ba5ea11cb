"""A request that has ended is told in the log, in the traces and in the books from the same raw facts."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.common import Dropped
from proxy.dispatch.trace import SUCCESS, FailedAttempt, Trace
from proxy.model.message import Usage
from proxy.server.ended import NAME_MAX, Ended
from proxy.telemetry.traces import AttemptTrace
from proxy.telemetry.usage import Charge

_USED = Usage(input_tokens=5, output_tokens=7)
_ANSWERED = Trace(
    credential="api-2",
    model="claude-sonnet-5-5",
    attempts=2,
    failed=[FailedAttempt("api-1", "rate", 429, 1000.1, 20.0)],
    began_s=1000.2,
    outcome=SUCCESS,
    dropped=(Dropped("seed", "not known"),),
    first_event_s=1000.25,
    usage=_USED,
    stop_reason="end_turn",
)


def _ended(trace: Trace, **changes: object) -> Ended:
    plain = Ended(
        id="req_1",
        client="anna",
        path="/v1/messages",
        status=200,
        asked="sonnet",
        model="claude-sonnet-5-5",
        stream=False,
        free=False,
        began_s=1000.0,
        ended_s=1000.3,
        ended_unix_ms=1_795_000_000_000,
        trace=trace,
    )
    return msgspec.structs.replace(plain, **changes)


def test_the_line_tells_who_answered_how_long_it_took_and_what_was_used() -> None:
    """Protects the fields machines count by."""
    assert _ended(_ANSWERED).line().told() == {
        "time": "",
        "level": "info",
        "room": "requests",
        "event": "request",
        "id": "req_1",
        "client": "anna",
        "path": "/v1/messages",
        "status": 200,
        "model": "claude-sonnet-5-5",
        "stream": False,
        "credential": "api-2",
        "attempts": 2,
        "took_ms": 300.0,
        "first_ms": 250.0,
        "input_tokens": 5,
        "output_tokens": 7,
        "stop_reason": "end_turn",
        "failed": ["api-1:rate"],
        "dropped": ["seed"],
    }


def test_of_a_request_that_could_not_be_read_nothing_is_told_but_its_end() -> None:
    """Protects operators from zeros and empty names in the place of what nobody knows."""
    unread = _ended(Trace(), status=400, asked="", model="", stream=None)
    assert set(unread.line().told()) == {
        "time",
        "level",
        "room",
        "event",
        "id",
        "client",
        "path",
        "status",
        "took_ms",
    }
    assert unread.traced().attempts == ()


def test_each_attempt_has_its_place_in_the_requests_time() -> None:
    """Protects the answer to where the time of a request went."""
    traced = _ended(_ANSWERED).traced()
    assert traced.attempts == (
        AttemptTrace("api-1", "rate", 429, 100.0, 20.0),
        AttemptTrace("api-2", SUCCESS, 200, 200.0, 100.0),
    )
    assert (traced.asked, traced.ended_unix_ms) == ("sonnet", 1_795_000_000_000)


def test_the_books_get_what_the_answer_used() -> None:
    """Protects the bill, and counting tokens from having one."""
    done = _ended(_ANSWERED).settlement()
    assert (done.client, done.answered) == ("anna", Charge("api-2", "claude-sonnet-5-5", _USED))
    free = _ended(_ANSWERED, free=True).settlement()
    assert free.answered == Charge("api-2", "claude-sonnet-5-5", None)


def test_long_names_and_long_lists_are_cut() -> None:
    """Protects the log from lines that are as long as a client likes."""
    dropped = tuple(Dropped(f"messages[{number}].name", "") for number in range(100))
    line = _ended(Trace(attempts=1, model="m" * 129, dropped=dropped)).line()
    assert line.model == "m" * NAME_MAX
    assert len(line.dropped) == 32


@pytest.mark.parametrize("stream", [False, True])
@given(st.floats(0, 100_000))
def test_times_are_told_to_a_tenth_of_a_millisecond(stream: bool, took_s: float) -> None:
    """Protects sums of times from the way they are rounded."""
    line = _ended(Trace(), stream=stream, began_s=0.0, ended_s=took_s).line()
    assert abs(line.took_ms - took_s * 1000) <= 0.0501
