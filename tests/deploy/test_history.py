"""Two replicas, Redis and nginx under faults: what clients and operators saw is checked for what must not be."""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
import pytest

from proxy.clock import SystemClock
from proxy.simulator import Simulator, Step
from tests.support.gateway import ADMIN_KEY, CLIENT_KEY, Gateway, gateway
from tests.support.history import (
    REDIS,
    STOPPED,
    Ban,
    History,
    Patience,
    Span,
    at_once,
    overdrawn,
    told,
    twice,
    used_in_spite,
)
from tests.support.house import MODEL, Spoken, body_of, configuration, eventually, simulated, until
from tests.support.nginx import free_port, nginx
from tests.support.objects import MULTIPART, multipart
from tests.support.real_redis import PROGRAM, SECRET_KEY, RealRedis, real_redis
from tests.support.soak import seeded, sized
from tests.support.wall_clock import WallClock
from tests.support.web_sessions import session_entry

pytestmark = pytest.mark.needs("nginx", PROGRAM)

_SECONDS: Final = sized(full=300.0, short=0.0)
"""Troubles go on for so long, and each comes once at least."""

_AWAY_S: Final = sized(full=3.0, short=0.7)
_STOPPED_S: Final = sized(full=20.0, short=1.5)
_QUIET_S: Final = sized(full=4.0, short=0.5)
_BANNED_S: Final = sized(full=8.0, short=3.5)
_HEARD: Final = Patience(heard_s=sized(full=1.5, short=2.5), settled_s=sized(full=5.0, short=10.0))
"""As promised in full; the short form runs beside other tests."""

_LIMIT: Final = 30
_WINDOW_S: Final = 60.0
_OFF_BY: Final = 1.5
_CLOCK_WRONG_BY_S: Final = (-7200, -60, 60, 7200)
_TRIED_MODEL: Final = "claude-haiku-5-5"
_WEB_MODEL: Final = "claude-opus-5-5"
_COOKIE: Final = "sk-ant-sid01-canary-one"
_KEYS: Final = ("k1", "k2", "k3")
_BANNED: Final = "k1"
_ADMINISTRATOR: Final = {"authorization": f"Bearer {ADMIN_KEY}"}
_COMES_BACK: Final = {"retry-after": "1"}
_clock: Final = SystemClock()


def _credentials(url: str) -> list[Mapping[str, object]]:
    return [
        *[{"name": f"api-{key}", "key": key, "models": [MODEL]} for key in _KEYS],
        {"name": "tried", "key": "k4", "models": [_TRIED_MODEL]},
        {**session_entry(url, _COOKIE), "models": [_WEB_MODEL]},
    ]


