"""What a client is told of a failure, in both dialects.

Sources: the errors pages of Anthropic's and OpenAI's API documentation for types and statuses.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Spoken(StrEnum):
    """The dialect a client speaks, by the path it asks."""

    CHAT = "/v1/chat/completions"
    MESSAGES = "/v1/messages"


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
_INVALID: Final = "invalid_request_error"
BROKEN: Final = _envelopes((502, "api_error"), (502, "server_error", "upstream_error"))
TIMED_OUT: Final = _envelopes((504, "timeout_error"), (504, "server_error", "timeout"))
DOWN: Final = _envelopes((503, "api_error"), (503, _UNAVAILABLE, "upstream_error"))
OVERLOADED: Final = _envelopes((529, "overloaded_error"), (503, _UNAVAILABLE, "server_is_overloaded"))
RESTING: Final = _envelopes((503, "overloaded_error"), (503, _UNAVAILABLE, "server_is_overloaded"))
UNUSABLE: Final = _envelopes((503, "api_error"), (503, _UNAVAILABLE, "no_usable_credential"))
CHALLENGED: Final = _envelopes((503, "api_error"), (503, _UNAVAILABLE, None))
LIMITED: Final = _envelopes((429, "rate_limit_error"), (429, "rate_limit_error", "rate_limit_exceeded"))
DENIED: Final = _envelopes((403, "permission_error"), (403, "permission_error", "model_not_allowed"))
NO_MODEL: Final = _envelopes((404, "not_found_error"), (404, _INVALID, "model_not_found"))
INVALID: Final = _envelopes((400, _INVALID), (400, _INVALID, None))
UNPROCESSABLE: Final = _envelopes((422, _INVALID), (422, _INVALID, None))
TOO_LARGE: Final = _envelopes((413, "request_too_large"), (413, _INVALID, "request_too_large"))
