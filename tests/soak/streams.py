"""Many streams for a long time: nothing is lost, and memory stays where it was."""

import asyncio
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import aiohttp

from proxy.simulator import Pace, Step
from proxy.tasks import spawn
from tests.soak.figures import Report, percentile
from tests.soak.ground import Front, Ground, clock, ground
from tests.support.house import Spoken, body_of

_STAMP: Final = re.compile(rb"n=(\d+) t=(\d+\.\d{6}) ")
_LONGEST_STAMP_BYTES: Final = 64
_ENDS: Final = (b"message_stop", b"[DONE]")
_OPENED_A_SECOND: Final = 250
_GROWTH_MOST: Final = 1.10
_END_SHARE: Final = 0.97


@dataclass(frozen=True, slots=True)
class Streams:
    """How many, how fast, how long.

    Attributes:
        streams: at once, half of them in each dialect.
        per_s: events a second of each.
        seconds: of speech of each; pauses come on top.
        first_look_s: when memory is looked at first.
        pause_every_s: seconds of speech between pauses; None is never.
        pause_s: length of a pause, in which the upstream only pings.
        delay_p99_most_ms: what is promised of the time from the upstream to the client.
        rss_most_mib: what is promised of the gateway's memory.
    """

    streams: int
    per_s: float
    seconds: float
    first_look_s: float = 60.0
    pause_every_s: float | None = None
    pause_s: float = 0.0
    delay_p99_most_ms: float | None = None
    rss_most_mib: float | None = None

    @property
    def events(self) -> int:
        """Events of each stream."""
        return max(round(self.per_s * self.seconds), 1)

    @property
    def pace(self) -> Pace:
        """How the upstream speaks."""
        every_s = self.pause_every_s
        return Pace(
            tokens_per_s=self.per_s,
            events=self.events,
            stamped=True,
            pause_after=None if every_s is None else max(round(every_s * self.per_s), 1),
            pause_s=self.pause_s,
            ping_every_s=self.pause_s / 24,
        )

    @property
    def lasts_s(self) -> float:
        """Seconds of one stream."""
        after = self.pace.pause_after
        return self.seconds + (0 if after is None else (self.events - 1) // after * self.pause_s)

    def scaled(self, share: float) -> "Streams":
        """The same in a share of the time."""
        every_s = None if self.pause_every_s is None else self.pause_every_s * share
        return replace(
            self,
            seconds=self.seconds * share,
            first_look_s=self.first_look_s * share,
            pause_every_s=every_s,
            pause_s=self.pause_s * share,
        )

    def __str__(self) -> str:
        silent = f", in it silences of {self.pause_s:g} s with pings alone" if self.pause_s else ""
        events = "event" if self.per_s == 1 else "events"
        return f"{self.streams:,} streams, {self.per_s:g} {events} a second, {self.lasts_s:g} s{silent}"


@dataclass(slots=True)
class Seen:
    """What arrived of all streams."""

    received: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    cut: int = 0
    delays_s: list[float] = field(default_factory=list)


class Follower:
    """Reads one stream."""

    def __init__(self, events: int, seen: Seen) -> None:
        self._events = events
        self._seen = seen
        self._numbers: set[int] = set()
        self._last = 0
        self._tail = b""
        self.ended = False

    def take(self, data: bytes, now_s: float) -> None:
        """The next bytes."""
        data = self._tail + data
        end, seen = 0, self._seen
        for stamp in _STAMP.finditer(data):
            number = int(stamp[1])
            seen.delays_s.append(now_s - float(stamp[2]))
            seen.duplicated += number in self._numbers
            seen.reordered += number < self._last
            self._numbers.add(number)
            self._last = number
            end = stamp.end()
        self.ended = self.ended or any(sign in data for sign in _ENDS)
        self._tail = data[max(end, len(data) - _LONGEST_STAMP_BYTES) :]

    def close(self) -> None:
        """No more comes."""
        self._seen.received += len(self._numbers)
        self._seen.lost += self._events - len(self._numbers)
        self._seen.cut += not self.ended


async def follow(found: Ground, spoken: Spoken, model: str, events: int, seen: Seen) -> None:
    """Ask for a stream and read it to its end."""
    follower = Follower(events, seen)
    # each event is a token, and a few more are around them
    body = body_of(spoken, stream=True, model=model, max_tokens=2 * events)
    try:
        async with found.session.post(f"{found.url}{spoken.value}", data=body) as response:
            if response.status == 200:
                async for data in response.content.iter_any():
                    follower.take(data, clock.monotonic_s())
    except aiohttp.ClientError:
        follower.ended = False
    finally:
        follower.close()


async def all_followed(found: Ground, size: Streams, model: str) -> Seen:
    """Read so many streams side by side to their end."""
    seen = Seen()

    async def one(number: int) -> None:
        await asyncio.sleep(number / _OPENED_A_SECOND)
        await follow(found, list(Spoken)[number % 2], model, size.events, seen)

    await asyncio.gather(*(one(number) for number in range(size.streams)))
    return seen


async def streams(size: Streams, folder: Path, report: Report, front: Front) -> None:
    """Run them and report."""
    async with ground(folder, front) as found:
        await found.upstream.script(Step(pace=size.pace))
        weighing = spawn(_weighed(found, size), name="weigh the gateway")
        seen = await all_followed(found, size, "claude-sonnet-5-5")
        first_mib, end_mib = await weighing
        report.figure("events_sent", size.streams * size.events)
        report.figure("events_lost", seen.lost, most=0)
        report.figure("events_duplicated", seen.duplicated, most=0)
        report.figure("events_reordered", seen.reordered, most=0)
        report.figure("streams_cut", seen.cut, most=0)
        report_delays(report, seen, size.delay_p99_most_ms)
        report.figure("rss_first_mib", first_mib)
        report.figure("rss_end_mib", end_mib, most=size.rss_most_mib)
        report.figure("rss_end_of_first", end_mib / first_mib, most=_GROWTH_MOST, timed=True)
        report.figure("descriptors_left", await found.descriptors_left(), most=0)
        report.figure("failures_logged", found.failures(), most=0)


def report_delays(report: Report, seen: Seen, most_ms: float | None, *, name: str = "delay") -> None:
    """How long events took from the simulated model to the client, which is more than the gateway adds."""
    report.figure(f"{name}_p50_ms", percentile(seen.delays_s, 50) * 1000)
    report.figure(f"{name}_p99_ms", percentile(seen.delays_s, 99) * 1000, most=most_ms, timed=True)


async def _weighed(found: Ground, size: Streams) -> tuple[float, float]:
    """Memory at the first look, and shortly before the streams end."""
    ramp_s = size.streams / _OPENED_A_SECOND
    first_s = max(size.first_look_s, min(ramp_s + 0.5, size.lasts_s / 2))
    await asyncio.sleep(first_s)
    first_mib = found.rss_mib()
    await asyncio.sleep(max(size.lasts_s * _END_SHARE - first_s, 0))
    return first_mib, found.rss_mib()