@dataclass(slots=True)
class _Replica:
    """A gateway that keeps its address and its folder when it is killed."""

    folder: Path
    settings: dict[str, str]
    stack: AsyncExitStack
    port: int = field(default_factory=free_port)
    running: Gateway | None = None
    clock: WallClock = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.clock = WallClock(self.folder / "wrong-by")

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start it, or start it anew."""
        settings = {**self.settings, "ADDRESS": f"127.0.0.1:{self.port}"}
        with self.clock.used():
            self.running = await self.stack.enter_async_context(gateway(self.folder, settings))

    async def kill(self) -> None:
        """Kill it."""
        if self.running is not None:
            await self.running.stop(signal.SIGKILL)

    def signal(self, number: signal.Signals) -> None:
        """Have it stand still, or go on."""
        if self.running is not None:
            self.running.program.send(number)


@dataclass(slots=True)
class _Site:
    """All of it, and what happened.

    Attributes:
        front: where clients ask, nginx.
        statuses: of all answers, with how often; what was no answer is 0.
        uploads: orders to upload a file, from the first time they were sent to the last.
        lost: answers about stored responses that should have been others.
        over: set when clients may go home.
    """

    front: str
    replicas: tuple[_Replica, ...]
    redis: RealRedis
    simulator: Simulator
    session: aiohttp.ClientSession
    rng: random.Random
    history: History = field(default_factory=History)
    statuses: Counter[int] = field(default_factory=Counter)
    uploads: dict[str, Span] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def call(
        self, method: str, url: str, body: bytes | None = None, *, key: str = CLIENT_KEY, **headers: str
    ) -> tuple[int, bytes]:
        """Status and body of an answer; status 0 where there was none."""
        sent = {
            "authorization": f"Bearer {key}",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        try:
            async with self.session.request(method, url, data=body, headers=sent) as answer:
                found = answer.status, await answer.read()
        except (aiohttp.ClientError, TimeoutError):
            found = 0, b""
        self.statuses[found[0]] += 1
        return found

    def any_url(self) -> str:
        """One of the replicas."""
        return self.rng.choice(self.replicas).url

    def between(self, began_s: float, ended_s: float) -> bool:
        """Whether Redis was away at some moment of that time, or had not settled."""
        return bool(self.history.between(began_s - _HEARD.settled_s, ended_s, REDIS))


# what clients do


async def _ask(site: _Site) -> None:
    """A question to whoever is free, through nginx."""
    await site.call("POST", site.front + Spoken.MESSAGES, body_of(Spoken.MESSAGES, stream=False))
    await asyncio.sleep(0.02)


async def _ask_limited(site: _Site, key: str) -> None:
    """A question of a client that has a limit."""
    body = body_of(Spoken.CHAT, stream=False)
    if (await site.call("POST", site.front + Spoken.CHAT, body, key=key))[0] == 200:
        site.history.granted_s.append(_clock.monotonic_s())
    await asyncio.sleep(0.1)


async def _ask_for(site: _Site, replica: _Replica, model: str) -> None:
    """A question that only one credential answers, at one replica."""
    await site.call(
        "POST", replica.url + Spoken.MESSAGES, body_of(Spoken.MESSAGES, stream=False, model=model)
    )
    await asyncio.sleep(0.1)


async def _disable_and_enable(site: _Site) -> None:
    """Take a credential out at one replica, and bring it back at another."""
    path = f"/admin/pool/api-{_BANNED}"
    if (await site.call("POST", f"{site.any_url()}{path}/disable", key=ADMIN_KEY))[0] == 200:
        await _banned(site, _BANNED)
    while (await site.call("POST", f"{site.any_url()}{path}/enable", key=ADMIN_KEY))[0] != 200:  # noqa: ASYNC110 - only the answer tells
        await asyncio.sleep(0.2)
    await asyncio.sleep(1.0)


async def _banned(site: _Site, what: str) -> None:
    """From now on something is not to be used, for a while."""
    acknowledged_s = _clock.monotonic_s()
    await asyncio.sleep(_BANNED_S)
    site.history.bans.append(Ban(what, acknowledged_s, _clock.monotonic_s()))


async def _make_and_revoke(site: _Site) -> None:
    """Make a client key, end it, and have somebody try it at all replicas meanwhile."""
    name = f"key-{site.rng.randrange(2**32)}"
    wanted = msgspec.json.encode({"name": name})
    status, said = await site.call("POST", f"{site.any_url()}/admin/keys", wanted, key=ADMIN_KEY)
    if status != 201:
        await asyncio.sleep(0.2)
        return
    key = msgspec.json.decode(said, type=dict[str, str])["key"]
    if (await site.call("DELETE", f"{site.any_url()}/admin/keys/{name}", key=ADMIN_KEY))[0] != 200:
        return
    async with asyncio.TaskGroup() as group:
        banned = group.create_task(_banned(site, name))
        while not banned.done():
            for replica in site.replicas:
                began_s = _clock.monotonic_s()
                if (await site.call("GET", f"{replica.url}/stats", key=key))[0] == 200:
                    site.history.uses.append(Span(name, began_s, _clock.monotonic_s(), f"{replica.port}"))
            await asyncio.sleep(0.1)


async def _upload(site: _Site) -> None:
    """One order to upload a file, sent to both replicas at once, and once more afterwards."""
    name, began_s = f"file-{site.rng.randrange(2**32)}.txt", _clock.monotonic_s()
    body = multipart(name.encode(), filename=name)
    headers = {"content_type": MULTIPART, "idempotency_key": name, "anthropic_version": "2023-06-01"}
    urls = [f"{replica.url}/v1/files" for replica in site.replicas]
    await asyncio.gather(*(site.call("POST", url, body, **headers) for url in urls))
    await site.call("POST", f"{site.front}/v1/files", body, **headers)
    site.uploads[name] = Span(name, began_s, _clock.monotonic_s())
    await asyncio.sleep(0.3)


async def _respond(site: _Site) -> None:
    """Have a response stored, read it everywhere, delete it, and read it no more."""
    began_s = _clock.monotonic_s()
    body = msgspec.json.encode({"model": MODEL, "input": "Remember this."})
    status, said = await site.call(
        "POST", f"{site.front}/v1/responses", body, content_type="application/json"
    )
    if status == 200:
        path = f"/v1/responses/{msgspec.json.decode(said, type=dict[str, object])['id']}"
        await _read_response(site, path, began_s, wrong=404)
        if (await site.call("DELETE", site.any_url() + path))[0] == 200:
            await _read_response(site, path, began_s, wrong=200)
    await asyncio.sleep(0.3)


async def _read_response(site: _Site, path: str, since_s: float, *, wrong: int) -> None:
    for replica in site.replicas:
        if (await site.call("GET", replica.url + path))[0] != wrong:
            continue
        # what could not be told at once is told with the next beat; and whether Redis was away is known when it is back
        await asyncio.sleep(_HEARD.heard_s)
        status, _ = await site.call("GET", replica.url + path)
        if status == wrong and not site.between(since_s, _clock.monotonic_s()):
            site.lost.append(f"{status} for {path} at {replica.port}")


# what befalls them


async def _lose_redis(site: _Site) -> None:
    """Redis is killed, and comes back empty."""
    async with _redis_away(site):
        await site.redis.kill()
        await asyncio.sleep(_AWAY_S)
        await site.redis.start()


async def _freeze_redis(site: _Site) -> None:
    """Redis takes connections and answers nothing."""
    async with _redis_away(site):
        site.redis.freeze()
        await asyncio.sleep(_AWAY_S)
        site.redis.thaw()


@asynccontextmanager
async def _redis_away(site: _Site) -> AsyncIterator[None]:
    began_s = _clock.monotonic_s()
    # clients that look meanwhile are to know of it
    site.history.troubles.append(Span(REDIS, began_s, float("inf")))
    yield
    for replica in site.replicas:
        await eventually(partial(_whole, site, replica))
    site.history.troubles[-1] = Span(REDIS, began_s, _clock.monotonic_s())


async def _whole(site: _Site, replica: _Replica) -> bool:
    status, said = await site.call("GET", f"{replica.url}/health")
    return status == 200 and b'"degraded":false' in said.replace(b" ", b"")


async def _kill_replica(site: _Site) -> None:
    """A replica is killed, and started anew in its folder."""
    replica, began_s = site.rng.choice(site.replicas), _clock.monotonic_s()
    await replica.kill()
    await replica.start()
    site.history.troubles.append(Span(f"{replica.port} killed", began_s, _clock.monotonic_s()))


async def _stop_replica(site: _Site) -> None:
    """A replica stands still, and goes on as if nothing had been."""
    replica, began_s = site.rng.choice(site.replicas), _clock.monotonic_s()
    site.history.troubles.append(Span(STOPPED, began_s, float("inf")))
    replica.signal(signal.SIGSTOP)
    await asyncio.sleep(_STOPPED_S)
    replica.signal(signal.SIGCONT)
    site.history.troubles[-1] = Span(STOPPED, began_s, _clock.monotonic_s())


async def _set_clock(site: _Site) -> None:
    """A replica's wall clock is wrong for a while."""
    replica, began_s = site.rng.choice(site.replicas), _clock.monotonic_s()
    replica.clock.set(wrong_by_s := site.rng.choice(_CLOCK_WRONG_BY_S))
    await asyncio.sleep(_AWAY_S)
    replica.clock.set(0)
    site.history.troubles.append(Span(f"{replica.port} by {wrong_by_s} s", began_s, _clock.monotonic_s()))


