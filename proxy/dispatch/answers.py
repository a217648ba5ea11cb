"""What the client is told when no credential could answer: one table from failures to client errors."""

import math
from dataclasses import replace
from typing import Final, assert_never

from proxy.errors import ErrorKind, GatewayError, NotFound
from proxy.pool import Exhausted, ExhaustedReason, Failure, FailureClass
from proxy.upstreams.base import Source

_LONG_WAIT_S: Final = 60
_AFTER_A_RESTART_S: Final = 2.0
_SHORT_WAIT_S: Final = 5
_OVERLOADED_RETRY_S: Final = 5.0
_CHALLENGE_RETRY_S: Final = 60.0
_WORK_WAS_DONE: Final = frozenset(
    {FailureClass.SERVER, FailureClass.OVERLOADED, FailureClass.ENDPOINT, FailureClass.CHALLENGE}
)


def overloaded(retry_after_s: float) -> GatewayError:
    """The provider is overloaded: it said so, or said so often enough that it is spared for a while."""
    return GatewayError(
        529,
        ErrorKind.OVERLOADED,
        "Overloaded",
        code="server_is_overloaded",
        retry_after_s=retry_after_s,
    )


def shutting_down() -> GatewayError:
    """The server ends, and this answer with it; whoever takes its place answers a repetition."""
    return GatewayError(
        503,
        ErrorKind.OVERLOADED,
        "server shutting down",
        code="server_shutdown",
        retry_after_s=_AFTER_A_RESTART_S,
    )


def queue_full() -> GatewayError:
    """Every place is taken and so is the queue, or waiting took too long."""
    return GatewayError(
        503,
        ErrorKind.OVERLOADED,
        "All credentials are busy. Please try again shortly.",
        code="server_is_overloaded",
        retry_after_s=1.0,
    )


def rate_limited(seconds_left: float) -> GatewayError:
    """Every credential that could answer rests because of a rate limit."""
    return GatewayError(
        429,
        ErrorKind.RATE_LIMIT,
        f"All credentials for this model are rate limited. Try again in {math.ceil(seconds_left)} seconds.",
        code="rate_limit_exceeded",
        retry_after_s=seconds_left,
        should_retry=False if seconds_left > _LONG_WAIT_S else None,
    )


def resting(seconds_left: float) -> GatewayError:
    """Every credential rests after faults, or waits for the verdict of a trial."""
    return GatewayError(
        503,
        ErrorKind.OVERLOADED,
        f"All credentials for this model are resting. Try again in {math.ceil(seconds_left)} seconds.",
        code="server_is_overloaded",
        retry_after_s=seconds_left,
        should_retry=False if seconds_left > _SHORT_WAIT_S else None,
    )


def none_usable() -> GatewayError:
    """Every credential is disabled, out of funds, or resting for a reason that is not the client's."""
    return GatewayError(
        503,
        ErrorKind.API,
        "No usable credential is left for this request. The operator can see why in the pool's state.",
        code="no_usable_credential",
        should_retry=False,
    )


def account_refused() -> GatewayError:
    """The upstream turns away the whole account: its login has ended, or it was restricted, disabled or banned."""
    return GatewayError(
        503,
        ErrorKind.API,
        "The upstream no longer accepts the account behind the credential: its login has ended, or it was restricted "
        "or disabled. The operator can see which credential in the pool's state.",
        code="no_usable_credential",
        should_retry=False,
    )


def beyond_a_fallback(field: str) -> GatewayError:
    """Only a fallback is left, and it would answer without what this field asks for."""
    return GatewayError(
        503,
        ErrorKind.API,
        f"Only a fallback is left to answer, and it cannot do what {field} asks for.",
        param=field,
        code="no_usable_credential",
    )


def no_credential_allowed(model: str = "") -> GatewayError:
    """Credentials have the model, or what was asked for without one, and the client key may use none of them."""
    them = (
        f"the credentials that have the model '{model[:100]}'"
        if model
        else "the credentials that could do this"
    )
    return GatewayError(
        403,
        ErrorKind.PERMISSION,
        f"The client key may use none of {them}.",
        code="credential_not_allowed",
    )


