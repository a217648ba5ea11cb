"""A text completion's request: its fields, what becomes of each, and its canonical form.

Source: "Create completion" in OpenAI's API reference. The prompt is what the user of a chat says; the rest of the way
is the chat's own.
"""

from collections.abc import Mapping
from hashlib import blake2b
from types import MappingProxyType
from typing import Annotated, Final

import msgspec

from proxy.dialects.common import Dropped, Envelope, Target, Translated
from proxy.dialects.decoding import Anything, decode_json, is_given, unknown_fields
from proxy.dialects.openai_chat.fields import Rule, Verdict
from proxy.dialects.openai_chat.request import translate
from proxy.dialects.openai_chat.schema import (
    OWN_FIELDS,
    ChatRequest,
    Penalty,
    StreamOptions,
    SystemMessage,
    UserMessage,
)
from proxy.errors import InvalidRequest

_NO_EQUAL: Final = "the upstream has no such field"
_DIGEST_BYTES: Final = 16
_SUFFIX_WISH: Final = (
    "Write the text that belongs between what the user says and the following text, and nothing else. "
    "The following text is:\n"
)


class TextRequest(msgspec.Struct, kw_only=True):
    """The fields of a request; nothing in it has parts of its own."""

    model: str | None = None
    prompt: str | list[msgspec.Raw] | None = None
    best_of: int | None = None
    echo: bool | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: int | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    n: Annotated[int, msgspec.Meta(ge=1)] | None = None
    presence_penalty: Penalty | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    suffix: str | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    user: str | None = None


_KNOWN: Final = frozenset(TextRequest.__struct_fields__)


def _rule(verdict: Verdict, how: str) -> Rule:
    return Rule(verdict, how)


FIELDS: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "best_of": _rule(Verdict.REFUSED, "Only one completion is made: best_of has to be 1."),
        "echo": _rule(Verdict.EMULATED, "the prompt is said before the answer"),
        "frequency_penalty": _rule(Verdict.DROPPED, _NO_EQUAL),
        "logit_bias": _rule(Verdict.DROPPED, _NO_EQUAL),
        "logprobs": _rule(Verdict.DROPPED, _NO_EQUAL),
        "max_tokens": _rule(Verdict.MAPPED, "max_tokens; a chat's default, not 16, where it is missing"),
        "model": _rule(Verdict.MAPPED, "model"),
        "n": _rule(Verdict.REFUSED, "Only one completion is made: n has to be 1."),
        "presence_penalty": _rule(Verdict.DROPPED, _NO_EQUAL),
        "prompt": _rule(Verdict.MAPPED, "messages"),
        "seed": _rule(Verdict.DROPPED, _NO_EQUAL),
        "stop": _rule(Verdict.MAPPED, "stop_sequences"),
        "stream": _rule(Verdict.MAPPED, "stream"),
        "stream_options": _rule(Verdict.EMULATED, "usage is counted from the answer's own events"),
        "suffix": _rule(Verdict.EMULATED, "a system sentence"),
        "temperature": _rule(Verdict.MAPPED, "temperature"),
        "top_p": _rule(Verdict.MAPPED, "top_p"),
        "user": _rule(Verdict.MAPPED, "metadata.user_id"),
    }
)
"""The verdict on each field; see `proxy.dialects.openai_chat.fields`."""


class _Peeked(msgspec.Struct):
    model: str | None = None
    prompt: Anything = msgspec.UNSET
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    claude_options: Anything = msgspec.UNSET
    conversation_id: Anything = msgspec.UNSET
    session_id: Anything = msgspec.UNSET
    project_id: Anything = msgspec.UNSET
    system_prompt: Anything = msgspec.UNSET


def peek(body: bytes) -> Envelope:
    """See `proxy.dialects.common.Dialect.peek`."""
    seen = decode_json(_Peeked, body)
    options = seen.stream_options
    prompt = bytes(seen.prompt) if isinstance(seen.prompt, msgspec.Raw) else b""
    return Envelope(
        model=seen.model or "",
        stream=bool(seen.stream),
        include_usage=options is not None and bool(options.include_usage),
        own_fields=tuple(name for name in OWN_FIELDS if is_given(getattr(seen, name))),
        opening=blake2b(prompt, digest_size=_DIGEST_BYTES).digest(),
    )


def decode_request(body: bytes, target: Target) -> Translated:
    """See `proxy.dialects.common.Dialect.decode_request`."""
    asked = decode_json(TextRequest, body)
    for name in ("n", "best_of"):
        if (getattr(asked, name) or 1) > 1:
            raise InvalidRequest(FIELDS[name].how, param=name, code="unsupported_value")
    prompt = _prompt(asked.prompt)
    translated = translate(_as_chat(asked, prompt), target)
    lost = [
        Dropped(name, rule.how)
        for name, rule in FIELDS.items()
        if rule.verdict is Verdict.DROPPED and getattr(asked, name)
    ]
    unknown = unknown_fields(body, _KNOWN)
    return msgspec.structs.replace(
        translated,
        dropped=(*translated.dropped, *lost, *unknown),
        form=msgspec.structs.replace(translated.form, echo=prompt if asked.echo else ""),
    )


def _prompt(given: str | list[msgspec.Raw] | None) -> str:
    """The one prompt there is. Raises InvalidRequest for several, for token ids, and for none."""
    if isinstance(given, list) and len(given) == 1 and bytes(given[0]).startswith(b'"'):
        given = decode_json(str, given[0], at="prompt[0]")
    if isinstance(given, str) and given.strip():
        return given
    if isinstance(given, list) and any(bytes(one).startswith(b'"') for one in given):
        raise InvalidRequest("Only one prompt is taken at a time.", param="prompt", code="unsupported_value")
    if isinstance(given, list) and given:
        raise InvalidRequest(
            "A prompt has to be text: the upstream has tokens of its own.",
            param="prompt",
            code="unsupported_value",
        )
    raise InvalidRequest("The prompt is missing.", param="prompt", code="missing_required_parameter")


def _as_chat(asked: TextRequest, prompt: str) -> ChatRequest:
    says = UserMessage(prompt)
    return ChatRequest(
        messages=[SystemMessage(_SUFFIX_WISH + asked.suffix), says] if asked.suffix else [says],
        max_tokens=asked.max_tokens,
        stop=asked.stop,
        temperature=asked.temperature,
        top_p=asked.top_p,
        user=asked.user,
        stream_options=asked.stream_options,
    )
