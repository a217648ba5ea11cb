"""What an upstream's failure means. One table, read from the top: the first rule that fits decides.

Nothing else in the program looks at an upstream's status, error type or message to decide anything. Sources: the
errors and rate-limits pages of Anthropic's API documentation, OpenAI's error-code guide, and for claude.ai what
its web client receives.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final

from proxy.credentials import Kind
from proxy.errors import ErrorKind
from proxy.pool.reset_time import stated_reset_unix_ms
from proxy.pool.retry_after import parse_retry_after


class FailureClass(StrEnum):
    """What sort of failure it was; health and retry each have one line for every member."""

    REQUEST = "request"
    AUTH = "auth"
    AUTH_DEAD = "auth_dead"
    PERMISSION = "permission"
    NO_MODEL = "no_model"
    RATE = "rate"
    BILLING = "billing"
    OVERLOADED = "overloaded"
    SERVER = "server"
    ENDPOINT = "endpoint"
    CHALLENGE = "challenge"
    CUT = "cut"
    UNKNOWN = "unknown"


class Fault(StrEnum):
    """A failure below HTTP, or an answer that cannot be used.

    ``PING_ONLY`` is a stream that lives and says nothing. ``HEADERS_TIMEOUT`` and later ones may have done work
    upstream.
    """

    CONNECT_REFUSED = "connect_refused"
    CONNECT_TIMEOUT = "connect_timeout"
    DNS = "dns"
    TLS = "tls"
    RESET = "reset"
    HEADERS_TIMEOUT = "headers_timeout"
    FIRST_EVENT_TIMEOUT = "first_event_timeout"
    EMPTY_STREAM = "empty_stream"
    BROKEN_STREAM = "broken_stream"
    GARBAGE = "garbage"
    BODY_TOO_LARGE = "body_too_large"
    TRUNCATED = "truncated"
    STALLED = "stalled"
    PING_ONLY = "ping_only"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamError:
    """An upstream's answer other than success, as the upstream's own layer read it.

    Attributes:
        status: HTTP status, 300 to 599.
        type: ``error.type``; empty where the body has no error envelope, and then message and code decide nothing.
        message: ``error.message``.
        code: ``error.details.error_code`` (Anthropic) or ``error.code`` (OpenAI).
        headers: those that matter, names in lower case: ``retry-after``, ``retry-after-ms``, ``x-should-retry``,
            ``cf-mitigated``, and those that tell of limits.
        kind: which sort of upstream answered.
        html: whether the body is a page instead of JSON.
        details: ``error.details`` as Anthropic wrote them, a JSON object; empty without any.
        param: ``error.param`` (OpenAI).
    """

    status: int
    type: str
    message: str
    code: str | None
    headers: Mapping[str, str]
    kind: Kind
    html: bool = False
    details: bytes = b""
    param: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A classified failure.

    Attributes:
        cls: what it means.
        status: the upstream's HTTP status; 0 for a fault and for an error event.
        kind: the error type that fits it best.
        message: the upstream's own words, to be shown for the classes request, no_model and permission only.
        details: ``error.details`` as Anthropic wrote them, to be shown where the message is; empty without any.
        param: the request field it is about, in OpenAI's words, to be shown where the message is.
        retry_after_s: how long the upstream asked to be left alone, unclamped; None where it said nothing.
        until_unix_ms: the moment the upstream named for its return, unclamped.
        fault: set for faults alone.
        should_retry: the upstream's ``x-should-retry``; False also for faults that repeating cannot help.
        refuses_thinking: whether it is the thinking of earlier turns that the upstream refuses, and nothing else.
    """

    cls: FailureClass
    status: int
    kind: ErrorKind
    message: str
    details: bytes = b""
    param: str | None = None
    retry_after_s: float | None = None
    until_unix_ms: int | None = None
    fault: Fault | None = None
    should_retry: bool | None = None
    refuses_thinking: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """One line of the table: every condition that is given has to hold.

    Attributes:
        cls: the class it decides on.
        statuses: HTTP statuses.
        kinds: sorts of upstream.
        codes: patterns of error codes, one of which fits.
        begins: what the message may begin with. Only its start counts, so that text a client sent and the
            upstream quotes back can never put a credential out of use.
        html: the body is a page.
        header: a header that is there.
    """

    cls: FailureClass
    statuses: frozenset[int] = frozenset()
    kinds: frozenset[Kind] = frozenset()
    codes: tuple[str, ...] = ()
    begins: tuple[str, ...] = ()
    html: bool = False
    header: str = ""

    def fits(self, error: UpstreamError) -> bool:
        """Whether this line is the one for `error`."""
        if (self.statuses and error.status not in self.statuses) or (self.html and not error.html):
            return False
        if (self.kinds and error.kind not in self.kinds) or (
            self.header and self.header not in error.headers
        ):
            return False
        return self._named(error)

    def _named(self, error: UpstreamError) -> bool:
        if not self.codes and not self.begins:
            return True
        if not error.type:
            return False
        if self.begins:
            return error.message.startswith(self.begins)
        return error.code is not None and any(fnmatchcase(error.code, code) for code in self.codes)


