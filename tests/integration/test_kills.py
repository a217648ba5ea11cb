"""A program that is killed at any moment of its work has lost nothing it has said yes to, and counts nothing twice."""

import asyncio
import random
import shutil
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
import pytest

from proxy.simulator import Simulator, Step
from proxy.simulator.ledger import told_by
from tests.support.acknowledged import Acknowledged
from tests.support.gateway import ADMIN_KEY, CLIENT_KEY, Gateway, gateway
from tests.support.house import MODEL, House, Spoken, client, configuration, simulated, until
from tests.support.soak import SOAKING, seeded, sized
from tests.support.web_sessions import session_entry

_KILLS: Final = sized(full=50, short=5)
_CLIENTS: Final = 4
_ORDERS_AT_MOST: Final = sized(full=16, short=8)
_READY_WITHIN_S: Final = 3.0
_ABOUT_MS: Final = 1000
_LIMITED_MODEL: Final = "claude-haiku-5-5"
_PAYER: Final = "payer"
_ALL: Final = ("env-1",)
_COOKIE: Final = "sk-ant-sid01-canary-one"
_ADMINISTRATOR: Final = {"authorization": f"Bearer {ADMIN_KEY}"}
_THERE, _GONE = "there", "gone"
_USD_FOR_A_MILLION: Final = (2, 10)
"""Input and output of the model that the payer asks."""


def _credentials(url: str) -> list[dict[str, object]]:
    """Two keys and an account for everybody, one key for a single client, and one that runs into its limit."""
    return [
        {"name": "api-1", "key": "k1", "models": [MODEL], "clients": _ALL},
        {"name": "api-2", "key": "k2", "models": [MODEL], "clients": _ALL},
        {"name": "paid", "key": "k3", "models": [MODEL], "clients": [_PAYER]},
        {"name": "limited", "key": "k4", "models": [_LIMITED_MODEL], "clients": _ALL},
        {**session_entry(url, _COOKIE), "models": [MODEL], "clients": _ALL},
    ]


def _nothing() -> None:
    """Let it go on."""


class _Sum(msgspec.Struct):
    """A row of ``GET /admin/usage``."""

    client: str
    requests: int
    input_tokens: int
    output_tokens: int


class _Usage(msgspec.Struct):
    rows: list[_Sum]


