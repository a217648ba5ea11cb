"""An exchange is made ready once for each way of asking, and never for another request than the client's."""

import random
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from proxy.credentials import Credential, Kind
from proxy.dialects.common import Dialect
from proxy.dialects.openai_chat import OpenAIChatDialect
from proxy.dispatch import preparations
from proxy.dispatch.preparations import Preparations
from proxy.dispatch.prepare import Prepared
from proxy.errors import GatewayError
from proxy.exchange import Exchange
from proxy.model.aliases import AliasRules
from proxy.model.names import ModelNames
from proxy.pool import Lease, Pool, RetryBudget, Walk, Want
from proxy.settings import Policy
from tests.support.clock import FakeClock
from tests.unit.dispatch.building import (
    ANTHROPIC,
    CATALOG,
    MEMORY,
    MODEL,
    NO_DEFAULTS,
    body,
    credential,
    exchange,
)


def _lease(member: Credential) -> Lease:
    clock, policy, rng = FakeClock(), Policy(), random.Random(1)
    pool = Pool([member], policy=policy, clock=clock, rng=rng)
    walk = Walk(policy, clock, RetryBudget(policy, clock), clock.now_s + 600, rng)
    found = pool.pick(Want(MODEL, "sonnet-5-5", "client"), walk)
    assert isinstance(found, Lease)
    return found


def _preparations(call: Exchange | None = None, *, drops: bool = False) -> Preparations:
    names = ModelNames(CATALOG, AliasRules(), FakeClock())
    defaults = replace(NO_DEFAULTS, fallback_drops_claude_options=drops)
    return Preparations(call or exchange(), CATALOG, names, defaults, MEMORY)


PLAIN = credential("api-1")
KEPT = credential("api-2", model="opus")
OPENAI_CHAT = OpenAIChatDialect()
OTHER = credential("other", kind=Kind.OPENAI, model="gpt-4o")


async def test_each_way_of_asking_is_made_ready_once() -> None:
    """Protects the time of a walk over many credentials."""
    made = _preparations()
    first = made.first()
    assert await made.chosen(_lease(PLAIN)) is first
    other = await made.chosen(_lease(OTHER))
    assert await made.chosen(_lease(OTHER)) is other
    assert made.latest is other
    assert await made.chosen(_lease(PLAIN)) is first
    assert made.latest is first


@pytest.mark.parametrize(
    ("member", "model"),
    [(PLAIN, MODEL), (KEPT, "claude-opus-5-5"), (OTHER, "gpt-4o"), (replace(OTHER, model="opus"), "opus")],
)
async def test_a_credentials_own_model_replaces_the_clients(member: Credential, model: str) -> None:
    """Protects the operator's choice: aliases hold for Claude's names, another API's are taken as they are."""
    assert (await _preparations().chosen(_lease(member))).model == model


_BEYOND = [
    {"tools": ["Read"]},
    {"files": ["a.txt"]},
    {"images": ["a.png"]},
    {"session_id": "x"},
    {"continue": True},
]


@pytest.mark.parametrize("options", _BEYOND, ids=lambda options: next(iter(options)))
async def test_a_last_resort_is_not_asked_for_what_it_cannot_do(options: dict[str, object]) -> None:
    """Protects clients that count on tools, files or a session from an answer without them."""
    call = exchange(body(claude_options=options))
    with pytest.raises(GatewayError) as caught:
        await _preparations(call).chosen(_lease(OTHER))
    assert caught.value.status == 503
    assert caught.value.param == f"claude_options.{next(iter(options))}"
    assert (await _preparations(call).chosen(_lease(PLAIN))).model == MODEL


@pytest.mark.parametrize("options", [None, {}, {"tools": []}, {"debug": True}, 7])
async def test_options_that_ask_for_nothing_special_keep_nobody_away(options: object) -> None:
    """Protects clients from losing their last resort to an empty field."""
    prepared = await _preparations(exchange(body(claude_options=options))).chosen(_lease(OTHER))
    assert b"claude_options" not in prepared.call.body


async def test_the_operator_may_let_them_be_dropped() -> None:
    """Protects the operator's choice, and the client from not knowing."""
    call = exchange(body(claude_options={"tools": ["Read"]}))
    prepared = await _preparations(call, drops=True).chosen(_lease(OTHER))
    assert "claude_options" in [item.field for item in prepared.dropped]


@pytest.mark.parametrize(
    ("dialect", "member", "size", "apart"),
    [
        (OPENAI_CHAT, PLAIN, 200_000, True),
        (OPENAI_CHAT, OTHER, 200_000, True),
        (OPENAI_CHAT, PLAIN, 1000, False),
        (OPENAI_CHAT, OTHER, 1000, False),
        (ANTHROPIC, PLAIN, 200_000, False),
        (ANTHROPIC, OTHER, 200_000, True),
        (ANTHROPIC, OTHER, 1000, False),
    ],
)
async def test_much_is_translated_in_a_thread_and_all_else_where_it_is(
    monkeypatch: pytest.MonkeyPatch, dialect: Dialect, member: Credential, size: int, apart: bool
) -> None:
    """Protects the streams of other clients from a long history, and short requests from the way to a thread."""
    seen: list[threading.Thread] = []
    for name in ("prepare", "prepare_chat"):
        original = getattr(preparations, name)

        def watched(
            *arguments: object, original: Callable[..., Prepared] = original, **named: object
        ) -> Prepared:
            seen.append(threading.current_thread())
            return original(*arguments, **named)

        monkeypatch.setattr(preparations, name, watched)
    call = exchange(body(max_tokens=9, messages=[{"role": "user", "content": "x" * size}]), dialect=dialect)
    prepared = await _preparations(call).chosen(_lease(member))
    assert b"x" * size in prepared.call.body
    assert [thread is not threading.main_thread() for thread in seen] == [apart]
