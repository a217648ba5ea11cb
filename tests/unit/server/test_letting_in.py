"""While all processes are asked whether a request may begin, it is made ready; nobody else hears of it before."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import msgspec
import pytest

from proxy.access.keys import random_key
from proxy.access.rules import Rules
from proxy.dispatch.cache import AnswerCache
from proxy.dispatch.preparations import Preparations
from proxy.dispatch.prepare import Prepared
from proxy.server.app import ROUTES
from proxy.settings import CacheSettings
from proxy.store.shared import Refusal
from proxy.tasks import finish_all, spawn
from tests.support.counters import ToldCounters
from tests.support.house import eventually
from tests.unit.dispatch.building import WHOLE, Bench, bench, body, streamed, whole
from tests.unit.server.building import Client, client, services

_CHAT: Final = "/v1/chat/completions"
_MESSAGES: Final = "/v1/messages"
_RULES: Final = Rules(requests_per_minute=6, tokens_per_minute=10_000)


@dataclass(slots=True)
class _Told:
    """An answer: its status, the headers that tell of limits, and the body."""

    status: int
    limits: dict[str, str]
    body: bytes


@dataclass(slots=True)
class _Asking:
    """A client whose key is limited by several processes together."""

    client: Client
    key: str

    def ask(self, path: str = _MESSAGES, **fields: object) -> "asyncio.Task[_Told]":
        """Begin to ask."""
        return spawn(self._asked(path, body(**fields)), name="ask")

    async def _asked(self, path: str, data: bytes) -> _Told:
        async with self.client.post(path, data=data, headers={"x-api-key": self.key}) as answer:
            limits = {name.lower(): value for name, value in answer.headers.items()}
            limits = {name: value for name, value in limits.items() if name.startswith("x-ratelimit")}
            return _Told(answer.status, limits, await answer.read())


@asynccontextmanager
async def _asking(
    house: Bench, counters: ToldCounters, *, cache: AnswerCache | None = None
) -> AsyncIterator[_Asking]:
    shared, key = services(house, counters=counters), random_key()
    shared.cache = cache
    await shared.admission.desk.stored.add("work", _RULES, key)
    async with client(shared, ROUTES) as found:
        yield _Asking(found, key.reveal())
    await finish_all(within_s=5)


async def _begun(counters: ToldCounters, requests: int = 1) -> None:
    """So many have asked, and the last one has come as far as it can without an answer."""

    async def asked() -> bool:
        return len(counters.asked) >= requests

    await eventually(asked, 5)
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [_MESSAGES, _CHAT])
async def test_no_upstream_is_asked_before_the_request_was_let_in(path: str, *, stream: bool) -> None:
    """Protects a limit from calls that were made before it had its say, and the client from answers without it."""
    counters = ToldCounters(waits=True)
    house = bench(streamed(*WHOLE) if stream else whole())
    async with _asking(house, counters) as asking:
        answer = asking.ask(path, stream=stream)
        await _begun(counters)
        assert (house.upstream.calls, answer.done()) == ([], False)
        counters.answer()
        told = await answer
    assert (told.status, len(house.upstream.calls)) == (200, 1)
    assert told.limits["x-ratelimit-remaining-requests"] == "5"
    assert "x-ratelimit-remaining-tokens" in told.limits
    assert len(counters.settled) == 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [_MESSAGES, _CHAT])
async def test_a_request_that_is_not_let_in_goes_nowhere(path: str, *, stream: bool) -> None:
    """Protects the upstream's limits from a client that has used up its own."""
    counters = ToldCounters(waits=True)
    house = bench(whole())
    async with _asking(house, counters) as asking:
        answer = asking.ask(path, stream=stream)
        await _begun(counters)
        counters.answer(Refusal.REQUESTS)
        told = await answer
    assert (told.status, house.upstream.calls) == (429, [])
    assert told.limits["x-ratelimit-limit-requests"] == "6"
    assert counters.settled == []


@pytest.mark.parametrize(
    ("refusal", "status", "settled"), [(Refusal.NONE, 400, 1), (Refusal.REQUESTS, 429, 0)]
)
async def test_a_limit_comes_before_a_mistake_in_the_request(
    refusal: Refusal, status: int, settled: int
) -> None:
    """Protects clients from mending a request that may not be made now anyway; what is wrong holds nothing."""
    counters = ToldCounters(waits=True)
    house = bench(whole())
    async with _asking(house, counters) as asking:
        answer = asking.ask(_CHAT, messages=[{"role": "user", "content": 5}])
        await _begun(counters)
        assert not answer.done()
        counters.answer(refusal)
        told = await answer
    assert (told.status, house.upstream.calls) == (status, [])
    assert told.limits["x-ratelimit-limit-requests"] == "6"
    assert len(counters.settled) == settled


async def test_a_client_that_leaves_while_others_are_asked_holds_nothing() -> None:
    """Protects a limit from requests nobody waits for."""
    counters = ToldCounters(waits=True)
    house = bench(whole())
    async with _asking(house, counters) as asking:
        answer = asking.ask()
        await _begun(counters)
        answer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await answer

        async def left() -> bool:
            return counters.asked[0][1].cancelled()

        await eventually(left, 5)
    assert house.upstream.calls == []


@pytest.mark.parametrize(("characters", "prepared"), [(100, 1), (100_000, 0)])
async def test_only_what_takes_no_time_is_prepared_before_it_is_let_in(
    characters: int, prepared: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects everybody's time from a client that is over its limit and goes on asking long questions."""
    begun: list[Preparations] = []
    first = Preparations.first

    def counted(subject: Preparations) -> Prepared | None:
        begun.append(subject)
        return first(subject)

    monkeypatch.setattr(Preparations, "first", counted)
    counters = ToldCounters(waits=True)
    async with _asking(bench(whole()), counters) as asking:
        answer = asking.ask(_CHAT, messages=[{"role": "user", "content": "a" * characters}])
        await _begun(counters)
        assert len(begun) == prepared
        counters.answer(Refusal.REQUESTS)
        assert (await answer).status == 429


async def test_a_mistake_of_ours_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects a limit from a request that was given up while its leave was still asked for."""

    def fail(_: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(Preparations, "first", fail)
    counters = ToldCounters(waits=True)
    async with _asking(bench(whole()), counters) as asking:
        told = await asking.ask()
    assert (told.status, counters.asked[0][1].cancelled()) == (500, True)


async def test_what_is_kept_is_told_only_to_who_was_let_in() -> None:
    """Protects a limit from answers out of memory, which count as any other."""
    counters = ToldCounters()
    house = bench(whole())
    cache = AnswerCache(CacheSettings(enabled=True), house.clock)
    async with _asking(house, counters, cache=cache) as asking:
        assert (await asking.ask()).status == 200
        counters.waits = True
        answer = asking.ask()
        await _begun(counters, 2)
        assert not answer.done()
        counters.answer(Refusal.REQUESTS)
        told = await answer
    assert (told.status, msgspec.json.decode(told.body)["error"]["type"]) == (429, "rate_limit_error")


async def test_a_request_nobody_can_be_asked_about_is_decided_here() -> None:
    """Protects a request that waits for Redis in the moment in which that fails."""
    counters = ToldCounters(waits=True)
    house = bench(whole())
    async with _asking(house, counters) as asking:
        answer = asking.ask()
        await _begun(counters)
        counters.fail()
        told = await answer
    assert (told.status, told.limits["x-ratelimit-limit-requests"]) == (200, "3")
