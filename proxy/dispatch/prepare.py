"""What goes upstream for an exchange: the body as received, its envelope edited, or the request translated."""

from functools import partial
from typing import Final

import msgspec

from proxy.dialects.anthropic import (
    encode_count,
    encode_request,
    holds_our_signatures,
    with_cache_marks,
    without_foreign_thinking,
)
from proxy.dialects.claude_web import PromptOptions, encode_plan, plan_request
from proxy.dialects.common import (
    AnswerForm,
    Demand,
    Dropped,
    Keep,
    Recall,
    Rendering,
    Target,
    ThinkingFormat,
    Translated,
    nothing_recalled,
)
from proxy.dialects.decoding import decode_json
from proxy.dialects.openai_chat.upstream import encode_request as encode_chat
from proxy.dialects.openai_chat.upstream import passing_body
from proxy.dialects.references import refuse_local_files
from proxy.dialects.splicing import splice, without_doubles
from proxy.dispatch.naming import dropped_by_name, refused_by_name
from proxy.dispatch.thinking import ThinkingMemory
from proxy.errors import InvalidRequest
from proxy.exchange import Exchange, Operation
from proxy.model.catalog import Catalog, ModelFacts, ThinkingMode
from proxy.model.request import Thinking, ThinkingAdaptive, ThinkingEnabled
from proxy.settings import RequestDefaults, WebSettings
from proxy.upstreams.base import UpstreamCall

# every look-up of a member in its class is a call
_COUNT_TOKENS: Final = Operation.COUNT_TOKENS
_THINK: Final = ThinkingFormat.THINK
_REASONING: Final = ThinkingFormat.REASONING_CONTENT
_TRANSLATED_VERSION: Final = "2023-06-01"
_THINKING_TOKENS: Final = 8192
_THINKING_LEAST_TOKENS: Final = 1024
_COLLECT_ABOVE_TOKENS: Final = 21_000
_SERVERS: Final = "mcp_servers"
_NO_MEANING: Final = "has no meaning for this credential"


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """An exchange made ready for upstreams of one dialect.

    Attributes:
        call: what goes out.
        model: the model that is asked.
        rendering: how the answer is translated; None where its bytes go to the client untouched.
        collect: whether a streamed answer is gathered into a whole one for a client that asked for no stream.
        dropped: what could not be carried.
        demand: what a whole answer is asked for once more where it lacks it.
        hides_usage: whether a chunk of usage alone is kept from a client that did not ask for it.
    """

    call: UpstreamCall
    model: str
    rendering: Rendering | None = None
    collect: bool = False
    dropped: tuple[Dropped, ...] = ()
    demand: Demand | None = None
    hides_usage: bool = False


def prepare(
    exchange: Exchange,
    catalog: Catalog,
    defaults: RequestDefaults,
    memory: ThinkingMemory,
    *,
    model: str | None = None,
) -> Prepared:
    """Make an exchange ready for Anthropic's API, for its own model or another.

    `memory` holds the thinking that clients of other dialects do not bring back. Raises InvalidRequest where the
    request cannot be carried.
    """
    model = exchange.model if model is None else model
    if exchange.dialect.name == "anthropic":
        return _native(exchange, catalog.facts(model), model)
    return _translated(exchange, catalog.facts(model), defaults, model, memory)


def without_thinking(
    prepared: Prepared,
    exchange: Exchange,
    catalog: Catalog,
    defaults: RequestDefaults,
    memory: ThinkingMemory,
) -> Prepared | None:
    """The same without thinking of earlier turns, which is remembered no more; None where we have put none in.

    A Messages client's own blocks are its own matter: its request is never changed for their sake.
    """
    if exchange.dialect.name == "anthropic" or not exchange.body:
        return None
    model = prepared.model
    plain = _translated(exchange, catalog.facts(model), defaults, model, memory, thinking_back=False)
    return plain if plain.call.body != prepared.call.body else None


