"""Every way of not being answered has its own words, in both dialects."""

import msgspec
import pytest

from proxy.dispatch import answers
from proxy.errors import ErrorKind, GatewayError
from proxy.pool import Exhausted, ExhaustedReason, Failure, FailureClass, Fault, classify_fault
from proxy.upstreams.base import Source
from tests.unit.dispatch.building import ANTHROPIC, CHAT, changed

_UNSEEN = "words of the upstream"


def _failure(cls: FailureClass, status: int = 0, **changes: object) -> Failure:
    plain = Failure(cls=cls, status=status, kind=ErrorKind.API, message=_UNSEEN)
    return changed(plain, changes)


_FAILED = [
    (_failure(FailureClass.REQUEST, 400, kind=ErrorKind.INVALID_REQUEST), 400, 400, "invalid_request_error"),
    (_failure(FailureClass.REQUEST, 413, kind=ErrorKind.REQUEST_TOO_LARGE), 413, 413, "request_too_large"),
    (_failure(FailureClass.REQUEST, 422, kind=ErrorKind.INVALID_REQUEST), 422, 422, "invalid_request_error"),
    (_failure(FailureClass.AUTH, 401), 503, 503, "api_error"),
    (_failure(FailureClass.AUTH_DEAD, 401), 503, 503, "api_error"),
    (_failure(FailureClass.BILLING, 402), 503, 503, "api_error"),
    (_failure(FailureClass.PERMISSION, 403), 403, 403, "permission_error"),
    (_failure(FailureClass.NO_MODEL, 404), 404, 404, "not_found_error"),
    (_failure(FailureClass.RATE, 429, retry_after_s=7.5), 429, 429, "rate_limit_error"),
    (_failure(FailureClass.OVERLOADED, 529), 529, 503, "overloaded_error"),
    (_failure(FailureClass.CHALLENGE, 403), 503, 503, "api_error"),
    (_failure(FailureClass.SERVER, 500), 502, 502, "api_error"),
    (_failure(FailureClass.SERVER, 502), 502, 502, "api_error"),
    (_failure(FailureClass.SERVER, 503), 503, 503, "api_error"),
    (_failure(FailureClass.SERVER, 504, kind=ErrorKind.TIMEOUT), 504, 504, "timeout_error"),
    (_failure(FailureClass.SERVER, 520), 502, 502, "api_error"),
    (_failure(FailureClass.ENDPOINT), 502, 502, "api_error"),
    (_failure(FailureClass.CUT), 502, 502, "api_error"),
    (_failure(FailureClass.UNKNOWN, 418), 502, 502, "api_error"),
]


@pytest.mark.parametrize(
    ("failure", "status", "chat_status", "kind"),
    _FAILED,
    ids=[f"{item[0].cls.value} {item[0].status}" for item in _FAILED],
)
def test_a_failure_has_one_status_in_each_dialect(
    failure: Failure, status: int, chat_status: int, kind: str
) -> None:
    """Protects clients' own retries, which go by the status, from being misled by the upstream's."""
    error = answers.failed(failure, model="claude-x")
    native = ANTHROPIC.render_error(error, "req_1")
    assert native.status == status
    assert msgspec.json.decode(native.body)["error"]["type"] == kind
    assert CHAT.render_error(error, "req_1").status == chat_status


def test_an_upstream_that_was_not_reached_is_told_from_one_that_failed() -> None:
    """Protects whoever looks for the cause: a dead proxy or address is not a broken answer."""
    said = {
        cls: answers.failed(_failure(cls), model="claude-x").message
        for cls in (FailureClass.ENDPOINT, FailureClass.SERVER)
    }
    assert "reached" in said[FailureClass.ENDPOINT]
    assert "reached" not in said[FailureClass.SERVER]


def test_the_table_above_knows_every_class() -> None:
    """Protects against a new class of failure nobody has chosen a status for."""
    assert {item[0].cls for item in _FAILED} == set(FailureClass)