def _statuses(*statuses: int | range) -> frozenset[int]:
    return frozenset(
        one for each in statuses for one in (each if isinstance(each, range) else range(each, each + 1))
    )


_WEB: Final = frozenset({Kind.CLAUDE_WEB})
_API: Final = frozenset({Kind.ANTHROPIC})
_OPENAI: Final = frozenset({Kind.OPENAI})
_REFUSED: Final = _statuses(range(400, 500))

_RULES: Final = (
    _Rule(cls=FailureClass.CHALLENGE, header="cf-mitigated"),
    _Rule(cls=FailureClass.CHALLENGE, statuses=_statuses(403, 429, 503), html=True),
    _Rule(cls=FailureClass.CHALLENGE, statuses=_statuses(range(300, 400)), kinds=_WEB),
    _Rule(cls=FailureClass.AUTH_DEAD, statuses=_statuses(401), kinds=_WEB),
    _Rule(
        cls=FailureClass.AUTH_DEAD, statuses=_REFUSED, kinds=_WEB, codes=("account_session_invalid", "banned")
    ),
    _Rule(cls=FailureClass.AUTH_DEAD, statuses=_REFUSED, kinds=_WEB, begins=("account_session_invalid",)),
    _Rule(cls=FailureClass.AUTH_DEAD, statuses=_REFUSED, codes=("organization_on_hold",)),
    _Rule(
        cls=FailureClass.AUTH_DEAD,
        statuses=_statuses(400, 401, 403),
        begins=("This organization has been disabled", "Your organization has been disabled"),
    ),
    _Rule(cls=FailureClass.BILLING, statuses=_statuses(402)),
    _Rule(
        cls=FailureClass.BILLING,
        statuses=_statuses(400),
        begins=("Your credit balance", "You have reached your specified"),
    ),
    _Rule(cls=FailureClass.BILLING, statuses=_statuses(429), codes=("*_spend_limit_reached",)),
    _Rule(
        cls=FailureClass.BILLING,
        statuses=_statuses(429),
        kinds=_OPENAI,
        codes=(
            "insufficient_quota",
            "credit_balance_exhausted",
            "*_spend_limit_exceeded",
            "*_usage_limit_exceeded",
        ),
    ),
    _Rule(cls=FailureClass.AUTH, statuses=_statuses(401)),
    _Rule(cls=FailureClass.PERMISSION, statuses=_statuses(403)),
    _Rule(cls=FailureClass.NO_MODEL, statuses=_statuses(404), begins=("model:",)),
    _Rule(cls=FailureClass.NO_MODEL, statuses=_statuses(404), codes=("model_not_found",)),
    # a thread, a file or a profile that the request names and the API does not know
    _Rule(cls=FailureClass.REQUEST, statuses=_statuses(404), kinds=_API, codes=("*_not_found",)),
    _Rule(cls=FailureClass.RATE, statuses=_statuses(429)),
    _Rule(cls=FailureClass.OVERLOADED, statuses=_statuses(529)),
    _Rule(cls=FailureClass.SERVER, statuses=_statuses(408, range(500, 505), range(520, 529))),
    _Rule(cls=FailureClass.REQUEST, statuses=_statuses(400, 413, 422)),
)

