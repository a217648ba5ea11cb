"""Requests for claude.ai sessions: planned before anybody is asked, and taken elsewhere where no session can serve."""

from collections.abc import Mapping

import pytest

from proxy.credentials import Credential, Kind
from proxy.dialects.claude_web import Plan, decode_plan
from proxy.dispatch.prepare import Prepared, plan_session, read_session
from proxy.dispatch.trace import Trace
from proxy.errors import InvalidRequest
from proxy.exchange import Exchange
from proxy.pool import Success
from proxy.settings import RequestDefaults, WebSettings
from tests.unit.dispatch.asking import ask, turned_away
from tests.unit.dispatch.building import (
    CATALOG,
    CHAT,
    MESSAGE,
    MODEL,
    bench,
    body,
    credential,
    exchange,
    refused,
    whole,
)

_TOOL = {"name": "f", "input_schema": {"type": "object"}}
_WITH_TOOLS = body(tools=[_TOOL])


def _session(name: str, **changes: object) -> Credential:
    return credential(name, kind=Kind.CLAUDE_WEB, max_concurrency=1, **changes)


def _prepared(call: Exchange, settings: WebSettings | None = None) -> Prepared:
    defaults = RequestDefaults(
        model=None, temperature=None, max_tokens=None, thinking_format=None, web=settings or WebSettings()
    )
    return plan_session(call, defaults, read_session(call, CATALOG, defaults))


def _plan(call: Exchange, settings: WebSettings | None = None) -> Plan:
    return decode_plan(_prepared(call, settings).call.body)


@pytest.mark.parametrize("dialect", [None, CHAT])
def test_a_request_becomes_a_plan_and_what_is_lost_is_told(dialect: object) -> None:
    """Protects clients: both dialects come to the same question, and hear what is not carried."""
    raw = body(temperature=0.5)
    prepared = _prepared(exchange(raw) if dialect is None else exchange(raw, dialect=CHAT))
    plan = decode_plan(prepared.call.body)
    assert (plan.prompt.text, plan.model, plan.max_tokens) == ("Hello", MODEL, 64)
    assert "temperature" in {lost.field for lost in prepared.dropped}
    assert (prepared.rendering is None) is (dialect is None)


def test_a_suffix_asks_a_session_for_thinking_unless_the_client_says_otherwise() -> None:
    """Protects Messages clients that can only choose a model's name."""
    plain, disabled = body(max_tokens=4000), body(max_tokens=4000, thinking={"type": "disabled"})
    assert _plan(exchange(plain, think=True)).thinking
    assert not _plan(exchange(plain)).thinking
    assert not _plan(exchange(disabled, think=True)).thinking


def test_fields_of_ours_stay_here_and_are_told() -> None:
    """Protects the site from what only Claude Code understands."""
    prepared = _prepared(exchange(body(claude_options={})))
    assert "claude_options" in {lost.field for lost in prepared.dropped}


@pytest.mark.parametrize(
    ("settings", "changes"),
    [
        (WebSettings(), {"history": None}),
        (WebSettings(max_history_characters=1), {"attached": 1}),
        (WebSettings(role_prefixes=False), {"text": "a\n\nb\n\nc"}),
        (WebSettings(disable_artifacts=True), {"rule": True}),
        (WebSettings(delete=False), {"latest": "c"}),
    ],
)
def test_the_operators_settings_are_kept_to(settings: WebSettings, changes: Mapping[str, object]) -> None:
    """Protects each setting of sessions from being read and forgotten."""
    turns = [{"role": role, "content": text} for role, text in zip(("user", "assistant") * 2, "abc")]  # noqa: B905 - one fewer
    plan = _plan(exchange(body(messages=turns)), settings)
    seen = {
        "history": plan.history,
        "attached": len(plan.prompt.attachments),
        "text": plan.prompt.text,
        "rule": plan.prompt.text.startswith("System: Write all code"),
        "latest": plan.latest.text if plan.latest is not None else None,
    }
    assert {name: seen[name] for name in changes} == dict(changes)


def test_conversations_belong_to_the_client_that_had_them() -> None:
    """Protects one client key's past from another that says the same words."""
    kept = WebSettings(delete=False)
    histories = {
        plan.history.whole
        for name in ("ann", "bob")
        if (plan := _plan(exchange(client=name), kept)).history is not None
    }
    assert len(histories) == 2


def test_what_a_session_has_not_is_refused_by_name() -> None:
    """Protects clients from an answer without what they asked for."""
    with pytest.raises(InvalidRequest) as error:
        _prepared(exchange(_WITH_TOOLS))
    assert error.value.param == "tools"


async def test_a_request_no_session_can_serve_goes_to_the_others() -> None:
    """Protects mixed pools: sessions are passed over without an attempt, and their places are free again."""
    house, trace = (
        bench(whole(), credentials=[_session("a"), _session("b"), credential("key", tier=1)]),
        Trace(),
    )
    opened = await ask(house, exchange(_WITH_TOOLS), trace=trace)
    assert (trace.credential, trace.attempts, trace.failed) == ("key", 1, [])
    house.dispatcher.end(opened, Success())
    assert house.pool.in_flight == 0


async def test_where_nobody_can_serve_it_the_reason_is_told() -> None:
    """Protects clients from a riddle: the 400 names the field."""
    house = bench(credentials=[_session("a"), _session("b")])
    error = await turned_away(house, exchange(_WITH_TOOLS))
    assert (error.status, error.param) == (400, "tools")
    assert house.upstream.calls == []
    assert house.pool.in_flight == 0


async def test_where_who_could_serve_it_rests_that_is_told() -> None:
    """Protects clients from giving up on a request that an API key takes in a minute."""
    house = bench(refused(429), credentials=[_session("a", tier=1), credential("key")])
    assert (await turned_away(house, exchange(_WITH_TOOLS))).status == 429
    error = await turned_away(house, exchange(_WITH_TOOLS))
    assert (error.status, error.retry_after_s) == (503, 5.0)


async def test_a_session_is_asked_with_its_plan_and_a_key_with_the_clients_bytes() -> None:
    """Protects each kind from the other's words when an attempt moves from one to the other."""
    house = bench(refused(500), whole(MESSAGE), credentials=[_session("a"), credential("key", tier=1)])
    house.dispatcher.end(await ask(house), Success())
    (first, plan), (second, call) = house.upstream.calls
    assert (first, decode_plan(plan.body).prompt.text) == ("a", "Hello")
    assert (second, call.body) == ("key", body())