@pytest.mark.parametrize("cls", list(FailureClass))
def test_the_upstreams_words_are_shown_only_where_they_speak_of_the_request(cls: FailureClass) -> None:
    """Protects clients from reading about our credentials, and from a 401 that is not theirs."""
    error = answers.failed(_failure(cls, 400), model="claude-x")
    shown = cls in {FailureClass.REQUEST, FailureClass.PERMISSION, FailureClass.NO_MODEL}
    assert (error.message == _UNSEEN) is shown
    assert error.status != 401


@pytest.mark.parametrize("fault", list(Fault))
def test_a_fault_is_a_502_or_for_a_time_out_a_504(fault: Fault) -> None:
    """Protects clients from mistaking an upstream's fault for their own."""
    error = answers.failed(classify_fault(fault), model="claude-x")
    late = fault.value.endswith("timeout") or fault in {Fault.STALLED, Fault.PING_ONLY}
    assert error.status == (504 if late else 502)
    assert error.should_retry is False


_EXHAUSTED = [
    (Exhausted(ExhaustedReason.NO_MODEL), 404, None, None),
    (Exhausted(ExhaustedReason.PERMISSION), 403, None, None),
    (Exhausted(ExhaustedReason.RATE_LIMITED, 12.3), 429, 12.3, None),
    (Exhausted(ExhaustedReason.RATE_LIMITED, 60.0), 429, 60.0, None),
    (Exhausted(ExhaustedReason.RATE_LIMITED, 60.1), 429, 60.1, False),
    (Exhausted(ExhaustedReason.COOLING, 5.0), 503, 5.0, None),
    (Exhausted(ExhaustedReason.COOLING, 5.1), 503, 5.1, False),
    (Exhausted(ExhaustedReason.COOLING, 300.0), 503, 300.0, False),
    (Exhausted(ExhaustedReason.UNUSABLE), 503, None, False),
    (Exhausted(ExhaustedReason.REFUSED), 503, None, False),
]


@pytest.mark.parametrize(
    ("pool_says", "status", "retry_after_s", "should_retry"),
    _EXHAUSTED,
    ids=[f"{item[0].reason.value} {item[0].retry_after_s}" for item in _EXHAUSTED],
)
def test_a_pool_without_anybody_to_ask_says_when_to_come_back(
    pool_says: Exhausted, status: int, retry_after_s: float | None, should_retry: bool | None
) -> None:
    """Protects clients from waiting too short, and from trying again where it cannot help."""
    error = answers.exhausted(pool_says, None, model="claude-x", available=("claude-y",))
    assert (error.status, error.retry_after_s, error.should_retry) == (status, retry_after_s, should_retry)


def test_the_table_of_reasons_is_complete() -> None:
    """Protects against a new reason nobody has chosen words for."""
    assert {item[0].reason for item in _EXHAUSTED} == set(ExhaustedReason)


@pytest.mark.parametrize("reason", list(ExhaustedReason))
def test_a_fault_that_was_met_on_the_way_is_the_answer(reason: ExhaustedReason) -> None:
    """Protects the truth: a request that broke at the upstream was not merely unlucky with its credentials."""
    last = _failure(FailureClass.SERVER, 500)
    error = answers.exhausted(Exhausted(reason, 5.0), last, model="claude-x", available=())
    assert error.status == 502


def test_when_all_were_asked_the_last_refusal_is_the_answer() -> None:
    """Protects the reason a client reads: what the last credential said, not that there was none left."""
    last = _failure(FailureClass.PERMISSION, 403)
    error = answers.exhausted(Exhausted(ExhaustedReason.REFUSED), last, model="claude-x", available=())
    assert (error.status, error.message) == (403, _UNSEEN)


@pytest.mark.parametrize(("left_s", "told_s"), [(2.8, 2.8), (None, 1.0)])
def test_a_walk_that_ends_at_a_limit_is_told_the_time_that_is_left(
    left_s: float | None, told_s: float
) -> None:
    """Protects clients from waiting for a time that was named before they waited here."""
    last = _failure(FailureClass.RATE, 429, retry_after_s=10.0)
    error = answers.exhausted(
        Exhausted(ExhaustedReason.REFUSED, left_s), last, model="claude-x", available=()
    )
    assert (error.status, error.retry_after_s) == (429, told_s)