def prepare_chat(
    exchange: Exchange, catalog: Catalog, defaults: RequestDefaults, *, model: str | None = None
) -> Prepared:
    """The same for APIs that speak Chat Completions: a chat client's body as it came, any other translated."""
    model = exchange.model if model is None else model
    if exchange.dialect.name == "openai_chat":
        return _passing(exchange, model)
    target = _target(exchange, catalog.facts(exchange.model), defaults, exchange.model)
    translated = exchange.dialect.decode_request(exchange.body, target)
    request = msgspec.structs.replace(translated.request, model=model)
    body, dropped = encode_chat(request)
    return Prepared(
        call=_chat_call(exchange, body),
        model=model,
        rendering=_rendering(exchange, defaults, model, translated.form),
        dropped=(*translated.dropped, *dropped),
    )


def _passing(exchange: Exchange, model: str) -> Prepared:
    envelope = exchange.envelope
    refuse_local_files(exchange.body)
    body, dropped = passing_body(
        exchange.body,
        model=model,
        stream=envelope.stream,
        include_usage=envelope.include_usage,
        own_fields=envelope.own_fields,
    )
    if exchange.think:
        dropped += (Dropped("model", "the model decides itself whether it thinks"),)
    return Prepared(
        call=_chat_call(exchange, body),
        model=model,
        dropped=dropped,
        hides_usage=envelope.stream and not envelope.include_usage,
    )


def read_session(
    exchange: Exchange, catalog: Catalog, defaults: RequestDefaults, *, model: str | None = None
) -> Translated:
    """What is to be asked of claude.ai, before it is planned. Raises InvalidRequest where it cannot be read."""
    model = exchange.model if model is None else model
    native = exchange.dialect.name == "anthropic"
    target = _target(exchange, catalog.facts(model), defaults, model)
    body = exchange.body
    if native and exchange.operation is _COUNT_TOKENS:
        # a count has no answer that could be too long
        body = splice(body, set={"max_tokens": b"1"}, remove=())
    translated = exchange.dialect.decode_request(body, target)
    request, lost = translated.request, translated.dropped
    if native:
        lost += tuple(Dropped(name, _NO_MEANING) for name in exchange.envelope.own_fields)
        if exchange.think and request.thinking is None:
            thinking = _thinking(catalog.facts(model), request.max_tokens)
            request = msgspec.structs.replace(request, thinking=thinking)
    if translated.invents_tools:
        # where calls are told in words nobody misses their tools
        request = msgspec.structs.replace(request, tools=[], tool_choice=None)
    return msgspec.structs.replace(translated, request=request, dropped=lost)


def plan_session(exchange: Exchange, defaults: RequestDefaults, asked: Translated) -> Prepared:
    """Make it ready for claude.ai, whose answers are told in the API's events.

    Raises InvalidRequest for what claude.ai has not; bytes have to stand in place of URLs.
    """
    request, model = asked.request, asked.request.model
    try:
        _check_no_servers(exchange, asked)
        plan = plan_request(request, _prompt_options(defaults.web), exchange.client)
    except InvalidRequest as refused:
        raise refused_by_name(exchange, refused) from None
    call = UpstreamCall(
        operation=exchange.operation, body=encode_plan(plan), stream=exchange.stream, version=""
    )
    return Prepared(
        call=call,
        model=model,
        rendering=None
        if exchange.dialect.name == "anthropic"
        else _rendering(exchange, defaults, model, asked.form),
        dropped=(*asked.dropped, *dropped_by_name(exchange, plan.dropped)),
    )


class _WithServers(msgspec.Struct):
    mcp_servers: list[msgspec.Raw] | None = None


def _check_no_servers(exchange: Exchange, asked: Translated) -> None:
    """Raises InvalidRequest for tools of MCP servers, a field of the Messages API that no canonical request has."""
    if exchange.dialect.name != "anthropic" or not any(one.field == _SERVERS for one in asked.dropped):
        return
    if decode_json(_WithServers, exchange.body).mcp_servers:
        raise InvalidRequest(
            "A claude.ai session cannot call tools of MCP servers; an API key can.",
            param=_SERVERS,
            code="unsupported_parameter",
        )


def _prompt_options(settings: WebSettings) -> PromptOptions:
    return PromptOptions(
        max_history_characters=settings.max_history_characters,
        role_prefixes=settings.role_prefixes,
        disable_artifacts=settings.disable_artifacts,
        continues=not settings.delete,
    )


def _chat_call(exchange: Exchange, body: bytes) -> UpstreamCall:
    return UpstreamCall(operation=exchange.operation, body=body, stream=exchange.stream, version="")