def nobody_keeps(path: str) -> NotFound:
    """No credential is of the one kind that has files and batches, whatever its state."""
    return NotFound(
        f"{path}: only keys of Anthropic's API have this, and none that you may use is configured."
    )


def model_not_allowed(model: str, allowed: tuple[str, ...]) -> GatewayError:
    """The client key is limited to other models."""
    names = ", ".join(allowed[:40])
    return GatewayError(
        403,
        ErrorKind.PERMISSION,
        f"The client key may not ask for the model '{model[:100]}'. It may ask for: {names}.",
        param="model",
        code="model_not_allowed",
    )


def no_batches_allowed() -> GatewayError:
    """The client key has limits that a batch would get around."""
    return GatewayError(
        403,
        ErrorKind.PERMISSION,
        "The client key may create no batches, because its models, tokens or budget are limited.",
        code="batches_not_allowed",
    )


def no_such_model(model: str, available: tuple[str, ...]) -> NotFound:
    """No credential has this model."""
    names = ", ".join(available[:40])
    return NotFound(
        f"The model '{model[:100]}' does not exist or is not available here. Available models: {names}.",
        code="model_not_found",
        param="model",
    )


def exhausted(
    pool_says: Exhausted, last: Failure | None, *, model: str, available: tuple[str, ...]
) -> GatewayError:
    """What the client is told when the pool has nobody (left) to ask."""
    if last is not None and last.cls is FailureClass.RATE and pool_says.reason is ExhaustedReason.REFUSED:
        # the last to refuse may have done so long ago, and another may be back before it
        return rate_limited(pool_says.retry_after_s or 1.0)
    if last is not None and last.cls is FailureClass.AUTH_DEAD:
        return account_refused()
    if last is not None and (last.cls in _WORK_WAS_DONE or pool_says.reason is ExhaustedReason.REFUSED):
        return failed(last, model=model)
    match pool_says.reason:
        case ExhaustedReason.NO_MODEL:
            return no_such_model(model, available)
        case ExhaustedReason.PERMISSION:
            return GatewayError(
                403, ErrorKind.PERMISSION, "No credential may use this model.", code="model_not_allowed"
            )
        case ExhaustedReason.RATE_LIMITED:
            return rate_limited(pool_says.retry_after_s or 1.0)
        case ExhaustedReason.COOLING:
            return resting(pool_says.retry_after_s or 1.0)
        case ExhaustedReason.UNUSABLE | ExhaustedReason.REFUSED:
            return none_usable()
        case _:
            assert_never(pool_says.reason)


def owner_out(pool_says: Exhausted, last: Failure | None, *, model: str) -> GatewayError:
    """What the client is told when only one credential can help, because it holds what is asked for, and cannot now."""
    if last is not None and last.cls in _WORK_WAS_DONE:
        return failed(last, model=model)
    limited = last is not None and last.cls is FailureClass.RATE
    match pool_says.reason:
        case ExhaustedReason.NO_MODEL if model:
            text = f"The credential that holds the files of this request does not serve '{model[:100]}'."
            return NotFound(text, code="model_not_found", param="model")
        case ExhaustedReason.RATE_LIMITED:
            return _owner_limited(pool_says.retry_after_s or 1.0)
        case ExhaustedReason.REFUSED if limited:
            return _owner_limited(pool_says.retry_after_s or 1.0)
        case ExhaustedReason.COOLING:
            seconds_left = pool_says.retry_after_s or 1.0
            return replace_message(resting(seconds_left), _owner_waits("is resting", seconds_left))
        case _:
            return replace_message(none_usable(), "The credential that holds this cannot be used now.")


def owner_failed(failure: Failure) -> GatewayError:
    """The failure of the one credential that could have helped."""
    if failure.cls is FailureClass.RATE:
        return _owner_limited(max(failure.retry_after_s or 1.0, 1.0))
    error = failed(failure, model="")
    if failure.cls in {FailureClass.AUTH, FailureClass.AUTH_DEAD, FailureClass.BILLING}:
        return replace_message(error, "The credential that holds this cannot be used now.")
    return error


