"""The worst at once: random faults, clients that leave and kills; in the end the accounts are as they were found."""

import asyncio
import base64
import random
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
import pytest

from proxy.simulator import EndedBy, Simulator, Step
from tests.support.gateway import ADMIN_KEY, Gateway, gateway
from tests.support.house import MODEL, House, Spoken, client, configuration, simulated, until
from tests.support.soak import seeded, sized
from tests.support.web_sessions import deletions, image_block, sessions

_COOKIES: Final = tuple(f"sk-ant-sid01-canary-{number}" for number in range(1, 5))
_ALIASES: Final = tuple(f"web-{number}" for number in range(1, 5))
_REQUESTS: Final = sized(full=200, short=60)
_LEAVING: Final = _REQUESTS // 4
_ROUND: Final = 20
_AT_ONCE: Final = 8
_KILLS: Final = sized(full=20, short=5)
_ASKED_BEFORE_A_KILL: Final = 8
_PICTURE: Final = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
# a stop sign lasts until the operator resets the session, which is done after each round
_SETTINGS: Final = {"POOL_BUDGET_MAX": "1000", "POOL_BACKOFF_BASE_S": "0.05", "QUEUE_WAIT_S": "30"}
_CALLS: Final = ("organizations", "create", "upload", "complete", "delete")
_ANYWHERE: Final = (
    Step("status", status=500),
    Step("status", status=503),
    Step("status", status=529),
    Step("reset_before_headers"),
    Step("reset_before_headers", times=2),
    Step("close_before_headers"),
    Step("close_before_event"),
    Step("garbage"),
    Step("answer_lost"),
    Step("answer_lost", status=500),
    Step("delay", seconds=0.05),
    Step("stall_before_headers", seconds=0.3),
    Step("stall_before_event", seconds=0.3),
)
_ANSWERS: Final = (
    Step("reset_mid_stream"),
    Step("error_event_first"),
    Step("error_event_mid"),
    Step("end_without_stop"),
    Step("empty_stream"),
    Step("stall_mid", seconds=0.3),
    Step("conversation_gone"),
)
_STOP_SIGNS: Final = (
    Step("web_limit", resets_in_s=5),
    Step("dead_cookie"),
    Step("session_invalid"),
    Step("organization_disabled"),
    Step("challenge"),
    Step("redirect", status=302, location="/login"),
)


def _faults(rng: random.Random, count: int) -> list[Step]:
    """So many faults for one session, each at a random call; a stop sign now and then."""
    found = []
    for _ in range(count):
        sort = rng.random()
        if sort < 0.6:
            step, call = rng.choice(_ANYWHERE), rng.choice(_CALLS)
        elif sort < 0.97:
            step, call = rng.choice(_ANSWERS), "complete"
        else:
            step, call = rng.choice(_STOP_SIGNS), rng.choice(_CALLS)
        found.append(msgspec.convert({**msgspec.structs.asdict(step), "call": call}, Step))
    return found


