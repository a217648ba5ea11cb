"""What goes wrong, when, and who asks meanwhile: everything about one minute that follows from a seed."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from proxy.credentials import Credential, Kind
from proxy.settings import Policy

LENGTH_S: Final = 60.0


class Conduct(StrEnum):
    """How an upstream treats the calls of one credential for a while."""

    HEALTHY = "healthy"
    REFUSED_KEY = "401"
    OUT_OF_CREDIT = "402"
    FORBIDDEN = "403"
    LIMITED = "429"
    LIMITED_FOR = "429 with a time"
    BROKEN = "500"
    UNAVAILABLE = "503"
    OVERLOADED = "529"
    EMPTY = "empty"
    CUT_BEFORE = "cut before the first event"
    CUT_AFTER = "cut after the first event"
    SLOW = "too slow"
    UNREACHABLE = "connection refused"


# what puts a credential out of use for longer than a plan lasts comes less often than the rest
_LASTING: Final = (Conduct.REFUSED_KEY, Conduct.OUT_OF_CREDIT, Conduct.FORBIDDEN)
_PASSING: Final = tuple(one for one in Conduct if one is not Conduct.HEALTHY and one not in _LASTING)
_FAULTY: Final = (*_LASTING, *_PASSING, *_PASSING)


@dataclass(frozen=True, slots=True)
class Interval:
    """A time in which one conduct holds.

    Attributes:
        until_s: its end, in seconds from the start.
        conduct: what happens to calls made in it.
        retry_after_s: the time a limit names.
    """

    until_s: float
    conduct: Conduct
    retry_after_s: int = 0

    def __str__(self) -> str:
        named = f" ({self.retry_after_s} s)" if self.conduct is Conduct.LIMITED_FOR else ""
        return f"{self.conduct}{named} until {self.until_s:.1f}"


@dataclass(frozen=True, slots=True)
class Account:
    """A credential, to whom it really belongs, and what happens to its calls."""

    credential: Credential
    organization: str
    intervals: tuple[Interval, ...]

    @property
    def name(self) -> str:
        """The alias."""
        return self.credential.name

    def at(self, passed_s: float) -> Interval:
        """What holds `passed_s` seconds from the start; after the last interval all is well."""
        for interval in self.intervals:
            if passed_s < interval.until_s:
                return interval
        return Interval(float("inf"), Conduct.HEALTHY)


@dataclass(frozen=True, slots=True)
class Asked:
    """A client's request.

    Attributes:
        number: counts from 1.
        at_s: when it comes, in seconds from the start.
        stream: whether it wants a stream.
        chat: whether the client speaks OpenAI's dialect, or else Anthropic's.
        patience_s: after which its client leaves; None for never.
    """

    number: int
    at_s: float
    stream: bool
    chat: bool
    patience_s: float | None


@dataclass(frozen=True, slots=True)
class Plan:
    """One minute."""

    seed: int
    policy: Policy
    accounts: tuple[Account, ...]
    requests: tuple[Asked, ...]

    def __str__(self) -> str:
        lines = [f"seed {self.seed}"]
        for account in self.accounts:
            places = account.credential.max_concurrency
            room = f", {places} places" if places is not None else ""
            told = "; ".join(map(str, account.intervals))
            lines.append(f"{account.name} of {account.organization}{room}: {told}")
        return "\n".join(lines)


def make_plan(seed: int) -> Plan:
    """The plan of a seed: two to six credentials in one to three organizations."""
    rng = random.Random(seed)
    organizations = [f"org-{number}" for number in range(1, rng.randint(1, 3) + 1)]
    everywhere = _everywhere(rng)
    accounts = tuple(
        _account(f"api-{number}", rng.choice(organizations), everywhere, rng)
        for number in range(1, rng.randint(2, 6) + 1)
    )
    policy = Policy(
        jitter=0.0,
        deadline_s=rng.choice([20.0, 60.0]),
        first_event_timeout_s=rng.choice([4.0, 20.0]),
        unary_timeout_s=rng.choice([6.0, 30.0]),
        idle_timeout_s=5.0,
        hold_back_s=rng.choice([2.0, 15.0]),
        queue_length=rng.choice([2, 100]),
        queue_wait_s=rng.choice([2.0, 10.0]),
    )
    return Plan(seed, policy, accounts, tuple(_requests(rng)))


def _everywhere(rng: random.Random) -> tuple[float, float, Conduct] | None:
    """In a third of all plans the service as a whole is in trouble for a while."""
    if rng.random() < 2 / 3:
        return None
    return rng.uniform(0, 30), rng.uniform(5, 25), rng.choice(_FAULTY)


def _account(
    name: str, organization: str, everywhere: tuple[float, float, Conduct] | None, rng: random.Random
) -> Account:
    credential = Credential(
        name=name,
        kind=Kind.ANTHROPIC,
        secret=None,
        base_url=rng.choice(["https://api.test", f"https://{name}.test"]),
        organization=organization if rng.random() < 0.3 else None,
        max_concurrency=rng.choice([None, None, 1, 3]),
    )
    return Account(credential, organization, tuple(_intervals(everywhere, rng)))


def _intervals(everywhere: tuple[float, float, Conduct] | None, rng: random.Random) -> Iterator[Interval]:
    now_s = 0.0
    healthy = rng.random() < 0.6
    while now_s < LENGTH_S:
        until_s = now_s + 1 + rng.expovariate(1 / 12 if healthy else 1 / 6)
        conduct = Conduct.HEALTHY if healthy else rng.choice(_FAULTY)
        if everywhere is not None and now_s <= everywhere[0] < until_s:
            yield _interval(everywhere[0], conduct, rng)
            until_s, conduct = everywhere[0] + everywhere[1], everywhere[2]
        yield _interval(until_s, conduct, rng)
        now_s, healthy = until_s, not healthy


def _interval(until_s: float, conduct: Conduct, rng: random.Random) -> Interval:
    return Interval(until_s, conduct, rng.choice([0, 1, 3, 10, 30, 90]))


def _requests(rng: random.Random) -> Iterator[Asked]:
    a_second = rng.choice([0.5, 1.5, 3.0])
    now_s = 0.0
    number = 0
    while (now_s := now_s + rng.expovariate(a_second)) < LENGTH_S:
        number += 1
        patience_s = rng.uniform(0, 10) if rng.random() < 0.03 else None
        yield Asked(number, now_s, rng.random() < 0.5, rng.random() < 0.5, patience_s)
