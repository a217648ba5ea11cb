"""The one family of errors a client can be shown.

Anthropic's error types are the canonical kinds; each dialect renders them in its own envelope.
Source: the errors page of Anthropic's API documentation.
"""

from enum import StrEnum


class ErrorKind(StrEnum):
    """Anthropic's ``error.type`` values."""

    INVALID_REQUEST = "invalid_request_error"
    AUTHENTICATION = "authentication_error"
    BILLING = "billing_error"
    PERMISSION = "permission_error"
    NOT_FOUND = "not_found_error"
    REQUEST_TOO_LARGE = "request_too_large"
    RATE_LIMIT = "rate_limit_error"
    API = "api_error"
    TIMEOUT = "timeout_error"
    OVERLOADED = "overloaded_error"


class GatewayError(Exception):
    """An answer other than success, before any dialect has rendered it.

    Attributes:
        status: HTTP status, 400 to 599.
        kind: what sort of error it is.
        message: one or more sentences for a person; never holds a secret.
        param: path of the offending request field (``messages[0].role``), where there is one.
        code: OpenAI's ``error.code``, where a client may act on it.
        details: Anthropic's ``error.details``, a JSON object, which its SDKs act on; empty without any.
        retry_after_s: seconds after which trying again can help; rendered rounded up.
        should_retry: the ``x-should-retry`` header, or None to leave the client's own rule in force.
    """

    def __init__(
        self,
        status: int,
        kind: ErrorKind,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        details: bytes = b"",
        retry_after_s: float | None = None,
        should_retry: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.param = param
        self.code = code
        self.details = details
        self.retry_after_s = retry_after_s
        self.should_retry = should_retry


class InvalidRequest(GatewayError):
    """400: the client's own request cannot be served as it stands."""

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None, details: bytes = b""
    ) -> None:
        super().__init__(400, ErrorKind.INVALID_REQUEST, message, param=param, code=code, details=details)


class Unauthorized(GatewayError):
    """401: no key, a wrong key, or two different ones."""

    def __init__(self, message: str) -> None:
        super().__init__(401, ErrorKind.AUTHENTICATION, message, code="invalid_api_key")


class NotFound(GatewayError):
    """404: no such route, object or model."""

    def __init__(self, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(404, ErrorKind.NOT_FOUND, message, code=code, param=param)


class TooLarge(GatewayError):
    """413: the body is over its limit; nothing of it was kept."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(
            413,
            ErrorKind.REQUEST_TOO_LARGE,
            f"The request body is larger than {limit_bytes} bytes.",
            code="request_too_large",
        )
