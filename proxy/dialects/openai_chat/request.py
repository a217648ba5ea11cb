"""A Chat Completions request: the peek, and its translation to the canonical form.

The same history always gives the same bytes: prompt caches and thinking signatures depend on it.
"""

from hashlib import sha256

from proxy.dialects.common import Envelope, Target, Translated
from proxy.dialects.conversation import name_in, opening, session_in
from proxy.dialects.decoding import decode_json, is_given, unknown_fields
from proxy.dialects.openai_chat.fields import check_supported, lost_fields, service_tier
from proxy.dialects.openai_chat.marks import within_limit
from proxy.dialects.openai_chat.messages import read_messages
from proxy.dialects.openai_chat.schema import OWN_FIELDS, ChatRequest, PeekedRequest
from proxy.dialects.openai_chat.thinking import read_reasoning, read_sampling
from proxy.dialects.openai_chat.tools import Tooling, read_tools
from proxy.dialects.openai_chat.turns import begins_with_thinking, closed, in_tool_turn, ordered, reminder
from proxy.errors import InvalidRequest
from proxy.model.request import InputMessage, Metadata, OutputConfig, Request


def peek(body: bytes) -> Envelope:
    """See `proxy.dialects.common.Dialect.peek`."""
    seen = decode_json(PeekedRequest, body)
    options = seen.stream_options
    begun = opening(seen.messages)
    return Envelope(
        model=seen.model or "",
        stream=bool(seen.stream),
        include_usage=options is not None and bool(options.include_usage),
        own_fields=tuple(name for name in OWN_FIELDS if is_given(getattr(seen, name))),
        continuing=begun.continuing,
        opening=begun.digest,
        conversation=name_in(seen.conversation_id) or name_in(seen.prompt_cache_key),
        session=session_in(seen.metadata),
    )


def decode_request(body: bytes, target: Target) -> Translated:
    """See `proxy.dialects.common.Dialect.decode_request`."""
    chat = decode_json(ChatRequest, body)
    check_supported(chat)
    if not chat.messages:
        raise InvalidRequest("messages has to hold at least one message.", param="messages")
    conversation = read_messages(
        chat.messages, recall=target.recall, thinking_back=target.thinking_back, files=target.files
    )
    turns = ordered(conversation.turns, target.facts)
    tooling = read_tools(chat, turns, target.facts)
    reasoning = read_reasoning(chat, target, no_budget=_no_budget(tooling, turns))
    thinks = reasoning.thinks(target.facts)
    sampling = read_sampling(chat, target, thinks=thinks)
    turns = closed(turns, prefill=target.facts.prefill and not thinks)
    request = Request(
        model=target.model,
        max_tokens=reasoning.max_tokens,
        messages=turns if tooling.wish is None else _with_wish(turns, tooling.wish),
        system=conversation.system,
        stop_sequences=_stop(chat),
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        stream=target.stream,
        tools=tooling.tools,
        tool_choice=tooling.choice,
        thinking=reasoning.thinking,
        output_config=None if reasoning.effort is None else OutputConfig(effort=reasoning.effort),
        metadata=_metadata(chat),
        cache_control=chat.cache_control,
        service_tier=service_tier(chat),
    )
    request, lost_marks = within_limit(request)
    dropped = (
        conversation.dropped + tooling.dropped + reasoning.dropped + sampling.dropped + lost_fields(chat)
    )
    unknown = unknown_fields(body, ChatRequest.__struct_fields__)
    return Translated(request, (*dropped, *lost_marks, *unknown), tooling.wish is not None)


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
    given = [chat.stop] if isinstance(chat.stop, str) else chat.stop or []
    return [text for text in given if text.strip()]


def _metadata(chat: ChatRequest) -> Metadata | None:
    """The end user under a name that tells the upstream nothing about who it is."""
    user = chat.safety_identifier or chat.user
    if not user:
        return None
    return Metadata(sha256(f"end user:{user}".encode()).hexdigest()[:32])
