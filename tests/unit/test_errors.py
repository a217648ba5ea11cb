"""Errors carry what a client can act on, under the provider's own names."""

import pytest

from proxy.errors import ErrorKind, GatewayError, InvalidRequest, NotFound, TooLarge, Unauthorized


@pytest.mark.parametrize(
    ("error", "status", "kind", "code"),
    [
        (InvalidRequest("m"), 400, ErrorKind.INVALID_REQUEST, None),
        (InvalidRequest("m", code="c"), 400, ErrorKind.INVALID_REQUEST, "c"),
        (Unauthorized("m"), 401, ErrorKind.AUTHENTICATION, "invalid_api_key"),
        (NotFound("m"), 404, ErrorKind.NOT_FOUND, None),
        (NotFound("m", code="c"), 404, ErrorKind.NOT_FOUND, "c"),
        (TooLarge(10), 413, ErrorKind.REQUEST_TOO_LARGE, "request_too_large"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_error_has_its_status_and_kind(
    error: GatewayError, status: int, kind: ErrorKind, code: str | None
) -> None:
    """Protects the status clients decide by."""
    assert (error.status, error.kind, error.code) == (status, kind, code)
    assert error.retry_after_s is None
    assert error.should_retry is None


def test_the_kinds_are_the_providers_own_words() -> None:
    """Protects clients that look at the type of an error; source: the errors page of Anthropic's documentation."""
    assert {kind.value for kind in ErrorKind} == {
        "invalid_request_error",
        "authentication_error",
        "billing_error",
        "permission_error",
        "not_found_error",
        "request_too_large",
        "rate_limit_error",
        "api_error",
        "timeout_error",
        "overloaded_error",
    }


def test_an_error_keeps_everything_it_was_given() -> None:
    """Protects the fields and hints that tell a client what to change and when to come back."""
    error = GatewayError(
        429, ErrorKind.RATE_LIMIT, "m", param="p", code="c", retry_after_s=2.5, should_retry=False
    )
    assert (error.message, error.param, error.code) == ("m", "p", "c")
    assert (error.retry_after_s, error.should_retry) == (2.5, False)
    assert str(error) == "m"


def test_a_body_that_is_too_large_is_told_the_limit() -> None:
    """Protects clients from guessing what would fit."""
    assert "32768 bytes" in TooLarge(32_768).message


def test_a_missing_or_bad_field_is_named() -> None:
    """Protects clients from searching their request for what is wrong."""
    assert InvalidRequest("m", param="messages[0].role").param == "messages[0].role"
    assert NotFound("m", param="model").param == "model"
