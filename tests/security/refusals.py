"""Whether a refusal says what of."""

import re
from typing import Final

import msgspec

from tests.security.wire import Answer
from tests.support.bad_requests import BadRequest
from tests.support.sound_requests import COUNT_PATH, MESSAGES_PATH

# what a mistake in one field can be told of
NO_JSON: Final = (
    "The request body could not be parsed as JSON",
    "The request body is not valid JSON",
    "The request is nested too deeply",
)
UNKNOWN: Final = re.compile(r"Extra inputs are not permitted|unknown field")
TOLD_OF: Final[dict[str, set[str]]] = {
    "tools": {"tool_choice", "messages"},
    "messages": {"tools"},
    "stream": {"stream_options"},
}


class Error(msgspec.Struct):
    """What both envelopes hold."""

    type: str
    message: str
    param: str | None = None
    code: str | None = None


class Envelope(msgspec.Struct):
    """An error in either envelope; `type` is Anthropic's alone."""

    error: Error
    type: str | None = None


def fault_of(answer: Answer, bad: BadRequest, path: str) -> str | None:
    """What is wrong with an answer; None where it is a success, or a refusal that says what of."""
    if answer.status == 200:
        return None
    if answer.status not in {400, 404, 413, 422}:
        return f"status {answer.status}"
    envelope = msgspec.json.decode(answer.body, type=Envelope)
    error = envelope.error
    if bad.field is None or error.code == "invalid_json" or error.message.startswith(NO_JSON):
        return None
    fields = {bad.field, *TOLD_OF.get(bad.field, ())}
    if bad.unknown and UNKNOWN.search(error.message):
        return None
    if path not in {MESSAGES_PATH, COUNT_PATH}:
        named = (error.param or "").replace("[", ".").partition(".")[0]
        return None if named in fields else f"param is {error.param}"
    if envelope.type != "error":
        return "the wrong envelope"
    return None if any(field in error.message.lower() for field in fields) else "the message names no field"
