"""A gateway with a small pool for every case of the fault tables, so that no case sees what another one broke."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from proxy.simulator import Simulator, Step
from proxy.simulator.faults.after import CUTS
from proxy.simulator.faults.before import FAULTS
from proxy.simulator.faults.elsewhere import Elsewhere, elsewhere_made
from proxy.simulator.faults.fault import Address, asked_by, key_of, organization_of
from proxy.telemetry.redaction import REDACTOR
from proxy.telemetry.requests import RequestLine
from tests.support.clock import LoopClock
from tests.support.faults.harmless import HARMLESS
from tests.support.house import Answer, CredentialView, House, Spoken, until
from tests.support.inside import Circumstances, Inside, house_inside

SETTINGS: Final = {
    "POOL_BUDGET_MAX": "10000",
    "POOL_OVERLOAD_CALLS": "100000",
    # all places share a few addresses, and each has to find out for itself that one is dead
    "POOL_ENDPOINT_STRIKES": "1000",
    "RELAY_EVENT_MAX_BYTES": "16384",
}
_ENDS: Final = {
    Spoken.MESSAGES: b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
    Spoken.CHAT: b"data: [DONE]\n\n",
}


@dataclass(frozen=True, slots=True)
class Way:
    """In which dialect and form a request is made."""

    spoken: Spoken
    stream: bool

    def __str__(self) -> str:
        return f"{self.spoken.name.lower()} {'stream' if self.stream else 'unary'}"


WAYS: Final = tuple(Way(spoken, stream) for spoken in Spoken for stream in (False, True))
STREAMS: Final = tuple(way for way in WAYS if way.stream)


@dataclass(frozen=True, slots=True)
class Place:
    """A pool of its own for one request: three credentials that only one client key may use.

    Attributes:
        client_key: that key.
        names: aliases of the credentials.
        address: where the calls of the first, or of all of them, go.
        alone: whether only the first one fails.
        siblings: aliases of those that belong to one organization.
    """

    client_key: str
    names: tuple[str, ...]
    address: Address = Address.SHARED
    alone: bool = False
    siblings: tuple[str, ...] = ()

    def organization_of(self, alias: str) -> str:
        """The organization a credential belongs to."""
        return f"siblings-of-{self.names[0]}" if alias in self.siblings else organization_of(key_of(alias))

    @property
    def failing(self) -> tuple[str, ...]:
        """Aliases of the credentials that fail."""
        return self.names[:1] if self.alone else self.names


_OTHERS: Final = (
    "reset",
    "stale",
    "cookies",
    "left",
    "siblings without credit",
    "siblings at a limit",
    "twice",
)


def _named() -> Iterator[tuple[str, Address, bool]]:
    for name, fault in FAULTS.items():
        for way in WAYS:
            yield f"{name}: {way} lost", fault.address, False
            yield f"{name}: {way} rescued", fault.address, True
    for name in (*CUTS, *HARMLESS, *_OTHERS):
        for way in WAYS:
            yield f"{name}: {way}", Address.SHARED, True


def _places() -> Iterator[tuple[str, Place]]:
    for number, (name, address, alone) in enumerate(_named(), 1):
        names = tuple(f"p{number}-{of}" for of in "abc")
        siblings = names[:2] if name.startswith("siblings") else ()
        yield name, Place(f"client-{number:04d}-0123456789abcdef", names, address, alone, siblings)


PLACES: Final = dict(_places())


def _entries(elsewhere: Elsewhere, url: str) -> Iterator[dict[str, object]]:
    for number, place in enumerate(PLACES.values(), 1):
        for alias in place.names:
            address = place.address if alias in place.failing else Address.SHARED
            yield {
                "name": alias,
                "key": key_of(alias),
                "clients": [f"env-{number}"],
                "base_url": elsewhere.url(address, url, number),
                **({"organization": place.organization_of(alias)} if alias in place.siblings else {}),
            }


class _Shortest(random.Random):
    """Chance that never makes anybody wait."""

    def uniform(self, a: float, b: float) -> float:  # noqa: ARG002 - the signature is the library's
        """No pause at all."""
        return 0.0


@dataclass(slots=True)
class FaultyHouse:
    """The gateway, the simulated Claude behind it and everything that tells whether something was left behind.

    Attributes:
        house: to be asked.
        inside: the server's own side.
        clock: the time of both.
        lines: what was logged of each request.
        tasks: those that run when nothing is asked.
    """

    house: House
    inside: Inside
    clock: LoopClock
    lines: list[RequestLine]
    tasks: frozenset["asyncio.Task[object]"] = field(default_factory=frozenset)

    @property
    def simulator(self) -> Simulator:
        """The simulated Claude."""
        return self.house.simulator

    def script(self, place: Place, step: Step) -> None:
        """Make the failing credentials of a place fail."""
        for alias in place.failing:
            key = key_of(alias)
            self.simulator.script(key, then=asked_by(step, key))

    def calls(self, *aliases: str) -> int:
        """Upstream calls made with these credentials."""
        return sum(self.simulator.record.requests_per_key[key_of(alias)] for alias in aliases)

    async def ask(
        self, places: Mapping[Way, Place], *, hurry_s: float = 0.0, simulated: bool = True
    ) -> dict[Way, Answer]:
        """The same question in several ways at once, while time passes at the given speed."""
        asked = asyncio.gather(
            *[
                self.house.ask(way.spoken, stream=way.stream, key=place.client_key)
                for way, place in places.items()
            ]
        )
        if hurry_s:
            if simulated:
                # a jump of the time while a connection is made would be a connection that cannot be made
                await until(lambda: self.simulator.record.requests_total >= len(places))
            await self.clock.hurry(hurry_s, asked.done)
        return dict(zip(places, await asked, strict=True))

    async def idle(self, places: Iterable[Place]) -> dict[str, CredentialView]:
        """Their credentials, once nothing is left of what was asked: no lease, no open call upstream, no task."""
        await until(self._nothing_left)
        return {name: self.inside.credential(name) for place in places for name in place.names}

    def _nothing_left(self) -> bool:
        running = {task for task in asyncio.all_tasks() if not task.done()} - {asyncio.current_task()}
        return (
            self.inside.in_flight == 0
            and all(connection.idle for connection in self.simulator.connections)
            and running <= self.tasks
        )

    async def fresh(self) -> None:
        """Forget what was asked, and close the connections kept for the next call."""
        self.simulator.reset()
        self.lines.clear()
        for connection in tuple(self.simulator.connections):
            connection.abort()
        await until(lambda: not self.simulator.connections)


def logged(lines: list[RequestLine]) -> bytes:
    """The lines as the log has them."""
    return REDACTOR.clean(msgspec.json.encode(lines))


def is_whole(answer: Answer, way: Way) -> bool:
    """Whether an answer has its proper end."""
    if answer.status != 200 or answer.broken_off:
        return False
    return answer.body.endswith(_ENDS[way.spoken]) if way.stream else answer.body.endswith(b"}")


@asynccontextmanager
async def faulty_house(folder: Path) -> AsyncIterator[FaultyHouse]:
    """The gateway of all places, in this process, with the numbers of the pool as they are by default."""
    lines: list[RequestLine] = []
    loop = asyncio.get_running_loop()
    clock = LoopClock(loop)
    circumstances = Circumstances(clock, _Shortest(0), lambda ended: lines.append(ended.line()), patient=True)
    async with elsewhere_made(folder) as elsewhere:
        settings = {**SETTINGS, "API_KEY": ",".join(place.client_key for place in PLACES.values())}
        async with house_inside(
            folder,
            settings,
            partial(_entries, elsewhere),
            simulator=Simulator(organization=organization_of),
            circumstances=circumstances,
        ) as (house, inside):
            tasks = frozenset(asyncio.all_tasks()) - {asyncio.current_task()}
            yield FaultyHouse(house, inside, clock, lines, tasks)