# the path of the block comes first; what stands behind these words may quote the client
_REFUSED_THINKING: Final = re.compile(
    r"(messages\.\d+\.content\.\d+: )?"
    r"(Invalid `signature` in `thinking` block"
    r"|`thinking` or `redacted_thinking` blocks in the latest assistant message cannot be modified)"
)

# the error types of Anthropic, then of OpenAI, and the statuses they come with when they are no event
_STATUS_OF_TYPE: Final[Mapping[str, int]] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
    "insufficient_quota": 429,
    "server_error": 500,
    "service_unavailable_error": 503,
}

_KIND_OF_CLASS: Final[Mapping[FailureClass, ErrorKind]] = {
    FailureClass.REQUEST: ErrorKind.INVALID_REQUEST,
    FailureClass.AUTH: ErrorKind.AUTHENTICATION,
    FailureClass.AUTH_DEAD: ErrorKind.AUTHENTICATION,
    FailureClass.PERMISSION: ErrorKind.PERMISSION,
    FailureClass.NO_MODEL: ErrorKind.NOT_FOUND,
    FailureClass.RATE: ErrorKind.RATE_LIMIT,
    FailureClass.BILLING: ErrorKind.BILLING,
    FailureClass.OVERLOADED: ErrorKind.OVERLOADED,
    FailureClass.SERVER: ErrorKind.API,
    FailureClass.ENDPOINT: ErrorKind.API,
    FailureClass.CHALLENGE: ErrorKind.API,
    FailureClass.CUT: ErrorKind.API,
    FailureClass.UNKNOWN: ErrorKind.API,
}
_KIND_OF_STATUS: Final[Mapping[int, ErrorKind]] = {
    404: ErrorKind.NOT_FOUND,
    408: ErrorKind.TIMEOUT,
    413: ErrorKind.REQUEST_TOO_LARGE,
    504: ErrorKind.TIMEOUT,
    524: ErrorKind.TIMEOUT,
}


def classify(error: UpstreamError, *, now_unix_ms: int) -> Failure:
    """The meaning of an answer other than success; never raises, whatever was answered."""
    cls = _class_of(error)
    return Failure(
        cls=cls,
        status=error.status,
        kind=_KIND_OF_STATUS.get(error.status, _KIND_OF_CLASS[cls]),
        message=error.message if error.type else "",
        details=error.details if error.type else b"",
        param=error.param if error.type else None,
        retry_after_s=parse_retry_after(error.headers, now_unix_ms=now_unix_ms),
        until_unix_ms=_until(cls, error, now_unix_ms),
        should_retry={"true": True, "false": False}.get(
            error.headers.get("x-should-retry", "").strip().lower()
        ),
        refuses_thinking=cls is FailureClass.REQUEST
        and bool(error.type)
        and _REFUSED_THINKING.match(error.message) is not None,
    )


def classify_event(
    type: str,  # noqa: A002 - the wire's own word
    message: str,
    code: str | None = None,
    *,
    kind: Kind = Kind.ANTHROPIC,
    now_unix_ms: int = 0,
) -> Failure:
    """The meaning of an ``error`` event inside a stream that began with status 200.

    It means what the same error means as an answer. `now_unix_ms` is needed only to work out the end of the month
    when a spend limit names no date; 0 leaves that open.
    """
    error = event_error(type, message, code, kind=kind)
    return replace(classify(error, now_unix_ms=now_unix_ms), status=0)


def event_error(
    type: str,  # noqa: A002 - the wire's own word
    message: str,
    code: str | None,
    *,
    kind: Kind,
) -> UpstreamError:
    """An ``error`` event as the answer that the same error would have been."""
    status = _STATUS_OF_TYPE.get(type, 0)
    return UpstreamError(status=status, type=type, message=message, code=code, headers={}, kind=kind)


