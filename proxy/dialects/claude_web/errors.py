"""What claude.ai's errors tell, for the one table that says what they mean.

The body is the API's envelope. A rate limit's message is itself JSON that holds the time of its end; it is passed
on as it is.
"""

import msgspec

from proxy.dialects.upstream import ErrorFacts


class _Details(msgspec.Struct, gc=False):
    error_code: str | None = None


class WireError(msgspec.Struct):
    """The ``error`` of an envelope, and of an event."""

    type: str = ""
    message: str = ""
    details: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET

    def facts(self) -> ErrorFacts:
        """What it tells."""
        return ErrorFacts(self.type, self.message, _code(self.details))


class _Envelope(msgspec.Struct):
    error: WireError | None = None


_decoder = msgspec.json.Decoder(_Envelope)
_details_decoder = msgspec.json.Decoder(_Details | None)


def decode_error(body: bytes) -> ErrorFacts:
    """Read an error body, whatever it is: a page, nothing, or JSON cut off in the middle."""
    try:
        error = _decoder.decode(body).error
    except (ValueError, RecursionError):
        return ErrorFacts()
    return ErrorFacts() if error is None else error.facts()


def _code(details: msgspec.Raw | msgspec.UnsetType) -> str | None:
    if details is msgspec.UNSET:
        return None
    try:
        found = _details_decoder.decode(details)
    except (ValueError, RecursionError):
        return None
    return found.error_code if found is not None else None
