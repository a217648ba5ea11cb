"""The table from an upstream's answer to what it means."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.credentials import Kind
from proxy.errors import ErrorKind
from proxy.pool.failure import (
    FailureClass,
    Fault,
    UpstreamError,
    about_object,
    after_commit,
    classify,
    classify_event,
    classify_fault,
)
from tests.unit.pool.building import failure, upstream_error

NOW = int(datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp() * 1000)
WEB = Kind.CLAUDE_WEB
CREDIT = "Your credit balance is too low to access the Anthropic API."
SPENT = "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC."


@pytest.mark.parametrize(
    ("error", "cls"),
    [
        (upstream_error(400, message="messages: at least one"), FailureClass.REQUEST),
        (upstream_error(413, type="", html=True), FailureClass.REQUEST),
        (upstream_error(422), FailureClass.REQUEST),
        (upstream_error(401), FailureClass.AUTH),
        (upstream_error(401, kind=Kind.CLAUDE_CODE), FailureClass.AUTH),
        (upstream_error(401, kind=WEB), FailureClass.AUTH_DEAD),
        (upstream_error(403, code="account_session_invalid", kind=WEB), FailureClass.AUTH_DEAD),
        (upstream_error(403, message="account_session_invalid", kind=WEB), FailureClass.AUTH_DEAD),
        (upstream_error(403, code="account_session_invalid"), FailureClass.PERMISSION),
        (upstream_error(403, code="banned", kind=WEB), FailureClass.AUTH_DEAD),
        (upstream_error(400, message="This organization has been disabled."), FailureClass.AUTH_DEAD),
        (upstream_error(400, code="organization_on_hold"), FailureClass.AUTH_DEAD),
        (upstream_error(403), FailureClass.PERMISSION),
        (upstream_error(404, message="model: claude-9"), FailureClass.NO_MODEL),
        (upstream_error(404, code="model_not_found", kind=Kind.OPENAI), FailureClass.NO_MODEL),
        (upstream_error(404, message="file not found"), FailureClass.UNKNOWN),
        (upstream_error(404, code="thread_not_found"), FailureClass.REQUEST),
        (upstream_error(404, code="file_not_found", kind=Kind.OPENAI), FailureClass.UNKNOWN),
        (upstream_error(429), FailureClass.RATE),
        (upstream_error(429, code="ramp_limit_exceeded"), FailureClass.RATE),
        (upstream_error(402), FailureClass.BILLING),
        (upstream_error(400, message=CREDIT), FailureClass.BILLING),
        (upstream_error(400, message=SPENT), FailureClass.BILLING),
        (upstream_error(429, code="enforced_spend_limit_reached"), FailureClass.BILLING),
        (upstream_error(429, code="contract_spend_limit_reached"), FailureClass.BILLING),
        (upstream_error(429, code="insufficient_quota", kind=Kind.OPENAI), FailureClass.BILLING),
        (upstream_error(429, code="insufficient_quota"), FailureClass.RATE),
        (upstream_error(529), FailureClass.OVERLOADED),
        *((upstream_error(each), FailureClass.SERVER) for each in (500, 501, 502, 503, 504, 408, 520, 526)),
        (upstream_error(403, type="", html=True), FailureClass.CHALLENGE),
        (upstream_error(429, type="", html=True), FailureClass.CHALLENGE),
        (upstream_error(503, type="", html=True), FailureClass.CHALLENGE),
        (upstream_error(502, type="", html=True), FailureClass.SERVER),
        (upstream_error(403, headers={"cf-mitigated": "challenge"}), FailureClass.CHALLENGE),
        (upstream_error(302, kind=WEB), FailureClass.CHALLENGE),
        (upstream_error(302), FailureClass.UNKNOWN),
        *((upstream_error(each), FailureClass.UNKNOWN) for each in (409, 418, 425, 451, 505, 530)),
    ],
)
def test_an_answer_has_one_meaning(error: UpstreamError, cls: FailureClass) -> None:
    """Protects the table: each answer an upstream is known to give falls into its class."""
    assert classify(error, now_unix_ms=NOW).cls is cls


def test_details_are_kept_where_there_is_an_error_envelope() -> None:
    """Protects clients that act on them, and clients from what stands in no envelope."""
    error = replace(upstream_error(400), details=b'{"error_code":"x"}')
    assert classify(error, now_unix_ms=NOW).details == b'{"error_code":"x"}'
    assert classify(replace(error, type=""), now_unix_ms=NOW).details == b""


@pytest.mark.parametrize(
    "message",
    [
        f"messages.0: {CREDIT}",
        f'input "{SPENT}"',
        "He said: This organization has been disabled.",
        " " + CREDIT,
    ],
)
def test_text_a_client_sent_cannot_put_a_credential_out_of_use(message: str) -> None:
    """Protects against quoting: only the beginning of a message is compared."""
    assert classify(upstream_error(400, message=message), now_unix_ms=NOW).cls is FailureClass.REQUEST


@pytest.mark.parametrize("message", [CREDIT, SPENT, "This organization has been disabled."])
def test_a_body_without_the_error_envelope_decides_nothing(message: str) -> None:
    """Protects against a plain body that happens to begin with the words."""
    error = upstream_error(400, type="", message=message, code="organization_on_hold")
    assert classify(error, now_unix_ms=NOW).cls is FailureClass.REQUEST


def test_what_the_upstream_said_about_time_is_kept() -> None:
    """Protects the deadlines: named seconds, dates in words and the end of the month all arrive."""
    rate = classify(upstream_error(429, headers={"retry-after": "7"}), now_unix_ms=NOW)
    spent = classify(upstream_error(400, message=SPENT), now_unix_ms=NOW)
    enforced = classify(upstream_error(429, code="enforced_spend_limit_reached"), now_unix_ms=NOW)
    december = int(datetime(2026, 12, 1, tzinfo=UTC).timestamp() * 1000)
    assert (rate.retry_after_s, rate.until_unix_ms) == (7.0, None)
    assert spent.until_unix_ms == december
    assert enforced.until_unix_ms == december


def test_a_date_in_a_message_about_the_request_is_no_deadline() -> None:
    """Protects the meaning of `until`: only limits have one."""
    error = upstream_error(400, message="model retired on 2026-12-01")
    assert classify(error, now_unix_ms=NOW).until_unix_ms is None


@pytest.mark.parametrize(
    ("value", "found"), [("true", True), (" FALSE ", False), ("", None), ("maybe", None), (None, None)]
)
def test_the_upstreams_word_on_retrying_is_read(value: str | None, found: bool | None) -> None:
    """Protects obedience to ``x-should-retry``."""
    headers = {} if value is None else {"x-should-retry": value}
    assert classify(upstream_error(500, headers=headers), now_unix_ms=NOW).should_retry is found


@pytest.mark.parametrize(
    ("type_", "message", "cls"),
    [
        ("overloaded_error", "Overloaded", FailureClass.OVERLOADED),
        ("rate_limit_error", "slow down", FailureClass.RATE),
        ("authentication_error", "invalid x-api-key", FailureClass.AUTH),
        ("permission_error", "no", FailureClass.PERMISSION),
        ("billing_error", "pay", FailureClass.BILLING),
        ("invalid_request_error", "bad", FailureClass.REQUEST),
        ("invalid_request_error", CREDIT, FailureClass.BILLING),
        ("request_too_large", "big", FailureClass.REQUEST),
        ("not_found_error", "model: x", FailureClass.NO_MODEL),
        ("api_error", "oops", FailureClass.SERVER),
        ("timeout_error", "late", FailureClass.SERVER),
        ("brand_new_error", "?", FailureClass.UNKNOWN),
    ],
)
def test_an_error_event_means_what_the_same_answer_means(type_: str, message: str, cls: FailureClass) -> None:
    """Protects streams: an error inside one is classified by the same table."""
    found = classify_event(type_, message)
    assert (found.cls, found.status) == (cls, 0)


@pytest.mark.parametrize("fault", list(Fault))
def test_every_fault_has_a_meaning(fault: Fault) -> None:
    """Protects completeness: a new fault without a line fails here."""
    found = classify_fault(fault)
    endpoint = fault in {Fault.CONNECT_REFUSED, Fault.CONNECT_TIMEOUT, Fault.DNS, Fault.TLS}
    assert found.cls is (FailureClass.ENDPOINT if endpoint else FailureClass.SERVER)
    assert found.fault is fault
    late = "timeout" in fault or fault in {Fault.STALLED, Fault.PING_ONLY}
    assert found.kind is (ErrorKind.TIMEOUT if late else ErrorKind.API)


@pytest.mark.parametrize("cls", list(FailureClass))
def test_after_the_commit_only_unnamed_failures_become_a_cut(cls: FailureClass) -> None:
    """Protects the meaning of an error the upstream named in the middle of an answer."""
    cut = {FailureClass.SERVER, FailureClass.ENDPOINT, FailureClass.CUT}
    assert after_commit(failure(cls)).cls is (FailureClass.CUT if cls in cut else cls)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ErrorKind.INVALID_REQUEST),
        (413, ErrorKind.REQUEST_TOO_LARGE),
        (429, ErrorKind.RATE_LIMIT),
        (504, ErrorKind.TIMEOUT),
        (529, ErrorKind.OVERLOADED),
        (599, ErrorKind.API),
    ],
)
def test_a_failure_carries_the_error_type_that_fits(status: int, kind: ErrorKind) -> None:
    """Protects the client's envelope: it is rendered from this type."""
    assert classify(upstream_error(status), now_unix_ms=NOW).kind is kind


