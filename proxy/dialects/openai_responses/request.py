"""A Responses request: the peek, and its translation to the canonical form.

What OpenAI's words mean to a Claude model is said once, by the rooms of Chat Completions: here items become turns, and
the rest of the request its words. The same items always give the same bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from proxy.dialects.common import Dropped, Envelope, Target, Translated
from proxy.dialects.conversation import name_in, opening, turns_in
from proxy.dialects.decoding import Anything, decode_json, is_given, unknown_fields
from proxy.dialects.openai_chat.request import assembled
from proxy.dialects.openai_chat.schema import OWN_FIELDS, ChatRequest, JsonSchema, ResponseFormat
from proxy.dialects.openai_responses.call import Call
from proxy.dialects.openai_responses.fields import ENCRYPTED, check_supported, lost_fields
from proxy.dialects.openai_responses.items import read_items
from proxy.dialects.openai_responses.output import repeated
from proxy.dialects.openai_responses.schema import (
    PeekedRequest,
    Reasoning,
    ResponsesRequest,
    TextConfig,
    TextFormat,
    Typed,
)
from proxy.dialects.openai_responses.tools import CalledTool, Toolbox, chat_choice, read_toolbox
from proxy.errors import InvalidRequest
from proxy.model.content import TextBlock
from proxy.model.request import Request, ThinkingAdaptive

_KNOWN = frozenset(ResponsesRequest.__struct_fields__)
_NO_REASONING = Reasoning()
_ANY_TEXT = TextConfig()


@dataclass(frozen=True, slots=True)
class Understood:
    """What an answer has to be told by of its request; nothing in it holds the request's body.

    Attributes:
        repeated: what the response repeats of the request, see `repeated`.
        shows_seals: whether the client asked for encrypted reasoning.
        called: how calls are told, by the name the model knows.
    """

    repeated: bytes
    shows_seals: bool = False
    called: Mapping[str, CalledTool] = field(default_factory=dict)


def peek(body: bytes, call: Call) -> Envelope:
    """See `proxy.dialects.common.Dialect.peek`."""
    seen = decode_json(PeekedRequest, body)
    items = _items(seen.input)
    instructions = seen.instructions if is_given(seen.instructions) else msgspec.UNSET
    begun = opening(turns_in(items, "input"), instructions)
    return Envelope(
        model=seen.model or "",
        stream=bool(seen.stream),
        own_fields=tuple(name for name in OWN_FIELDS if is_given(getattr(seen, name))),
        continuing=begun.continuing or bool(seen.previous_response_id) or _answered(items),
        opening=begun.digest,
        conversation=call.conversation or name_in(seen.prompt_cache_key),
    )


class _Said(msgspec.Struct):
    content: msgspec.Raw
    role: str = "user"


def _items(given: Anything) -> list[msgspec.Raw]:
    """The input as items, be it a text."""
    if not isinstance(given, msgspec.Raw) or not is_given(given):
        return []
    if bytes(given).startswith(b'"'):
        return [msgspec.Raw(msgspec.json.encode(_Said(given)))]
    return decode_json(list[msgspec.Raw], given, at="input")


def _answered(items: list[msgspec.Raw]) -> bool:
    """Whether the model has answered before, if only by calling tools: then the end of the history shows it."""
    if not items:
        return False
    kind = decode_json(Typed, items[-1], at=f"input[{len(items) - 1}]").type or ""
    return kind.endswith(("_call", "_output"))


def understand(body: bytes, target: Target, call: Call) -> tuple[Translated, Understood]:
    """Translate a request, and note what its answer needs. Raises InvalidRequest naming the field."""
    asked = decode_json(ResponsesRequest, body)
    check_supported(asked)
    if not asked.input:
        raise InvalidRequest(
            "input has to be a text or to hold at least one item.",
            param="input",
            code="missing_required_parameter",
        )
    box = read_toolbox(asked, lenient=call.lenient)
    conversation = read_items(asked.input, target, call.seal, stored=call.stored_items)
    if asked.instructions and asked.instructions.strip():
        conversation.system.insert(0, TextBlock(asked.instructions))
    try:
        translated = assembled(_words(asked, box), conversation, target)
    except InvalidRequest as error:
        error.param = box.path(error.param) if error.param else error.param
        raise
    dropped = [Dropped(box.path(loss.field), loss.reason) for loss in translated.dropped]
    unknown = unknown_fields(body, _KNOWN)
    lost = (*dropped, *box.dropped, *lost_fields(asked), *unknown)
    request = _finished(translated.request, asked, target)
    done = msgspec.structs.replace(translated, request=request, dropped=lost)
    noted = repeated(asked, store=call.keep is not None)
    shows_seals = ENCRYPTED in (asked.include or ())
    return done, Understood(noted, shows_seals, box.called)


def _words(asked: ResponsesRequest, box: Toolbox) -> ChatRequest:
    """What the request says beside its items, in the words of Chat Completions."""
    text = asked.text or _ANY_TEXT
    return ChatRequest(
        messages=[],
        max_completion_tokens=asked.max_output_tokens,
        parallel_tool_calls=asked.parallel_tool_calls,
        reasoning_effort=(asked.reasoning or _NO_REASONING).effort,
        response_format=_response_format(text.format),
        safety_identifier=asked.safety_identifier,
        service_tier=asked.service_tier,
        temperature=asked.temperature,
        tool_choice=chat_choice(asked.tool_choice),
        tools=box.definitions,
        top_p=asked.top_p,
        user=asked.user,
        verbosity=text.verbosity,
    )


def _response_format(wanted: TextFormat | None) -> ResponseFormat | None:
    if wanted is None or wanted.type != "json_schema":
        return None if wanted is None else ResponseFormat(wanted.type)
    if not is_given(wanted.schema):
        raise InvalidRequest(
            "The schema is missing.", param="text.format.schema", code="missing_required_parameter"
        )
    schema = JsonSchema(wanted.name or "", wanted.description, wanted.schema, wanted.strict)
    return ResponseFormat(wanted.type, schema)


def _finished(request: Request, asked: ResponsesRequest, target: Target) -> Request:
    """The request with what Chat Completions has no words for: whether thinking is shown."""
    shown = (asked.reasoning or _NO_REASONING).shown or target.think
    thinking = request.thinking
    if isinstance(thinking, ThinkingAdaptive) and not shown:
        thinking = ThinkingAdaptive()
    elif thinking is None and shown and target.facts.thinks_by_default:
        thinking = ThinkingAdaptive("summarized")
    return msgspec.structs.replace(request, thinking=thinking)
