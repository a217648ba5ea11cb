"""Requests go to kinds that carry them, in every dialect, and only where there is a choice."""

from collections.abc import Mapping

import msgspec
import pytest

from proxy.credentials import Credential, Kind
from proxy.dialects.openai_chat.text import OpenAITextDialect
from proxy.dialects.openai_responses import ResponsesDialect
from proxy.dispatch import dispatcher as dispatching
from proxy.dispatch.fitting import fitted
from proxy.exchange import Exchange, Operation
from proxy.pool import Success, Want
from proxy.settings import FetchRule, MediaSettings
from proxy.upstreams.media import Media
from tests.unit.dialects.openai_responses.building import call as responses_call
from tests.unit.dispatch.asking import ask, asked
from tests.unit.dispatch.building import (
    CATALOG,
    CHAT,
    MESSAGE,
    NO_DEFAULTS,
    bench,
    body,
    credential,
    exchange,
    refused,
    whole,
)

_MODEL = "claude-sonnet-4-6"
_TEXT = OpenAITextDialect()
_MIXED = frozenset({Kind.ANTHROPIC, Kind.CLAUDE_WEB})
_WEB_BEHIND = ((Kind.ANTHROPIC, 0), (Kind.CLAUDE_WEB, 1))
_WANT = Want(_MODEL, "sonnet-4", "client")
_TOOL = {"name": "f", "input_schema": {"type": "object"}}


def _session(name: str, **changes: object) -> Credential:
    return credential(name, kind=Kind.CLAUDE_WEB, max_concurrency=1, **changes)


async def _losses(call: Exchange, *, fetches: bool = False) -> object:
    media = Media(MediaSettings(fetch=FetchRule(enabled=fetches)))
    found = await fitted(_WANT, _MIXED, call, CATALOG, NO_DEFAULTS, media)
    return found.losses


def _call(**changes: object) -> Exchange:
    return exchange(**{"model": _MODEL, **changes})  # type: ignore[arg-type]  # fields of `Exchange`


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ()),
        ({"stop_sequences": ["x"], "system": "Be kind."}, ()),
        ({"temperature": 0.5}, _WEB_BEHIND),
        ({"tools": [_TOOL]}, _WEB_BEHIND),
        ({"container": "c"}, _WEB_BEHIND),
        ({"thread": {"type": "persistent"}}, _WEB_BEHIND),
        ({"messages": "none"}, _WEB_BEHIND),
    ],
    ids=["nothing", "carried", "sampling", "tools", "unknown to claude.ai", "threads", "unreadable"],
)
async def test_a_messages_request_is_read_where_kinds_differ(
    fields: Mapping[str, object], expected: object
) -> None:
    """Protects Messages clients: what only the API takes goes to the API, what cannot be read here too."""
    raw = body(**fields)
    call = _call(raw=body()) if "messages" in fields else _call(raw=raw)
    call.body = raw
    assert await _losses(call) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ()),
        ({"seed": 5}, ()),
        ({"seed": 5, "top_k": 3}, _WEB_BEHIND),
        ({"user": "u"}, _WEB_BEHIND),
        ({"n": 2}, ()),
    ],
    ids=["nothing", "lost everywhere", "lost at one", "end user", "refused everywhere"],
)
async def test_a_chat_request_is_read_too(fields: Mapping[str, object], expected: object) -> None:
    """Protects chat clients; what both kinds lose decides nothing."""
    assert await _losses(_call(raw=body(**fields), dialect=CHAT)) == expected


async def test_a_text_completion_is_read_too() -> None:
    """Protects clients of the oldest dialect."""
    raw = b'{"prompt":"Hi","temperature":0.5}'
    assert await _losses(_call(raw=raw, dialect=_TEXT)) == _WEB_BEHIND


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ()),
        ({"temperature": 0.5}, _WEB_BEHIND),
        ({"tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}]}, _WEB_BEHIND),
        ({"top_logprobs": 3, "metadata": {"a": "b"}, "container": "c", "aurora": 1}, ()),
        ({"input": 5}, ()),
    ],
    ids=["nothing", "lost at one", "tools", "lost before", "unreadable"],
)
async def test_a_response_is_asked_of_who_carries_what_is_left_of_it(
    fields: Mapping[str, object], expected: object
) -> None:
    """Protects clients of the Responses API: what is lost on the way into Claude's request is lost with every kind."""
    raw = msgspec.json.encode({"model": _MODEL, "input": "Hello", "store": False})
    call = _call(raw=raw, dialect=ResponsesDialect(responses_call()))
    call.body = msgspec.json.encode({**msgspec.json.decode(raw), **fields})
    assert await _losses(call) == expected


