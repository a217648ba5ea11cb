"""The parts of the soak: what each promises, its size in full and in the short form of the tests."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Generic, Protocol, Self, TypeVar

from tests.soak.crowd import Crowd, crowd
from tests.soak.departures import Departures, departures
from tests.soak.figures import Report
from tests.soak.ground import Front, nothing_between
from tests.soak.overload import Overload, overload
from tests.soak.readers import Readers, readers
from tests.soak.redis_away import RedisAway, redis_away
from tests.soak.streams import Streams, streams


class Size(Protocol):
    """How much a part does; as text, in words for the page."""

    def scaled(self, share: float) -> Self:
        """The same in a share of the time."""
        ...


S = TypeVar("S", bound=Size)
Run = Callable[[S, Path, Report, Front], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Part(Generic[S]):
    """One part.

    Attributes:
        promise: what it shows, in a sentence.
        run: does it.
        full: its size in ``make soak``.
        short: its size in ``make test``.
    """

    promise: str
    run: Run[S]
    full: S
    short: S

    def prepared(self, share: float | None) -> "Prepared":
        """Ready to run in full, in a share of that, or, without one, in the short form."""
        size = self.short if share is None else self.full.scaled(share)
        return partial(_run, self.run, size)


class Prepared(Protocol):
    """A part that is ready to run."""

    def __call__(self, folder: Path, report: Report, front: Front = nothing_between) -> Awaitable[None]:
        """Run it in a folder of its own."""
        ...


async def _run(run: Run[S], size: S, folder: Path, report: Report, front: Front = nothing_between) -> None:
    await run(size, folder, report, front)


_STREAMS: Final = (
    "No event is lost, doubled or out of order, and memory at the end is what it was after a minute"
)
PARTS: Final[
    dict[
        str,
        Part[Streams] | Part[Departures] | Part[Readers] | Part[Crowd] | Part[Overload] | Part[RedisAway],
    ]
] = {
    "streams": Part(
        f"{_STREAMS}; 99 of 100 events arrive within 50 ms.",
        streams,
        Streams(200, 10, 300, delay_p99_most_ms=50),
        Streams(40, 10, 4, first_look_s=1),
    ),
    "many-streams": Part(
        f"{_STREAMS}, under 300 MiB; 99 of 100 events arrive within 500 ms.",
        streams,
        Streams(1000, 1, 300, delay_p99_most_ms=500, rss_most_mib=300),
        Streams(200, 1, 5, first_look_s=2, rss_most_mib=300),
    ),
    "silences": Part(
        "No stream is cut in a silence in which the upstream only pings.",
        streams,
        Streams(100, 1, 240, pause_every_s=80, pause_s=240),
        Streams(20, 10, 3, first_look_s=1, pause_every_s=1, pause_s=2),
    ),
    "departures": Part(
        "A client that leaves stops its upstream call within 250 ms for 99 of 100, a second for all; nothing is left.",
        departures,
        Departures(1000, 20),
        Departures(100, 20),
    ),
    "slow-readers": Part(
        "Slow readers cost at most 64 MiB in all and are not cut off, others do not notice, and who reads nothing is "
        "cut off.",
        readers,
        Readers(50, 1024, 50, Streams(100, 10, 75), stall_s=60),
        Readers(20, 8192, 20, Streams(20, 10, 7), stall_s=3),
    ),
    "slow-clients": Part(
        "A connection that says nothing is let go after 30 s, a body that does not come after 60 s, and others do not "
        "notice them.",
        crowd,
        Crowd(2000, 200, 200, head_s=30, body_s=60),
        Crowd(200, 20, 20, head_s=2, body_s=1.5),
    ),
    "overload": Part(
        "Of five times what fits, what is taken takes at most twice its usual time, the rest is refused within 100 ms, "
        "and `/live` answers within 50 ms.",
        overload,
        Overload(10, 10, 1.0, queue=50, times=5, seconds=60),
        Overload(4, 5, 0.2, queue=10, times=5, seconds=3),
    ),
    "redis-away": Part(
        "Without Redis every request is answered, at most 20 ms later once that is known, and 5 s after its return all "
        "is as before.",
        redis_away,
        RedisAway(50, 30),
        RedisAway(50, 1),
    ),
}
"""By the names ``make soak PART=`` takes."""