def _class_of(error: UpstreamError) -> FailureClass:
    return next((rule.cls for rule in _RULES if rule.fits(error)), FailureClass.UNKNOWN)


def _until(cls: FailureClass, error: UpstreamError, now_unix_ms: int) -> int | None:
    if cls not in {FailureClass.RATE, FailureClass.BILLING}:
        return None
    monthly = cls is FailureClass.BILLING and error.code is not None and error.status == 429
    return stated_reset_unix_ms(
        error.message,
        error.headers,
        counted=cls is FailureClass.RATE,
        monthly=monthly,
        now_unix_ms=now_unix_ms,
    )


@dataclass(frozen=True, slots=True)
class _FaultRule:
    cls: FailureClass
    kind: ErrorKind
    should_retry: bool | None = None


_FAULTS: Final[Mapping[Fault, _FaultRule]] = {
    Fault.CONNECT_REFUSED: _FaultRule(FailureClass.ENDPOINT, ErrorKind.API),
    Fault.CONNECT_TIMEOUT: _FaultRule(FailureClass.ENDPOINT, ErrorKind.TIMEOUT),
    Fault.DNS: _FaultRule(FailureClass.ENDPOINT, ErrorKind.API),
    Fault.TLS: _FaultRule(FailureClass.ENDPOINT, ErrorKind.API),
    Fault.RESET: _FaultRule(FailureClass.SERVER, ErrorKind.API),
    Fault.HEADERS_TIMEOUT: _FaultRule(FailureClass.SERVER, ErrorKind.TIMEOUT),
    Fault.FIRST_EVENT_TIMEOUT: _FaultRule(FailureClass.SERVER, ErrorKind.TIMEOUT),
    Fault.EMPTY_STREAM: _FaultRule(FailureClass.SERVER, ErrorKind.API),
    Fault.BROKEN_STREAM: _FaultRule(FailureClass.SERVER, ErrorKind.API),
    Fault.GARBAGE: _FaultRule(FailureClass.SERVER, ErrorKind.API),
    # a second answer of that size would cost as much again
    Fault.BODY_TOO_LARGE: _FaultRule(FailureClass.SERVER, ErrorKind.API, should_retry=False),
    Fault.TRUNCATED: _FaultRule(FailureClass.SERVER, ErrorKind.API),
    Fault.STALLED: _FaultRule(FailureClass.SERVER, ErrorKind.TIMEOUT),
    Fault.PING_ONLY: _FaultRule(FailureClass.SERVER, ErrorKind.TIMEOUT),
}


def classify_fault(fault: Fault) -> Failure:
    """The meaning of a fault before the commit."""
    rule = _FAULTS[fault]
    return Failure(
        cls=rule.cls, status=0, kind=rule.kind, message="", fault=fault, should_retry=rule.should_retry
    )


def about_object(failure: Failure) -> Failure:
    """The same failure where the request names an object of the upstream, such as a file or a batch.

    That there is none, or that it is not in the state for what was asked, is the client's own matter then.
    """
    if failure.cls is not FailureClass.UNKNOWN or failure.status not in {404, 409}:
        return failure
    kind = ErrorKind.NOT_FOUND if failure.status == 404 else ErrorKind.INVALID_REQUEST
    return replace(failure, cls=FailureClass.REQUEST, kind=kind)


def limit_reached(until_unix_ms: int | None) -> Failure:
    """What it means that an answer, itself a good one, was the last one within the account's limit.

    It is what the next call would be told as a 429. `until_unix_ms` is when the limit ends; None where that is unknown.
    """
    return Failure(
        cls=FailureClass.RATE,
        status=0,
        kind=ErrorKind.RATE_LIMIT,
        message="",
        until_unix_ms=until_unix_ms,
    )


def after_commit(failure: Failure) -> Failure:
    """The same failure once the client has had its first byte.

    What would have been tried again is now a cut answer; an error the upstream named (a limit, an overload) keeps
    its meaning for the credential.
    """
    if failure.cls in {FailureClass.SERVER, FailureClass.ENDPOINT}:
        return replace(failure, cls=FailureClass.CUT)
    return failure
