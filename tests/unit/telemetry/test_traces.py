"""The last requests are remembered, the oldest makes room, and each is found by what operators know of it."""

import msgspec
import pytest

from proxy.telemetry.requests import RequestLine
from proxy.telemetry.traces import KEPT, AttemptTrace, RequestTrace, Traces
from tests.support.ended import EndedTrace


def _trace(number: int = 1, status: int = 200, *asked: str, **line: object) -> EndedTrace:
    """A request that asked these credentials in turn."""
    found = RequestLine(
        time="",
        level="info",
        room="requests",
        event="request",
        id=f"req_{number}",
        client="env-1",
        path="/v1/messages",
        status=status,
        took_ms=20.0,
    )
    attempts = tuple(AttemptTrace(name, "success", 200, 1.0, 2.0) for name in asked)
    line_told = msgspec.structs.replace(found, **line)
    return EndedTrace(RequestTrace(line_told, 1_795_000_000_000, "sonnet", attempts))


def _ids(traces: Traces, credential: str | None = None, statuses: range | None = None) -> list[str]:
    return [view.id for view in traces.newest(credential=credential, statuses=statuses)]


def test_the_newest_comes_first_and_the_oldest_makes_room() -> None:
    """Protects the memory of a server that runs for months."""
    traces = Traces()
    for number in range(KEPT + 5):
        traces.keep(_trace(number))
    assert len(traces) == KEPT
    assert _ids(traces) == [f"req_{number}" for number in range(KEPT + 4, 4, -1)]
    assert traces.find("req_4") is None
    assert traces.find("req_5") is not None


@pytest.mark.parametrize(
    ("credential", "statuses", "expected"),
    [
        (None, None, ["req_4", "req_3", "req_2", "req_1"]),
        ("api-1", None, ["req_3", "req_1"]),
        ("api-2", None, ["req_3", "req_2"]),
        ("api-9", None, []),
        (None, range(200, 201), ["req_3", "req_1"]),
        (None, range(500, 600), ["req_2"]),
        ("api-2", range(500, 600), ["req_2"]),
        ("api-1", range(400, 500), []),
    ],
)
def test_requests_are_found_by_credential_and_status(
    credential: str | None, statuses: range | None, expected: list[str]
) -> None:
    """Protects the search: a credential is found also where another one answered in the end."""
    traces = Traces()
    traces.keep(_trace(1, 200, "api-1"))
    traces.keep(_trace(2, 503, "api-2"))
    traces.keep(_trace(3, 200, "api-1", "api-2"))
    traces.keep(_trace(4, 400))
    assert _ids(traces, credential, statuses) == expected


@pytest.mark.parametrize(
    ("line", "answered_by"),
    [
        ({"credential": "api-2", "first_ms": 7.0}, "api-2"),
        ({"credential": "api-2"}, None),
        ({}, None),
    ],
)
def test_who_answered_is_told_only_where_somebody_did(
    line: dict[str, object], answered_by: str | None
) -> None:
    """Protects operators from taking the one that was asked last for the one that answered."""
    traces = Traces()
    traces.keep(_trace(1, 200, "api-1", "api-2", **line))
    found = traces.find("req_1")
    assert found is not None
    assert found.answered_by == answered_by


def test_all_that_is_known_is_shown() -> None:
    """Protects the names operators' scripts read."""
    traces = Traces()
    traces.keep(
        _trace(
            1,
            200,
            "api-1",
            model="claude-sonnet-5-5",
            stream=True,
            credential="api-1",
            first_ms=7.0,
            input_tokens=3,
            output_tokens=9,
            stop_reason="end_turn",
            dropped=["seed"],
        )
    )
    assert msgspec.json.decode(msgspec.json.encode(traces.find("req_1"))) == {
        "id": "req_1",
        "ended_unix_ms": 1_795_000_000_000,
        "client": "env-1",
        "path": "/v1/messages",
        "model_asked": "sonnet",
        "model_sent": "claude-sonnet-5-5",
        "stream": True,
        "status": 200,
        "answered_by": "api-1",
        "attempts": [
            {"credential": "api-1", "outcome": "success", "status": 200, "start_ms": 1.0, "took_ms": 2.0}
        ],
        "first_event_ms": 7.0,
        "total_ms": 20.0,
        "input_tokens": 3,
        "output_tokens": 9,
        "stop_reason": "end_turn",
        "dropped": ["seed"],
    }


def test_who_watches_is_told_every_request_once_and_in_order() -> None:
    """Protects counters from missing a request or counting it twice, also those that have lost their place since."""
    traces, told = Traces(kept=2), list[str]()
    traces.subscribe(lambda ended: told.extend(trace.line.id for trace in ended))
    for number in range(5):
        traces.keep(_trace(number))
    assert not told
    traces.settle()
    traces.settle()
    traces.keep(_trace(5))
    assert _ids(traces) == ["req_5", "req_4"]
    assert traces.find("req_5") is not None
    assert told == [f"req_{number}" for number in range(6)]