@given(
    st.integers(300, 599), st.text(), st.text(), st.none() | st.text(), st.sampled_from(Kind), st.booleans()
)
def test_no_answer_raises(
    status: int, type_: str, message: str, code: str | None, kind: Kind, html: bool
) -> None:
    """Protects the dispatch loop: whatever an upstream answers is classified."""
    error = upstream_error(status, type=type_, message=message, code=code, kind=kind, html=html)
    assert classify(error, now_unix_ms=NOW).status == status


_THINKING = "Invalid `signature` in `thinking` block"
_CHANGED = "`thinking` or `redacted_thinking` blocks in the latest assistant message cannot be modified."


@pytest.mark.parametrize(
    ("error", "refuses"),
    [
        (upstream_error(400, message=f"messages.1.content.0: {_THINKING}"), True),
        (upstream_error(400, message=f"messages.17.content.23: {_THINKING}. The block is bound to"), True),
        (upstream_error(400, message=_THINKING), True),
        (upstream_error(400, message=f"messages.3.content.0: {_CHANGED}"), True),
        (upstream_error(400, message=f"messages: {_THINKING}"), False),
        (upstream_error(400, message=f"Tool '{_THINKING}' not found"), False),
        (upstream_error(400, type="", message=_THINKING), False),
        (upstream_error(500, message=_THINKING), False),
        (upstream_error(400, message="max_tokens: Field required"), False),
    ],
)
def test_a_refusal_of_earlier_thinking_is_known_by_how_it_begins(error: UpstreamError, refuses: bool) -> None:
    """Protects every other refusal, and what a client may have written, from being taken for it."""
    assert classify(error, now_unix_ms=NOW).refuses_thinking is refuses


def test_a_refusal_of_earlier_thinking_may_come_as_an_event() -> None:
    """Protects streams, whose status was 200 by then."""
    assert classify_event("invalid_request_error", f"messages.1.content.0: {_THINKING}").refuses_thinking


@pytest.mark.parametrize(
    ("status", "cls", "kind"),
    [
        (404, FailureClass.REQUEST, ErrorKind.NOT_FOUND),
        (409, FailureClass.REQUEST, ErrorKind.INVALID_REQUEST),
        (418, FailureClass.UNKNOWN, ErrorKind.API),
        (429, FailureClass.RATE, ErrorKind.RATE_LIMIT),
    ],
)
def test_a_missing_object_is_the_clients_matter(status: int, cls: FailureClass, kind: ErrorKind) -> None:
    """A file that is gone must not read as an upstream that failed; all else means what it always does."""
    found = about_object(classify(upstream_error(status, message="gone"), now_unix_ms=NOW))
    assert (found.cls, found.kind, found.message) == (cls, kind, "gone")