@dataclass(slots=True)
class _Campaign:
    """One site and the gateways that ask it, one after the other.

    Attributes:
        kills: how many calls the site had got at each kill.
        answered: statuses that clients got.
    """

    folder: Path
    simulator: Simulator
    session: aiohttp.ClientSession
    rng: random.Random
    kills: list[int] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[House]:
        """A gateway of four sessions."""
        settings = configuration(self.folder, self.simulator, (), sessions(*_COOKIES))
        async with gateway(self.folder, {**settings, **_SETTINGS}) as server:
            yield House(server, self.simulator, self.session)

    def trouble(self, count: int) -> None:
        """Give each session so many faults to come."""
        for cookie in _COOKIES:
            self.simulator.script(cookie, _faults(self.rng, count))

    async def ask(self, found: House, patience_s: float | None) -> None:
        """Ask something, and be gone after so long."""
        rng = self.rng
        spoken = rng.choice(list(Spoken))
        content: list[dict[str, object]] = [{"type": "text", "text": "a" * rng.choice([5, 500, 12_000])}]
        if rng.random() < 0.3:
            content.append(image_block(spoken, _PICTURE))
        body = {
            "model": MODEL,
            "max_tokens": rng.choice([5, 4000]),
            "stream": rng.random() < 0.5,
            "messages": [{"role": "user", "content": content}],
        }
        try:
            async with (
                asyncio.timeout(patience_s),
                found.opened(spoken, msgspec.json.encode(body)) as response,
            ):
                await response.read()
                self.answered.append(response.status)
        except (TimeoutError, aiohttp.ClientError):
            return

    async def round(self, found: House, asked: int, leaving: int) -> None:
        """Many ask at once, and some of them leave early."""
        places = asyncio.Semaphore(_AT_ONCE)
        patience_s = [self.rng.uniform(0, 0.3) for _ in range(leaving)] + [None] * (asked - leaving)
        self.rng.shuffle(patience_s)

        async def one(patience: float | None) -> None:
            async with places:
                await self.ask(found, patience)

        await asyncio.gather(*map(one, patience_s))

    async def put_right(self, found: House) -> None:
        """What an operator does about sessions that were told to stop."""
        for alias in _ALIASES:
            url = f"{found.server.url}/admin/pool/{alias}/reset"
            async with self.session.post(
                url, headers={"authorization": f"Bearer {ADMIN_KEY}"}, json={}
            ) as answer:
                assert answer.status == 200

    async def kill(self, found: House) -> None:
        """Kill the gateway at some moment of its work."""
        assert isinstance(found.server, Gateway)
        record = self.simulator.record
        calls = record.requests_total + self.rng.randint(1, 5 * _ASKED_BEFORE_A_KILL)
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(self.round(found, _ASKED_BEFORE_A_KILL, _ASKED_BEFORE_A_KILL // 4))
            await until(lambda: record.requests_total >= calls or asking.done())
            await asyncio.sleep(self.rng.uniform(0, 0.02))
            await found.server.stop(signal.SIGKILL)
        self.kills.append(record.requests_total)

    def asked_again(self) -> list[str]:
        """Conversations whose deletion was asked for again after the site had confirmed it, with no kill between."""
        confirmed: dict[str, int] = {}
        found = []
        for one in self.simulator.record.requests:
            if one.method != "DELETE":
                continue
            before = confirmed.get(one.path)
            if before is not None and not any(before <= kill < one.number for kill in self.kills):
                found.append(one.path)
            if one.status in {204, 404} and one.ended_by is EndedBy.SERVER:
                confirmed[one.path] = one.number
        return found


async def _owed(found: House) -> int:
    """How many deletions the admin sees."""
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    async with found.session.get(f"{found.server.url}/admin/pool", headers=headers) as answer:
        told: dict[str, int] = await answer.json()
        return told["owed_deletions"]


async def _nothing_owed(found: House) -> None:
    """Wait until no deletion is owed any more."""
    async with asyncio.timeout(30):
        while True:
            if not await _owed(found):
                return
            await asyncio.sleep(0.02)


def _integrity(folder: Path) -> list[str]:
    """What SQLite says about the store."""
    (file,) = (folder / "data").glob("*.db")
    with sqlite3.connect(file) as store:
        return [row[0] for row in store.execute("PRAGMA integrity_check")]


def _refused_deletions(simulator: Simulator) -> int:
    return sum(one.method == "DELETE" and one.status == 500 for one in simulator.record.requests)


async def _debts_are_shown_and_paid(campaign: _Campaign) -> None:
    """While the site refuses all deletions the admin sees them, and once it does not they are paid."""
    simulator = campaign.simulator
    for cookie in _COOKIES:
        simulator.script(cookie, [Step("status", status=500, call="delete", times=9999)])
    async with campaign.running() as found:
        await campaign.put_right(found)
        await campaign.round(found, len(_COOKIES), 0)
        left = len(simulator.site.ledger.alive)
        assert left >= 1
        await until(lambda: _refused_deletions(simulator) >= left)
        # a kill may have come between a deletion and its being written down
        assert await _owed(found) >= left
        for cookie in _COOKIES:
            simulator.script(cookie)
    async with campaign.running() as found:
        await _nothing_owed(found)
        await campaign.put_right(found)
        assert (await found.ask(Spoken.CHAT)).status == 200
        await until(lambda: not simulator.site.ledger.alive)
        assert isinstance(found.server, Gateway)
        assert await found.server.stop() == 0


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_faults_departures_and_kills_leave_the_accounts_as_they_were(tmp_path: Path) -> None:
    """Protects persons' accounts: nothing is left, nothing deleted twice, no cookie strays, and the store is sound."""
    with seeded() as rng:
        async with simulated() as simulator, client() as session:
            campaign = _Campaign(tmp_path, simulator, session, rng)
            async with campaign.running() as found:
                for _ in range(_REQUESTS // _ROUND):
                    campaign.trouble(_ROUND // 4)
                    await campaign.round(found, _ROUND, _LEAVING * _ROUND // _REQUESTS)
                    await found.idle()
                    await campaign.put_right(found)
                assert 200 in campaign.answered
            for _ in range(_KILLS):
                campaign.trouble(_ROUND // 4)
                async with campaign.running() as found:
                    await campaign.put_right(found)
                    await campaign.kill(found)
            assert _integrity(tmp_path) == ["ok"]
            await _debts_are_shown_and_paid(campaign)
        ledger = simulator.site.ledger
        assert ledger.alive == []
        assert {one.deleted_by == one.created_by for one in ledger.conversations.values()} == {True}
        assert len(set(deletions(simulator))) == len(deletions(simulator))
        assert campaign.asked_again() == []
        assert ledger.leaks == []
        assert ledger.account_changes == 0
        assert simulator.record.requests_total == len(simulator.record.requests)
        assert _integrity(tmp_path) == ["ok"]
