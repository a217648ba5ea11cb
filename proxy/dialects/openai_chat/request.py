"""A Chat Completions request: the peek, and its translation to the canonical form.

The same history always gives the same bytes: prompt caches and thinking signatures depend on it.
"""

from collections.abc import Mapping
from functools import partial
from hashlib import sha256
from operator import attrgetter
from types import MappingProxyType
from typing import Final

import msgspec

from proxy.dialects.common import AnswerForm, Demand, Envelope, Target, Translated
from proxy.dialects.conversation import name_in, opening, session_in
from proxy.dialects.decoding import decode_json, is_given, unknown_fields
from proxy.dialects.openai_chat.definitions import StrictRoom
from proxy.dialects.openai_chat.extra_body import FIELD as EXTRA_BODY
from proxy.dialects.openai_chat.fields import check_supported, lost_fields, service_tier, speed
from proxy.dialects.openai_chat.formats import Format, read_format
from proxy.dialects.openai_chat.marks import lawful, only_marked, whole_mark
from proxy.dialects.openai_chat.messages import Conversation, read_messages
from proxy.dialects.openai_chat.schema import OWN_FIELDS, ChatRequest, PeekedRequest
from proxy.dialects.openai_chat.thinking import Reasoning, read_reasoning, read_sampling
from proxy.dialects.openai_chat.tools import Tooling, read_tools
from proxy.dialects.openai_chat.turns import begins_with_thinking, closed, in_tool_turn, ordered, reminder
from proxy.errors import InvalidRequest
from proxy.model.content import TextBlock
from proxy.model.request import InputMessage, Metadata, OutputConfig, Request, Tool, ToolChoiceTool

_LENGTHS: Final[Mapping[str, str]] = MappingProxyType(
    {"low": "Keep your answers short.", "high": "Answer at length and in detail."}
)
"""What ``verbosity`` asks for in words; the middle is what models do anyway."""

_OWN_FIELDS: Final = (*OWN_FIELDS, EXTRA_BODY)
_own = attrgetter(*_OWN_FIELDS)
_NONE_OWN: Final = _own(PeekedRequest())
_KNOWN: Final = frozenset(ChatRequest.__struct_fields__)


def peek(body: bytes) -> Envelope:
    """See `proxy.dialects.common.Dialect.peek`."""
    seen = decode_json(PeekedRequest, body)
    options = seen.stream_options
    begun = opening(seen.messages)
    return Envelope(
        model=seen.model or "",
        stream=bool(seen.stream),
        include_usage=options is not None and bool(options.include_usage),
        own_fields=() if _own(seen) == _NONE_OWN else _given(seen),
        continuing=begun.continuing,
        opening=begun.digest,
        conversation=name_in(seen.conversation_id, seen.prompt_cache_key),
        session=session_in(seen.metadata),
    )


def _given(seen: PeekedRequest) -> tuple[str, ...]:
    return tuple(name for name in _OWN_FIELDS if is_given(getattr(seen, name)))


def decode_request(body: bytes, target: Target) -> Translated:
    """See `proxy.dialects.common.Dialect.decode_request`."""
    chat = decode_json(ChatRequest, body)
    translated = translate(chat, target)
    unknown = unknown_fields(body, _KNOWN)
    if not unknown:
        return translated
    return msgspec.structs.replace(translated, dropped=(*translated.dropped, *unknown))


def translate(chat: ChatRequest, target: Target) -> Translated:
    """The canonical form of a decoded request. Raises InvalidRequest naming the field."""
    check_supported(chat)
    if not chat.messages:
        raise InvalidRequest("messages has to hold at least one message.", param="messages")
    conversation = read_messages(
        chat.messages, recall=target.recall, thinking_back=target.thinking_back, files=target.files
    )
    return assembled(chat, conversation, target)