_TROUBLES: Final[tuple[Callable[[_Site], Awaitable[None]], ...]] = (
    _lose_redis,
    _kill_replica,
    _set_clock,
    _stop_replica,
    _freeze_redis,
)


async def _trouble(site: _Site) -> None:
    """One after the other, in some order, for as long as it goes on."""
    began_s = _clock.monotonic_s()
    rounds = 0
    while rounds == 0 or _clock.monotonic_s() - began_s < _SECONDS:
        for cause in site.rng.sample(_TROUBLES, len(_TROUBLES)):
            await asyncio.sleep(_QUIET_S)
            await cause(site)
        rounds += 1
    await asyncio.sleep(_QUIET_S)
    site.over.set()


async def _again(site: _Site, work: Callable[[], Awaitable[None]]) -> None:
    while not site.over.is_set():
        await work()


async def _run(site: _Site) -> None:
    """Clients and troubles until it is over."""
    wanted = msgspec.json.encode({"name": "limited", "requests_per_minute": _LIMIT})
    status, said = await site.call("POST", f"{site.any_url()}/admin/keys", wanted, key=ADMIN_KEY)
    assert status == 201
    limited = msgspec.json.decode(said, type=dict[str, str])["key"]
    works: list[Callable[[], Awaitable[None]]] = [
        *(
            partial(work, site)
            for work in (_ask, _ask, _disable_and_enable, _make_and_revoke, _upload, _respond)
        ),
        partial(_ask_limited, site, limited),
        *(
            partial(_ask_for, site, replica, model)
            for replica in site.replicas
            for model in (_TRIED_MODEL, _WEB_MODEL)
        ),
    ]
    async with asyncio.TaskGroup() as group:
        for work in works:
            group.create_task(_again(site, work))
        group.create_task(_trouble(site))