def _native(exchange: Exchange, facts: ModelFacts, model: str) -> Prepared:
    body = exchange.body
    envelope = exchange.envelope
    dropped: tuple[Dropped, ...] = ()
    if model != envelope.model or envelope.own_fields:
        changes = {"model": msgspec.json.encode(model)}
        if exchange.think and not envelope.has_thinking:
            thinking = _thinking(facts, envelope.max_tokens)
            if thinking is not None:
                changes["thinking"] = msgspec.json.encode(thinking)
        body = splice(body, set=changes, remove=envelope.own_fields)
        dropped = tuple(Dropped(name, _NO_MEANING) for name in envelope.own_fields)
    elif exchange.rewritten:
        body = without_doubles(body)
    if envelope.continuing and holds_our_signatures(body):
        body, lost = without_foreign_thinking(body, for_anthropic=True)
        dropped += lost
    call = UpstreamCall(
        operation=exchange.operation,
        body=body,
        stream=envelope.stream,
        version=exchange.version or _TRANSLATED_VERSION,
        beta=exchange.beta,
    )
    return Prepared(call=call, model=model, dropped=dropped)


def _thinking(facts: ModelFacts, max_tokens: int | None) -> Thinking | None:
    """What a ``-think`` suffix asks for in a request that does not say it itself; None where there is no room."""
    if ThinkingMode.ADAPTIVE in facts.thinking_modes:
        return ThinkingAdaptive(display="summarized")
    if max_tokens is None or max_tokens <= _THINKING_LEAST_TOKENS:
        return None
    return ThinkingEnabled(budget_tokens=min(_THINKING_TOKENS, max_tokens - 1))


def _thinking_format(exchange: Exchange, defaults: RequestDefaults) -> ThinkingFormat:
    """The operator's choice, else ``<think>`` for ids with the suffix that asks for it."""
    if (choice := defaults.thinking_format) is not None:
        return ThinkingFormat(choice)
    return _THINK if exchange.think else _REASONING


def _target(
    exchange: Exchange,
    facts: ModelFacts,
    defaults: RequestDefaults,
    model: str,
    recall: Recall = nothing_recalled,
    *,
    thinking_back: bool = True,
) -> Target:
    return Target(
        facts=facts,
        model=model,
        think=exchange.think,
        stream=exchange.stream,
        default_max_tokens=defaults.max_tokens,
        default_temperature=defaults.temperature,
        recall=recall,
        thinking_back=thinking_back,
        files=exchange.files,
    )


def _rendering(
    exchange: Exchange, defaults: RequestDefaults, model: str, form: AnswerForm, keep: Keep | None = None
) -> Rendering:
    return Rendering(
        request_id=exchange.id,
        created_s=exchange.created_s,
        model=model,
        thinking_format=_thinking_format(exchange, defaults),
        include_usage=exchange.envelope.include_usage,
        keep=keep,
        form=form,
    )


def _translated(
    exchange: Exchange,
    facts: ModelFacts,
    defaults: RequestDefaults,
    model: str,
    memory: ThinkingMemory,
    *,
    thinking_back: bool = True,
) -> Prepared:
    recall = partial(memory.recall if thinking_back else memory.forget, exchange.client)
    target = _target(exchange, facts, defaults, model, recall, thinking_back=thinking_back)
    translated = exchange.dialect.decode_request(exchange.body, target)
    request = translated.request
    if exchange.envelope.continuing and defaults.auto_cache and translated.auto_cache:
        request = with_cache_marks(request, facts)
    counting = exchange.operation is _COUNT_TOKENS
    collect = not (exchange.stream or counting) and request.max_tokens > _COLLECT_ABOVE_TOKENS
    if collect:
        request = msgspec.structs.replace(request, stream=True)
    call = UpstreamCall(
        operation=exchange.operation,
        body=encode_count(request) if counting else encode_request(request),
        stream=(exchange.stream or collect) and not counting,
        version=_TRANSLATED_VERSION,
    )
    return Prepared(
        call=call,
        model=model,
        rendering=_rendering(
            exchange, defaults, model, translated.form, partial(memory.keep, exchange.client)
        ),
        collect=collect,
        dropped=translated.dropped,
        demand=translated.demand,
    )