@dataclass(slots=True)
class _Operator:
    """Orders all that can be ordered, one thing after the other, and remembers what was answered.

    Attributes:
        truth: states by name: credentials, client keys, responses, conversations.
        keys: the client keys that were shown.
        last_order: the last client key that was made.
        until_ms: when the limited credential will be back, where that is known; Unix milliseconds.
        booked: requests and tokens of the payer that were read from the books.
        answered: orders that were.
        last: after so many of them `last_word` is called, before anything else happens.
        last_word: that.
    """

    rng: random.Random
    session: aiohttp.ClientSession
    simulator: Simulator
    truth: Acknowledged[str] = field(default_factory=Acknowledged)
    keys: dict[str, str] = field(default_factory=dict)
    last_order: dict[str, object] = field(default_factory=dict)
    until_ms: int | None = None
    booked: tuple[int, int, int] = (0, 0, 0)
    answered: int = 0
    last: int = 0
    last_word: Callable[[], None] = _nothing
    _number: int = 0

    async def orders(self, running: House) -> None:
        """One order after the other until the server does not answer any more."""
        doing = (
            self.pool,
            self.new_key,
            self.revoke,
            self.limit,
            self.respond,
            self.converse,
            self.delete,
            self.read,
        )
        with suppress(aiohttp.ClientError):
            while True:
                await self.rng.choice(doing)(running)
                self.answered += 1
                if self.answered == self.last:
                    self.last_word()

    async def call(
        self,
        running: House,
        method: str,
        path: str,
        body: object = None,
        *,
        key: str = ADMIN_KEY,
        order: str = "",
    ) -> tuple[int, bytes]:
        """Status and body of an answer."""
        headers = {"authorization": f"Bearer {key}"} | ({"idempotency-key": order} if order else {})
        data = None if body is None else msgspec.json.encode(body)
        url = running.server.url + path
        async with self.session.request(method, url, data=data, headers=headers) as answer:
            return answer.status, await answer.read()

    async def pool(self, running: House) -> None:
        """Take a key out, or bring it back."""
        alias, (action, word) = (
            "api-1",
            self.rng.choice((("disable", "disabled(manual)"), ("enable", "ready"))),
        )
        with self.truth.change(f"pool {alias}", word):
            status, said = await self.call(running, "POST", f"/admin/pool/{alias}/{action}")
            assert status == 200, said

    async def new_key(self, running: House) -> None:
        """Make a client key."""
        await self.make(running, {"name": self._new("key")})

    async def make(self, running: House, wanted: dict[str, object]) -> None:
        """Make a client key that is described so."""
        name = str(wanted["name"])
        status, said = await self.make_key(running, wanted)
        assert status == 201, said
        self.keys[name] = msgspec.json.decode(said, type=dict[str, str])["key"]
        self.truth.found(f"key {name}", _THERE)
        self.last_order = wanted

    async def make_key(self, running: House, wanted: dict[str, object]) -> tuple[int, bytes]:
        """Order a client key; the same order each time."""
        return await self.call(running, "POST", "/admin/keys", wanted, order=f"order-{wanted['name']}")

    async def revoke(self, running: House) -> None:
        """End a client key."""
        if name := self._one("key "):
            with self.truth.change(name, _GONE):
                status, said = await self.call(running, "DELETE", f"/admin/keys/{name.removeprefix('key ')}")
                assert status == 200, said

    async def limit(self, running: House) -> None:
        """Have a credential run into its limit, and see for how long."""
        self.until_ms = None
        status, said = await self.call(running, "POST", "/admin/pool/limited/reset")
        assert status == 200, said
        seconds = self.rng.randint(100, 3000)
        self.simulator.script("k4", [Step("status", status=429, headers={"retry-after": str(seconds)})])
        assert (await running.ask(Spoken.MESSAGES, model=_LIMITED_MODEL)).status == 429
        self.until_ms = await self.limited_until(running)

    async def limited_until(self, running: House) -> int | None:
        """When the limited credential will be back, Unix milliseconds."""
        (state,) = (await running.credentials())["limited"].classes.values()
        assert str(state) == "cooling(rate_limit)"
        return state.until_unix_ms

    async def respond(self, running: House) -> None:
        """Have a response stored."""
        body = {"model": MODEL, "input": "Remember this."}
        status, said = await self.call(running, "POST", "/v1/responses", body, key=CLIENT_KEY)
        assert status == 200, said
        self.truth.found(f"responses/{_id_in(said)}", _THERE)

    async def converse(self, running: House) -> None:
        """Begin a conversation."""
        status, said = await self.call(running, "POST", "/v1/conversations", {}, key=CLIENT_KEY)
        assert status == 200, said
        self.truth.found(f"conversations/{_id_in(said)}", _THERE)

    async def delete(self, running: House) -> None:
        """Delete a response or a conversation."""
        if name := self._one(self.rng.choice(("responses/", "conversations/"))):
            with self.truth.change(name, _GONE):
                status, said = await self.call(running, "DELETE", f"/v1/{name}", key=CLIENT_KEY)
                assert status == 200, said

    async def read(self, running: House) -> None:
        """Read the books: what they show, they have."""
        self.booked = await self.books(running)

    async def books(self, running: House) -> tuple[int, int, int]:
        """Requests, input tokens and output tokens of the payer."""
        status, said = await self.call(running, "GET", "/admin/usage?by=client")
        assert status == 200, said
        rows = [row for row in msgspec.json.decode(said, type=_Usage).rows if row.client == _PAYER]
        return (rows[0].requests, rows[0].input_tokens, rows[0].output_tokens) if rows else (0, 0, 0)

    def _one(self, kind: str) -> str:
        """Something of this kind that is there; empty where nothing is."""
        there = [name for name in self.truth.names(kind) if self.truth.possible(name) == frozenset({_THERE})]
        there = [name for name in there if name != f"key {_PAYER}"]
        return self.rng.choice(there) if there else ""

    def _new(self, kind: str) -> str:
        self._number += 1
        return f"{kind}-{self._number}"


def _id_in(said: bytes) -> str:
    return str(msgspec.json.decode(said, type=dict[str, object])["id"])