def _owner_limited(seconds_left: float) -> GatewayError:
    return replace_message(rate_limited(seconds_left), _owner_waits("is rate limited", seconds_left))


def _owner_waits(what: str, seconds_left: float) -> str:
    return f"The credential that holds this {what}. Try again in {math.ceil(seconds_left)} seconds."


def replace_message(error: GatewayError, message: str) -> GatewayError:
    """The same error in other words."""
    return GatewayError(
        error.status,
        error.kind,
        message,
        param=error.param,
        code=error.code,
        retry_after_s=error.retry_after_s,
        should_retry=error.should_retry,
    )


def send_again() -> GatewayError:
    """The credential that was to take an upload refused it when its body had gone; the next one may take it."""
    return GatewayError(
        503,
        ErrorKind.OVERLOADED,
        "The credential chosen for this could not take it, and the body is not kept. Please send it again.",
        code="server_is_overloaded",
        retry_after_s=1.0,
        should_retry=True,
    )


def failed(failure: Failure, *, model: str) -> GatewayError:
    """The client's answer for the failure that ended its walk."""
    match failure.cls:
        case FailureClass.REQUEST:
            return _request(failure)
        case FailureClass.NO_MODEL:
            return NotFound(failure.message or f"model: {model}", code="model_not_found", param="model")
        case FailureClass.PERMISSION:
            message = failure.message or "Not permitted upstream."
            return GatewayError(403, ErrorKind.PERMISSION, message, details=failure.details)
        case FailureClass.RATE:
            return rate_limited(max(failure.retry_after_s or 1.0, 1.0))
        case FailureClass.OVERLOADED:
            return overloaded(failure.retry_after_s or _OVERLOADED_RETRY_S)
        case FailureClass.CHALLENGE:
            return GatewayError(
                503,
                ErrorKind.API,
                "The upstream asks for a challenge that a gateway must not answer.",
                retry_after_s=_CHALLENGE_RETRY_S,
            )
        case FailureClass.AUTH | FailureClass.AUTH_DEAD | FailureClass.BILLING:
            return account_refused() if failure.cls is FailureClass.AUTH_DEAD else none_usable()
        case FailureClass.SERVER | FailureClass.ENDPOINT | FailureClass.CUT | FailureClass.UNKNOWN:
            return _broken(failure)
        case _:
            assert_never(failure.cls)


def scrubbed(failure: Failure, source: Source) -> Failure:
    """The failure with its message and details freed of the credential's owner; keys are masked when it is rendered."""
    message, details = failure.message, failure.details
    for owner in (source.organization, source.workspace):
        if owner:
            message = message.replace(owner, "[redacted]")
            details = details.replace(owner.encode(), b"[redacted]")
    return replace(failure, message=message, details=details)


def _request(failure: Failure) -> GatewayError:
    # an error event has no status of its own, a page in front of the upstream no message
    status = failure.status or (413 if failure.kind is ErrorKind.REQUEST_TOO_LARGE else 400)
    message = failure.message or f"The upstream refused the request with status {status} and said no more."
    code = None
    if status == 413:
        code = "request_too_large"
    elif message.startswith("prompt is too long"):
        code = "context_length_exceeded"
    return GatewayError(
        status, failure.kind, message, param=failure.param, code=code, details=failure.details
    )


def _broken(failure: Failure) -> GatewayError:
    if failure.kind is ErrorKind.TIMEOUT:
        return GatewayError(
            504,
            ErrorKind.TIMEOUT,
            "The upstream did not answer in time.",
            code="timeout",
            should_retry=False,
        )
    if failure.status == 503:
        return GatewayError(
            503,
            ErrorKind.API,
            "The upstream is unavailable.",
            code="upstream_error",
            retry_after_s=failure.retry_after_s,
            should_retry=False,
        )
    unreached = failure.cls is FailureClass.ENDPOINT
    return GatewayError(
        502,
        ErrorKind.API,
        "The upstream could not be reached." if unreached else "The upstream failed to answer.",
        code="upstream_error",
        should_retry=False,
    )