def test_an_unknown_model_is_named_with_those_there_are() -> None:
    """Protects clients from guessing; and the answer from a name of any length."""
    error = answers.no_such_model("m" * 500, tuple(f"claude-{number}" for number in range(100)))
    assert isinstance(error, GatewayError)
    assert (error.status, error.code, error.param) == (404, "model_not_found", "model")
    assert "claude-0, claude-1" in error.message
    assert "claude-99" not in error.message
    assert "m" * 101 not in error.message


def test_a_full_queue_asks_to_come_back_soon() -> None:
    """Protects clients' retries: being busy passes quickly."""
    error = answers.queue_full()
    assert (error.status, error.kind, error.retry_after_s) == (503, ErrorKind.OVERLOADED, 1.0)
    assert error.should_retry is None


def test_an_overload_passes_the_upstreams_own_wait_on() -> None:
    """Protects the upstream: its wish to be left alone reaches the clients."""
    error = answers.failed(_failure(FailureClass.OVERLOADED, 529, retry_after_s=9.0), model="x")
    assert error.retry_after_s == 9.0
    assert answers.failed(_failure(FailureClass.OVERLOADED, 529), model="x").retry_after_s == 5.0


def test_a_prompt_that_is_too_long_has_the_code_clients_shorten_for() -> None:
    """Protects clients that drop old turns when they read this code."""
    words = "prompt is too long: 300000 tokens > 200000 maximum"
    failure = _failure(FailureClass.REQUEST, 400, kind=ErrorKind.INVALID_REQUEST, message=words)
    assert answers.failed(failure, model="x").code == "context_length_exceeded"


def test_whose_credential_it_was_is_taken_out_of_the_upstreams_words() -> None:
    """Protects the operator's accounts from being named to clients."""
    failure = _failure(FailureClass.REQUEST, 400, message="org org_7 in wrkspc_9 and org_7")
    assert answers.scrubbed(failure, Source(None, "org_7", "wrkspc_9")).message == (
        "org [redacted] in [redacted] and [redacted]"
    )
    assert answers.scrubbed(failure, Source()).message == failure.message


@pytest.mark.parametrize(
    ("reason", "last", "status", "words"),
    [
        (ExhaustedReason.NO_MODEL, None, 404, "does not serve 'claude-x'"),
        (ExhaustedReason.RATE_LIMITED, None, 429, "is rate limited. Try again in 8 seconds."),
        (ExhaustedReason.REFUSED, _failure(FailureClass.RATE, 429), 429, "is rate limited"),
        (ExhaustedReason.COOLING, None, 503, "is resting. Try again in 8 seconds."),
        (ExhaustedReason.COOLING, _failure(FailureClass.SERVER, 500), 502, "failed to answer"),
        (ExhaustedReason.UNUSABLE, None, 503, "cannot be used now"),
        (ExhaustedReason.PERMISSION, None, 503, "cannot be used now"),
        (ExhaustedReason.REFUSED, _failure(FailureClass.AUTH, 401), 503, "cannot be used now"),
    ],
)
def test_an_owner_that_is_out_is_spoken_of_truthfully(
    reason: ExhaustedReason, last: Failure | None, status: int, words: str
) -> None:
    """Protects clients from hearing of all credentials where one alone could have helped."""
    error = answers.owner_out(Exhausted(reason, 7.5), last, model="claude-x")
    assert error.status == status
    assert words in error.message
    if status == 429:
        assert error.retry_after_s == 7.5


@pytest.mark.parametrize(
    ("failure", "status", "words"),
    [
        (
            _failure(FailureClass.RATE, 429, retry_after_s=7.5),
            429,
            "is rate limited. Try again in 8 seconds.",
        ),
        (_failure(FailureClass.AUTH, 401), 503, "cannot be used now"),
        (_failure(FailureClass.PERMISSION, 403), 403, _UNSEEN),
    ],
)
def test_the_failure_of_the_only_owner_is_told_as_its_own(failure: Failure, status: int, words: str) -> None:
    """The same for a call that was made."""
    error = answers.owner_failed(failure)
    assert error.status == status
    assert words in error.message