def assembled(chat: ChatRequest, conversation: Conversation, target: Target) -> Translated:
    """The canonical form of a conversation with what else the request says; its messages are not looked at again.

    Raises InvalidRequest naming the field.
    """
    facts, room = target.facts, StrictRoom()
    wanted = read_format(chat, facts, room)
    turns = ordered(conversation.turns, facts)
    tooling = read_tools(chat, turns, facts, room)
    if wanted.tool is not None:
        tooling = _with_answer_tool(tooling, wanted.tool)
    reasoning = read_reasoning(chat, target, no_budget=partial(_no_budget, tooling, turns))
    thinks = reasoning.thinks(facts)
    sampling = read_sampling(chat, target, thinks=thinks)
    turns = closed(turns, prefill=facts.prefill and not thinks and wanted.compiled is msgspec.UNSET)
    request = Request(
        model=target.model,
        max_tokens=reasoning.max_tokens,
        messages=turns if tooling.wish is None else _with_wish(turns, tooling.wish),
        system=conversation.system + _sentences(chat, wanted),
        stop_sequences=_stop(chat),
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        stream=target.stream,
        tools=tooling.tools,
        tool_choice=tooling.choice,
        thinking=reasoning.thinking,
        output_config=_output_config(reasoning, wanted),
        metadata=_metadata(chat),
        cache_control=whole_mark(chat),
        service_tier=service_tier(chat),
        speed=speed(chat, facts),
    )
    request, lost_marks = lawful(request)
    lost = conversation.dropped + tooling.dropped + reasoning.dropped + sampling.dropped
    return Translated(
        request,
        (*lost, *wanted.dropped, *lost_fields(chat, facts), *lost_marks),
        Demand.CALL if tooling.wants_call else wanted.demand,
        _form(chat, tooling, wanted),
        auto_cache=not only_marked(chat),
        invents_tools=bool(tooling.tools) and not chat.tools and not chat.functions and wanted.tool is None,
    )


def _form(chat: ChatRequest, tooling: Tooling, wanted: Format) -> AnswerForm:
    if not tooling.custom and not chat.functions:
        return wanted.form
    return msgspec.structs.replace(wanted.form, custom_tools=tooling.custom, legacy_call=bool(chat.functions))


def _with_answer_tool(tooling: Tooling, tool: Tool) -> Tooling:
    """The tools with the one the model has to give its answer to."""
    choice = ToolChoiceTool(tool.name, disable_parallel_tool_use=True)
    others = [other for other in tooling.tools if not isinstance(other, Tool) or other.name != tool.name]
    return Tooling([*others, tool], choice, None, tooling.dropped)


def _sentences(chat: ChatRequest, wanted: Format) -> list[TextBlock]:
    """What is asked for in words, behind the client's own instructions."""
    if chat.verbosity is None and wanted.sentence is None:
        return []
    sentences = (_LENGTHS.get(chat.verbosity or ""), wanted.sentence)
    return [TextBlock(sentence) for sentence in sentences if sentence is not None]


def _output_config(reasoning: Reasoning, wanted: Format) -> OutputConfig | None:
    if reasoning.effort is None and wanted.compiled is msgspec.UNSET:
        return None
    return OutputConfig(effort=reasoning.effort, format=wanted.compiled)


def _no_budget(tooling: Tooling, turns: list[InputMessage]) -> str | None:
    if tooling.forced:
        return "no thinking together with a forced tool call"
    if in_tool_turn(turns) and not begins_with_thinking(turns):
        return "no thinking in a tool turn that did not begin with it"
    return None


def _with_wish(turns: list[InputMessage], wish: str) -> list[InputMessage]:
    last = turns[-1]
    if last.role != "user":
        return [*turns[:-1], InputMessage(last.role, [*last.content, reminder(wish)])]
    return [*turns[:-1], InputMessage("user", [*last.content, reminder(wish)])]


def _stop(chat: ChatRequest) -> list[str]:
    """Stop sequences without the blank ones, which the upstream refuses."""
    if chat.stop is None:
        return []
    given = [chat.stop] if isinstance(chat.stop, str) else chat.stop
    return [text for text in given if text.strip()]


def _metadata(chat: ChatRequest) -> Metadata | None:
    """The end user under a name that tells the upstream nothing about who it is."""
    user = chat.safety_identifier or chat.user
    if not user:
        return None
    return Metadata(sha256(f"end user:{user}".encode()).hexdigest()[:32])
