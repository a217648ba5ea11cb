"""Every way an upstream can fail before the first byte of its answer, and what a client then sees.

Sources of the expected values: the errors pages of Anthropic's and OpenAI's API documentation for types and statuses;
what a failure means for the credential and for further attempts is this project's own promise.
"""

from dataclasses import dataclass, field
from typing import Final

from proxy.simulator import Step
from tests.support.house import Spoken


@dataclass(frozen=True, slots=True)
class Told:
    """How a client is told: status, ``error.type`` and, for OpenAI's clients, ``error.code``."""

    status: int
    type: str
    code: str | None = None


Envelopes = dict[Spoken, Told]


def _envelopes(messages: tuple[int, str], chat: tuple[int, str, str | None]) -> Envelopes:
    return {Spoken.MESSAGES: Told(*messages), Spoken.CHAT: Told(*chat)}


_UNAVAILABLE: Final = "service_unavailable_error"
BROKEN: Final = _envelopes((502, "api_error"), (502, "server_error", "upstream_error"))
TIMED_OUT: Final = _envelopes((504, "timeout_error"), (504, "server_error", "timeout"))
DOWN: Final = _envelopes((503, "api_error"), (503, _UNAVAILABLE, "upstream_error"))
OVERLOADED: Final = _envelopes((529, "overloaded_error"), (503, _UNAVAILABLE, "server_is_overloaded"))
RESTING: Final = _envelopes((503, "overloaded_error"), (503, _UNAVAILABLE, "server_is_overloaded"))
UNUSABLE: Final = _envelopes((503, "api_error"), (503, _UNAVAILABLE, "no_usable_credential"))
CHALLENGED: Final = _envelopes((503, "api_error"), (503, _UNAVAILABLE, None))
LIMITED: Final = _envelopes((429, "rate_limit_error"), (429, "rate_limit_error", "rate_limit_exceeded"))
DENIED: Final = _envelopes((403, "permission_error"), (403, "permission_error", "model_not_allowed"))
NO_MODEL: Final = _envelopes((404, "not_found_error"), (404, "invalid_request_error", "model_not_found"))
INVALID: Final = _envelopes((400, "invalid_request_error"), (400, "invalid_request_error", None))
UNPROCESSABLE: Final = _envelopes((422, "invalid_request_error"), (422, "invalid_request_error", None))
TOO_LARGE: Final = _envelopes((413, "request_too_large"), (413, "invalid_request_error", "request_too_large"))
BOTH_FORMS: Final = (False, True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One failure, met by every credential a request may use; three are offered.

    Attributes:
        step: what the upstream does.
        told: what the client gets.
        calls: upstream calls made for one request.
        state: of each credential that was asked, afterwards.
        retry_after: the greatest and the least value of the header, None where it has to be missing.
        should_retry: ``x-should-retry``.
        message: what the client's error has to say, where the upstream's words are passed on.
        forms: streamed or not, or both.
        own_way_out: whether the credentials have an address of their own, because all of one suffer together.
        unreachable: whether the credentials' address refuses connections; `step` is not used.
    """

    step: Step
    told: Envelopes
    calls: int
    state: str = "ready"
    retry_after: tuple[int, int] | None = None
    should_retry: str | None = None
    message: str = ""
    forms: tuple[bool, ...] = field(default=BOTH_FORMS)
    own_way_out: bool = False
    unreachable: bool = False


def _status(status: int, message: str = "", *, code: str | None = None, **headers: str) -> Step:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Step("status", status=status, message=message, error_code=code, headers=named)


_PAGE: Final = "<html><title>Just a moment...</title></html>"


def _page(status: int) -> Step:
    return Step("status", status=status, body=_PAGE)


def _event(kind: str) -> Step:
    return Step("error_event_first", type=kind)


def _request(step: Step, told: Envelopes = INVALID, message: str = "") -> Fault:
    return Fault(step=step, told=told, calls=1, message=message)


def _billing(step: Step) -> Fault:
    return Fault(step=step, told=UNUSABLE, calls=3, state="cooling(billing)", should_retry="false")


def _broken(step: Step, told: Envelopes = BROKEN, *, calls: int = 2) -> Fault:
    return Fault(step=step, told=told, calls=calls, should_retry="false")


def _limited(step: Step, longest_s: int, should_retry: str | None = None) -> Fault:
    return Fault(
        step=step,
        told=LIMITED,
        calls=3,
        state="cooling(rate_limit)",
        retry_after=(longest_s, max(1, longest_s - 30)),
        should_retry=should_retry,
    )


def _overloaded(step: Step) -> Fault:
    return Fault(step=step, told=OVERLOADED, calls=2, retry_after=(5, 5))


def _challenge(step: Step) -> Fault:
    return Fault(
        step=step,
        told=CHALLENGED,
        calls=1,
        state="cooling(blocked)",
        retry_after=(60, 60),
        own_way_out=True,
    )


FAULTS: Final = {
    "400": _request(_status(400, "max_tokens: must be smaller"), message="max_tokens: must be smaller"),
    "400 that quotes a client": _request(
        _status(400, "messages.0: 'Your credit balance is too low'"), message="messages.0: 'Your credit"
    ),
    "413": _request(_status(413), TOO_LARGE, "Request exceeds the maximum size"),
    "413 page": _request(_page(413), TOO_LARGE),
    "422": _request(_status(422, "tools: odd"), UNPROCESSABLE, "tools: odd"),
    "401": Fault(
        step=_status(401),
        told=RESTING,
        calls=3,
        state="cooling(auth)",
        retry_after=(60, 30),
        should_retry="false",
    ),
    "400 organization disabled": Fault(
        step=_status(400, "This organization has been disabled."),
        told=UNUSABLE,
        calls=3,
        state="disabled(auth)",
        should_retry="false",
    ),
    "402": _billing(_status(402)),
    "400 credit balance": _billing(_status(400, "Your credit balance is too low to access the API.")),
    "400 usage limits": _billing(
        _status(400, "You have reached your specified API usage limits. You will regain access later.")
    ),
    "429 spend limit": _billing(_status(429, code="enforced_spend_limit_reached")),
    "403": Fault(step=_status(403), told=DENIED, calls=3, state="cooling(permission)"),
    "404 model": Fault(
        step=_status(404, "model: claude-sonnet-5-5"), told=NO_MODEL, calls=2, state="cooling(permission)"
    ),
    "404 anything else": _broken(_status(404), calls=1),
    "418": _broken(_status(418), calls=1),
    "429 for 5 minutes": _limited(_status(429, retry_after="300"), 300, "false"),
    "429 for 40 seconds": _limited(_status(429, retry_after="40"), 40),
    "429 in ms": _limited(_status(429, retry_after_ms="40000", retry_after="1"), 40),
    "429 without a time": _limited(_status(429), 5),
    "408": _broken(_status(408), TIMED_OUT),
    "500": _broken(_status(500)),
    "500 page": _broken(_page(500)),
    "500 empty": _broken(Step("status", status=500, body="")),
    "500 that asks for no retry": _broken(_status(500, x_should_retry="false"), calls=1),
    "502": _broken(_status(502)),
    "503": _broken(_status(503), DOWN),
    "503 with a time": Fault(
        step=_status(503, retry_after="1"), told=DOWN, calls=2, retry_after=(1, 1), should_retry="false"
    ),
    "504": _broken(_status(504), TIMED_OUT),
    "520": _broken(_status(520)),
    "524": _broken(_status(524), TIMED_OUT),
    "529": _overloaded(_status(529)),
    "403 page": _challenge(_page(403)),
    "429 page": _challenge(_page(429)),
    "503 page": _challenge(_page(503)),
    "403 challenge": _challenge(_status(403, cf_mitigated="challenge")),
    "307 redirect": _broken(Step("redirect", location="/canary"), calls=1),
    "302 redirect": _broken(Step("redirect", status=302, location="/canary"), calls=1),
    "connection refused": Fault(step=Step(), told=BROKEN, calls=2, should_retry="false", unreachable=True),
    "reset before headers": _broken(Step("reset_before_headers")),
    "close before headers": _broken(Step("close_before_headers")),
    "reset before the first event": _broken(Step("reset_before_event")),
    "close before the first event": _broken(Step("close_before_event")),
    "empty": _broken(Step("empty_stream")),
    "garbage": _broken(Step("garbage")),
    "bad chunk size": _broken(
        Step("garbage", body="HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n")
    ),
    "page instead of an answer": _broken(
        Step("raw", headers={"content-type": "text/html"}, body=_PAGE), calls=2
    ),
    "204": _broken(Step("raw", status=204, headers={"content-type": "text/event-stream"})),
    "compressed": _broken(
        Step("raw", headers={"content-type": "text/event-stream", "content-encoding": "gzip"}, body="{}")
    ),
    "pings alone": Fault(
        step=Step(
            "raw",
            headers={"content-type": "text/event-stream"},
            body=': hello\n\nevent: ping\ndata: {"type": "ping"}\n\n',
        ),
        told=BROKEN,
        calls=2,
        should_retry="false",
    ),
    "first event broken": Fault(
        step=Step("raw", headers={"content-type": "text/event-stream"}, body="data: {broken\n\n"),
        told=BROKEN,
        calls=2,
        should_retry="false",
    ),
    "wrong content type": Fault(
        step=Step("wrong_content_type"), told=BROKEN, calls=2, should_retry="false", forms=(True,)
    ),
    "first event overloaded": _overloaded(_event("overloaded_error")),
    "first event an error": _broken(_event("api_error")),
    "first event a time-out": _broken(_event("timeout_error"), TIMED_OUT),
    "first event a limit": _limited(_event("rate_limit_error"), 5),
    "first event a refused request": _request(_event("invalid_request_error")),
}
"""Each failure by name."""