@dataclass(slots=True)
class _Killed:
    """One site, the programs that ask it one after the other, and all that happened.

    Attributes:
        asked_by_payer: requests that were begun with the payer's key.
        ready_s: how long each start took until it was ready.
        spent: what the payer had spent at the last kill, as the database had it.
    """

    folder: Path
    operator: _Operator
    settings: dict[str, str]
    asked_by_payer: int = 0
    ready_s: list[float] = field(default_factory=list)
    spent: int = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[House]:
        """The program, started anew and ready."""
        began_s = asyncio.get_running_loop().time()
        async with gateway(self.folder, self.settings) as server:
            found = House(server, self.operator.simulator, self.operator.session)
            assert (await self.operator.call(found, "GET", "/ready"))[0] == 200
            self.ready_s.append(asyncio.get_running_loop().time() - began_s)
            yield found

    async def load(self, running: House, number: int) -> None:
        """One client: questions in both dialects, whole and streamed, until nobody answers any more."""
        rng = self.operator.rng
        with suppress(aiohttp.ClientError):
            while True:
                key = self.operator.keys[_PAYER] if number == 0 else CLIENT_KEY
                self.asked_by_payer += number == 0
                await running.ask(rng.choice(list(Spoken)), stream=rng.random() < 0.5, key=key)

    async def kill(self, running: House) -> None:
        """Kill the program at some moment of its work, or in the moment in which it has answered an order."""
        rng, operator = self.operator.rng, self.operator
        assert isinstance(running.server, Gateway)
        program, over = running.server.program, asyncio.Event()
        at_once = rng.random() < 0.5

        def last_word() -> None:
            if at_once:
                program.send(signal.SIGKILL)
            over.set()

        operator.last, operator.last_word = operator.answered + rng.randint(1, _ORDERS_AT_MOST), last_word
        async with asyncio.TaskGroup() as group:
            for number in range(_CLIENTS):
                group.create_task(self.load(running, number))
            group.create_task(operator.orders(running))
            await over.wait()
            await asyncio.sleep(rng.uniform(0, 0.05))
            await running.server.stop(signal.SIGKILL)

    def check_disk(self) -> None:
        """What lies there while nobody runs: a sound database, and nothing that somebody forgot."""
        copy = self.folder / "copy"
        shutil.copytree(self.folder / "data", copy)
        database = sqlite3.connect(copy / "carousel.db")
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = database.execute("SELECT micro_usd FROM spending WHERE client = ?", (_PAYER,)).fetchall()
        database.close()
        shutil.rmtree(copy)
        assert list((self.folder / "tmp").iterdir()) == []
        spent = sum(row[0] for row in rows)
        assert self.spent <= spent <= self.most_spent()
        self.spent = spent

    def most_spent(self) -> int:
        """What the payer may have spent, millionths of a US dollar: that of each answer, rounded up."""
        paid = [one for one in told_by(self.operator.simulator.record.requests) if one.key == "k3"]
        prices = _USD_FOR_A_MILLION
        return sum(one.input_tokens * prices[0] + one.output_tokens * prices[1] + 1 for one in paid)

    async def check(self, running: House) -> None:
        """All that was acknowledged is as it was."""
        operator = self.operator
        await self._check_things(running)
        await self._check_repeated(running)
        if operator.until_ms is not None:
            now_ms = await operator.limited_until(running)
            assert now_ms is not None
            assert abs(now_ms - operator.until_ms) <= _ABOUT_MS
        paid = [one for one in told_by(operator.simulator.record.requests) if one.key == "k3"]
        most = (
            self.asked_by_payer,
            sum(one.input_tokens for one in paid),
            sum(one.output_tokens for one in paid),
        )
        booked = await operator.books(running)
        for least, found, at_most in zip(operator.booked, booked, most, strict=True):
            assert least <= found <= at_most
        operator.booked = booked

    async def _check_things(self, running: House) -> None:
        operator, truth = self.operator, self.operator.truth
        pool = await running.credentials()
        for name in truth.names(""):
            kind = name.partition(" ")[0]
            if kind == "pool":
                state = str(pool[name.removeprefix("pool ")].state)
            else:
                path, key = (
                    ("stats", operator.keys[name[4:]]) if kind == "key" else (f"v1/{name}", CLIENT_KEY)
                )
                status, _ = await operator.call(running, "GET", f"/{path}", key=key)
                state = {200: _THERE, 401: _GONE, 404: _GONE}[status]
            assert state in (truth.possible(name) or ()), name
            truth.found(name, state)

    async def _check_repeated(self, running: House) -> None:
        """An order that was answered is answered the same when it comes again."""
        wanted = self.operator.last_order
        status, said = await self.operator.make_key(running, wanted)
        assert status == 201, said
        assert (
            msgspec.json.decode(said, type=dict[str, str])["key"] == self.operator.keys[str(wanted["name"])]
        )


@asynccontextmanager
async def _standing(folder: Path, rng: random.Random) -> AsyncIterator[_Killed]:
    simulator = Simulator(keep_answers=True, record_limit=1_000_000)
    async with simulated(simulator), client() as session:
        (folder / "tmp").mkdir()
        settings = {
            **configuration(folder, simulator, (), _credentials),
            "TMPDIR": str(folder / "tmp"),
            "QUEUE_WAIT_S": "30",
        }
        yield _Killed(folder, _Operator(rng, session, simulator), settings)


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_nothing_acknowledged_is_lost_and_nothing_counted_twice(tmp_path: Path) -> None:
    """Protects orders, limits, keys, answers, books and accounts from a kill at any moment. SOAK=1 kills 50 times."""
    with seeded() as rng:
        async with _standing(tmp_path, rng) as killed:
            async with killed.running() as running:
                wanted: dict[str, object] = {"name": _PAYER, "budget_usd": 1000, "period": "total"}
                await killed.operator.make(running, wanted)
                await killed.kill(running)
            killed.check_disk()
            for _ in range(_KILLS - 1):
                async with killed.running() as running:
                    await killed.check(running)
                    await killed.kill(running)
                killed.check_disk()
            ledger = killed.operator.simulator.site.ledger
            async with killed.running() as running:
                await killed.check(running)
                await until(lambda: not ledger.alive)
                assert isinstance(running.server, Gateway)
                assert await running.server.stop() == 0
        assert len(ledger.conversations) > 0
        assert ledger.leaks == []
        slowest_s = max(killed.ready_s)
        print(f"{_KILLS} kills, {killed.operator.answered} orders, ready within {slowest_s:.1f} s")  # noqa: T201 - the figure
        assert not SOAKING or slowest_s <= _READY_WITHIN_S