@asynccontextmanager
async def _standing(folder: Path, rng: random.Random) -> AsyncIterator[_Site]:
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(simulated(Simulator(record_limit=1_000_000)))
        simulator.script(
            "k4", then=Step("delay", seconds=0.3, next=Step("status", status=429, headers=_COMES_BACK))
        )
        simulator.script(_COOKIE, then=Step("delay", seconds=0.2, call="complete"))
        redis = await stack.enter_async_context(real_redis(folder))
        settings = {
            **configuration(folder, simulator, (), _credentials),
            "REDIS_URL": redis.url,
            "SECRET_KEY": SECRET_KEY,
            "TRUSTED_PROXIES": "127.0.0.1/32",
        }
        replicas = tuple(_Replica(folder / name, settings, stack) for name in ("a", "b"))
        for replica in replicas:
            await replica.start()
        front = await stack.enter_async_context(
            nginx(folder / "nginx", [f"127.0.0.1:{replica.port}" for replica in replicas])
        )
        # a replica may stand still for twenty seconds
        limits = aiohttp.ClientTimeout(total=40)
        session = await stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True), timeout=limits)
        )
        yield _Site(front.url, replicas, redis, simulator, session, rng)


def _calls(site: _Site, key: str, path: str) -> list[Span]:
    """The upstream calls of a key whose path ends so."""
    return [
        Span(key, one.started_s, one.ended_s if one.ended_s is not None else float("inf"))
        for one in site.simulator.record.requests
        if one.key == key and one.path.endswith(path)
    ]


def _uploaded(site: _Site) -> list[Span]:
    """The uploads that reached an upstream, by the names of their files, with the time of their orders."""
    bodies = [
        one.body for one in site.simulator.record.requests if (one.method, one.path) == ("POST", "/v1/files")
    ]
    return [span for body in bodies for name, span in site.uploads.items() if f'"{name}"'.encode() in body]


async def _is_tried(site: _Site, replica: _Replica) -> bool:
    _, said = await site.call("GET", f"{replica.url}/admin/pool", key=ADMIN_KEY)
    return b'"reason":"rate_limit"' in said.replace(b" ", b"")


def _check(site: _Site) -> None:
    """Nothing that must not be."""
    history = site.history

    def excused(first: Span, second: Span) -> bool:
        return site.between(first.began_s, second.ended_s)

    history.uses += _calls(site, _BANNED, "")
    in_spite = used_in_spite(history, _HEARD)
    assert not in_spite, told(history, in_spite)
    assert overdrawn(history, _LIMIT, _WINDOW_S, _OFF_BY) == []
    assert at_once(_calls(site, "k4", "/v1/messages"), excused) == []
    assert at_once(_calls(site, _COOKIE, "/completion"), excused) == []
    assert twice(_uploaded(site), excused) == []
    assert site.lost == []
    assert site.statuses[500] == 0


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_no_trouble_makes_replicas_disagree_for_longer_than_promised(tmp_path: Path) -> None:
    """Protects orders, limits, trials, accounts, uploads and responses. SOAK=1 makes trouble for five minutes."""
    with seeded() as rng:
        async with _standing(tmp_path, rng) as site:
            await _ask_for(site, site.replicas[0], _TRIED_MODEL)
            for replica in site.replicas:
                await eventually(partial(_is_tried, site, replica))
            site.simulator.record.clear()
            await _run(site)
            ledger = site.simulator.site.ledger
            await until(lambda: not ledger.alive)
            for replica in site.replicas:
                body = body_of(Spoken.MESSAGES, stream=False)
                assert (await site.call("POST", replica.url + Spoken.MESSAGES, body))[0] == 200
            _check(site)
        assert ledger.leaks == []
        counts = (
            f"{dict(site.statuses)}, {len(site.history.bans)} bans, {len(ledger.conversations)} conversations"
        )
        print(f"{len(site.history.granted_s)} granted, {len(site.uploads)} uploads, {counts}")  # noqa: T201 - the figure
        assert len(site.history.bans) >= 2
        assert site.uploads
        assert _calls(site, "k4", "/v1/messages")
        assert _calls(site, _COOKIE, "/completion")
