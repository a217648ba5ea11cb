"""Requests that have ended, for the tests of what counts them."""

import msgspec

from proxy.telemetry.requests import RequestLine
from proxy.telemetry.traces import AttemptTrace, RequestTrace

ENDED_UNIX_MS = 1_795_000_000_000


def ended(
    *outcomes: str, at_unix_ms: int = ENDED_UNIX_MS, asked: str = "sonnet", **line: object
) -> RequestTrace:
    """A request whose attempts at ``api-1``, ``api-2`` and so on ended so; `line` are fields of its line."""
    plain = RequestLine(
        time="",
        level="info",
        room="requests",
        event="request",
        id="req_1",
        client="env-1",
        path="/v1/messages",
        status=200,
        model="claude-sonnet-5-5",
        stream=True,
        took_ms=3000.0,
        first_ms=1000.0,
    )
    attempts = tuple(
        AttemptTrace(f"api-{number}", outcome, 200, 1.0, 2.0) for number, outcome in enumerate(outcomes, 1)
    )
    return RequestTrace(msgspec.structs.replace(plain, **line), at_unix_ms, asked, attempts)
