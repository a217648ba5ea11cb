"""What OpenAI-compatible APIs write, read with patience: of the many that speak the format, few speak all of it.

Sources: "The chat completion object" and "The chat completion chunk object" in OpenAI's API reference; the names
``reasoning_content`` and ``reasoning`` for visible thinking are those of DeepSeek's and OpenRouter's documentation.
"""

from collections.abc import Mapping
from hashlib import blake2b
from types import MappingProxyType
from typing import Final

import msgspec

from proxy.dialects.openai_chat.tool_ids import clean_id
from proxy.dialects.upstream import ErrorFacts
from proxy.model.events import Stop
from proxy.model.message import OutputTokensDetails, StopDetails, Usage

OWN_SIGNATURE: Final = "gw1.unsigned"
"""Stands where Anthropic's clients expect a signature; its beginning tells that the thinking is no Claude's."""

_STOP_REASONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "stop": "end_turn",
        "length": "max_tokens",
        "tool_calls": "tool_use",
        "function_call": "tool_use",
        "content_filter": "refusal",
    }
)
_REFUSAL: Final = "refusal"
_TYPES_OF_STATUS: Final[Mapping[int, str]] = MappingProxyType(
    {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
)


class Function(msgspec.Struct):
    """A called function, or a piece of one; `arguments` is JSON text."""

    name: str | None = None
    arguments: str | None = None


class Call(msgspec.Struct):
    """A tool call, or a piece of one."""

    id: str | None = None
    index: int | None = None
    function: Function | None = None


class Said(msgspec.Struct):
    """The assistant's message, or a piece of it."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[Call] | None = None
    function_call: Function | None = None

    @property
    def thinking(self) -> str:
        """What it shows of its thinking."""
        return self.reasoning_content or self.reasoning or ""

    @property
    def calls(self) -> list[Call]:
        """Its tool calls, one in the style before tools among them."""
        calls = self.tool_calls or []
        if self.function_call is not None:
            return [*calls, Call(index=0, function=self.function_call)]
        return calls


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class CompletionUsage(msgspec.Struct):
    """Token counts: the prompt's include what the cache gave and took."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None

    def canonical(self) -> Usage:
        """The same in Anthropic's terms, where the prompt's tokens leave the cache out."""
        prompt = self.prompt_tokens_details or _PromptDetails()
        thinking = (self.completion_tokens_details or _CompletionDetails()).reasoning_tokens
        cached = (prompt.cached_tokens or 0) + (prompt.cache_write_tokens or 0)
        return Usage(
            input_tokens=None if self.prompt_tokens is None else max(self.prompt_tokens - cached, 0),
            output_tokens=self.completion_tokens,
            cache_read_input_tokens=prompt.cached_tokens,
            cache_creation_input_tokens=prompt.cache_write_tokens,
            output_tokens_details=None if thinking is None else OutputTokensDetails(thinking),
        )


class _Error(msgspec.Struct):
    message: str | None = None
    type: str | None = None
    code: str | int | None = None
    param: object = None


class _Enveloped(msgspec.Struct):
    error: _Error | str | None = None


_PARAM_MAX_CHARS = 200
_usage_decoder = msgspec.json.Decoder(CompletionUsage | None)
_error_decoder = msgspec.json.Decoder(_Enveloped)


def read_usage(raw: msgspec.Raw | msgspec.UnsetType) -> Usage | None:
    """Usage from its JSON; None where there is none, or none that can be read: it costs nobody the answer."""
    if raw is msgspec.UNSET:
        return None
    try:
        found = _usage_decoder.decode(raw)
    except (ValueError, RecursionError):
        return None
    return found.canonical() if found is not None else None


def decode_error(body: bytes) -> ErrorFacts:
    """Read an error body, whatever it is: an HTML page, nothing, or JSON cut off in the middle.

    An envelope without a type gets the one that fits a status given as its code, else ``server_error``.
    """
    try:
        error = _error_decoder.decode(body).error
    except (ValueError, RecursionError):
        return ErrorFacts()
    if error is None:
        return ErrorFacts()
    if isinstance(error, str):
        return ErrorFacts("server_error", error)
    kind = error.type or _type_of(error.code)
    code = None if error.code is None else str(error.code)
    param = error.param[:_PARAM_MAX_CHARS] if isinstance(error.param, str) else None
    return ErrorFacts(kind, error.message or "", code, param=param)


def _type_of(code: str | int | None) -> str:
    status = code if isinstance(code, int) else 500
    if status in _TYPES_OF_STATUS:
        return _TYPES_OF_STATUS[status]
    return "invalid_request_error" if 400 <= status < 500 else "server_error"


def stop_of(finish_reason: str, *, refusal: str = "", calls: bool = False) -> Stop:
    """Why an answer ended, in Anthropic's words.

    Args:
        finish_reason: as the upstream wrote it; one that is not known counts as an ordinary end.
        refusal: what was said instead of an answer.
        calls: whether tools were called; some upstreams say ``stop`` all the same.
    """
    reason = _REFUSAL if refusal else _STOP_REASONS.get(finish_reason, "end_turn")
    if calls and reason == "end_turn":
        reason = "tool_use"
    details = StopDetails(type=_REFUSAL, explanation=refusal or None) if reason == _REFUSAL else None
    return Stop(reason, None, details)


def message_id(completion_id: str) -> str:
    """An id in Anthropic's style for an answer; empty where it has none."""
    return "msg_" + completion_id.removeprefix("chatcmpl-") if completion_id else ""


def call_id(given: str | None, completion_id: str, number: int) -> str:
    """The id of an answer's tool call of this number, fit for every upstream a client may send it back to.

    An upstream that gives none gets one made of the id of the answer, so that no two answers share it.
    """
    if given:
        return clean_id(given)
    digest = blake2b(f"{completion_id}\0{number}".encode("utf-8", "replace"), digest_size=12)
    return f"toolu_{digest.hexdigest()}"