async def test_counts_are_asked_of_who_counts() -> None:
    """Protects clients that count tokens from an estimate where there is a true count."""
    assert await _losses(_call(operation=Operation.COUNT_TOKENS)) == _WEB_BEHIND


async def test_a_large_request_is_read_beside_the_loop() -> None:
    """Protects other clients' streams from a long history; the finding is the same."""
    raw = body(temperature=0.5, messages=[{"role": "user", "content": "x" * 200_000}])
    assert await _losses(_call(raw=raw)) == _WEB_BEHIND


async def test_urls_that_may_be_fetched_here_are_no_loss() -> None:
    """Protects the turns of sessions where the operator lets images be fetched for them."""
    image = {"type": "image", "source": {"type": "url", "url": "https://images.example/a.png"}}
    call = _call(raw=body(messages=[{"role": "user", "content": [image]}]))
    assert await _losses(call) == _WEB_BEHIND
    assert await _losses(call, fetches=True) == ()


async def test_a_request_with_a_temperature_goes_to_the_key_every_time() -> None:
    """Protects the whole way from the request to the choice; a plain one still turns round."""
    house = bench(
        *[whole(MESSAGE) for _ in range(8)], credentials=(_session("web"), credential("key", tier=1))
    )
    for _ in range(4):
        call = _call(raw=body(temperature=0.5))
        house.dispatcher.end(await ask(house, call), Success())
    assert asked(house) == ["key"] * 4
    house.dispatcher.end(await ask(house, _call()), Success())
    assert asked(house)[-1] == "web"


async def test_a_session_answers_when_the_key_rests_and_says_what_it_lost() -> None:
    """Protects clients from an error where an answer without a temperature is to be had."""
    house = bench(refused(429), whole(MESSAGE), credentials=(_session("web"), credential("key")))
    opened = await ask(house, _call(raw=body(temperature=0.5)))
    house.dispatcher.end(opened, Success())
    assert asked(house) == ["key", "web"]


async def test_a_pool_of_one_kind_looks_at_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the speed of ordinary pools: no request is read for a choice that is not there."""

    async def never(*_: object, **__: object) -> Want:
        raise AssertionError("a request was read for nothing")

    monkeypatch.setattr(dispatching, "fitted", never)
    house = bench(whole(MESSAGE), whole(MESSAGE))
    house.dispatcher.end(await ask(house, _call(raw=body(temperature=0.5))), Success())
    mixed = bench(whole(MESSAGE), credentials=(_session("web"), credential("key")))
    with pytest.raises(AssertionError, match="for nothing"):
        await ask(mixed, _call())


@pytest.mark.parametrize(
    ("fields", "loses"),
    [
        ({"tools": [_TOOL], "stop_sequences": ["x"]}, False),
        ({"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "I"}]}, True),
        ({"temperature": 0.5}, True),
        ({"container": "c"}, True),
        ({"mcp_servers": [{"type": "url", "url": "https://tools.example", "name": "a"}]}, True),
        ({"context_management": {"edits": []}}, False),
    ],
)
async def test_claude_code_is_asked_for_what_it_carries(fields: dict[str, object], *, loses: bool) -> None:
    """Protects requests from a refusal or a loss at Claude Code where an API key stands beside it."""
    kinds = frozenset({Kind.ANTHROPIC, Kind.CLAUDE_CODE})
    call = _call(raw=body(model=_MODEL, **fields))
    found = await fitted(_WANT, kinds, call, CATALOG, NO_DEFAULTS, Media(MediaSettings()))
    assert found.losses == (((Kind.ANTHROPIC, 0), (Kind.CLAUDE_CODE, 1)) if loses else ())


@pytest.mark.parametrize(
    "fields", [{}, {"temperature": 0.5, "tools": [_TOOL]}], ids=["plain", "with what it loses"]
)
async def test_options_of_claude_code_outweigh_all_it_loses(fields: dict[str, object]) -> None:
    """Protects what only Claude Code can do from being asked of an API key, which would carry more of the rest."""
    kinds = frozenset({Kind.ANTHROPIC, Kind.CLAUDE_CODE, Kind.CLAUDE_WEB})
    call = _call(raw=body(model=_MODEL, claude_options={"tools": ["Read"]}, **fields))
    found = await fitted(_WANT, kinds, call, CATALOG, NO_DEFAULTS, Media(MediaSettings()))
    lost = dict(found.losses)
    assert lost.keys() == kinds
    assert min(lost, key=lambda kind: lost[kind]) is Kind.CLAUDE_CODE
    others = frozenset({Kind.ANTHROPIC, Kind.CLAUDE_WEB})
    without = await fitted(_WANT, others, call, CATALOG, NO_DEFAULTS, Media(MediaSettings()))
    assert all(number < 100 for _, number in without.losses)
