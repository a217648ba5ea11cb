"""What goes wrong after the first byte."""

from dataclasses import dataclass
from typing import Final

from proxy.simulator.faults.told import (
    BROKEN,
    INVALID,
    LIMITED,
    OVERLOADED,
    TIMED_OUT,
    Envelopes,
    Spoken,
    Told,
)
from proxy.simulator.script import Insert, Step

_START: Final = 'event: message_start\ndata: {"type": "message_start", "message": {"usage": {}}}\n\n'
_DELTA: Final = "event: content_block_delta\ndata: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A failure of a stream after its first event.

    Attributes:
        step: what the upstream does.
        told: what the last frame says.
        state: of the credential, afterwards.
        strike: whether it is held against it, short of taking it out of use.
        hurry_s: how fast time is made to pass, seconds a turn; 0 where nothing has to be waited for.
        unseen_by: clients whose frames are passed on unread, so that they get the odd event and a proper end.
    """

    step: Step
    told: Envelopes
    state: str = "ready"
    strike: bool = True
    hurry_s: float = 0.0
    unseen_by: tuple[Spoken, ...] = ()


def _odd(text: str, *unseen_by: Spoken) -> Cut:
    return Cut(step=Step(insert=(Insert(3, text),)), told=BROKEN, unseen_by=unseen_by)


def _large(text: str) -> Cut:
    # in pieces, as what is larger than the pieces a connection is read in
    return Cut(step=Step("slice", sizes=(1024,), insert=(Insert(3, text),)), told=BROKEN)


def _error(kind: str, told: Envelopes, state: str = "ready", message: str = "") -> Cut:
    return Cut(
        step=Step("error_event_mid", type=kind, message=message),
        told=told,
        state=state,
        strike=kind == "api_error",
    )


CUTS: Final = {
    "the body ends without message_stop": Cut(step=Step("end_without_stop"), told=BROKEN),
    "the connection ends without message_stop": Cut(
        step=Step("end_without_stop", close_delimited=True), told=BROKEN
    ),
    "closed within an event": Cut(step=Step("cut_at_byte", at_byte=1000, how="close"), told=BROKEN),
    "less than the declared length": Cut(
        step=Step(
            "raw", headers={"content-type": "text/event-stream", "content-length": "9999"}, body=_START
        ),
        told=BROKEN,
    ),
    "60 seconds of silence": Cut(step=Step("stall_mid"), told=TIMED_OUT, hurry_s=20.0),
    "15 minutes of pings alone": Cut(
        step=Step("stall_mid", ping_every_s=10.0), told=TIMED_OUT, strike=False, hurry_s=30.0
    ),
    "a second start": _odd(_START),
    "an event that is no JSON": _odd(f"{_DELTA}{{broken\n\n", Spoken.MESSAGES),
    "an event of wrong types": _odd(
        f'{_DELTA}{{"type": "content_block_delta", "index": "first"}}\n\n', Spoken.MESSAGES
    ),
    "a gap between block indexes": _odd(
        f'{_DELTA}{{"type": "content_block_delta", "index": 7, "delta": {{"type": "text_delta", "text": "x"}}}}\n\n',
        Spoken.MESSAGES,
    ),
    "an end that is no JSON": _odd("event: message_delta\ndata: {broken\n\n"),
    "an event over the cap": _large(f"data: {'x' * 20_000}\n\n"),
    "a line without an end": _large(f"data: {'x' * 40_000}"),
    "an error event: overloaded_error": _error("overloaded_error", OVERLOADED),
    "an error event: rate_limit_error": _error("rate_limit_error", LIMITED, "cooling(rate_limit)"),
    "an error event: api_error": _error("api_error", BROKEN),
    "an error event: invalid_request_error": _error("invalid_request_error", INVALID),
    "an error event that quotes the key and its owner": _error(
        "overloaded_error", OVERLOADED, message="{key} of {org}"
    ),
}
"""Each failure after the first event by name; a reset has a test of its own."""


def in_the_last_frame(told: Told) -> Told:
    """The same when a stream with status 200 ends in it."""
    return Told(200, told.type, told.code)
