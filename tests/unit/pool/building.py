"""Credentials, pools and failures for the tests of the pool."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

from proxy.credentials import Credential, Kind
from proxy.errors import ErrorKind
from proxy.pool.failure import Failure, FailureClass, Fault, UpstreamError, classify_fault
from proxy.pool.health import HealthChange, State
from proxy.pool.members import Lease
from proxy.pool.outcomes import Abandoned, Exhausted, Failed, Outcome, Saturated, Settled, Success, Want
from proxy.pool.pool import Pool
from proxy.pool.retry import RetryBudget, Walk
from proxy.settings import Policy, Strategy
from tests.support.clock import FakeClock

WANT = Want("claude-sonnet-5", "sonnet-5", "client")
OTHER_CLASS = Want("claude-opus-5", "opus-5", "client")


def credential(name: str, **changes: object) -> Credential:
    """An API key; `changes` are fields of `Credential`."""
    plain = Credential(name=name, kind=Kind.ANTHROPIC, secret=None, base_url="https://api.test")
    return replace(plain, **changes)  # type: ignore[arg-type]  # field types are checked by what the tests see


def failure(cls: FailureClass, **changes: object) -> Failure:
    """A failure of a class; `changes` are fields of `Failure`."""
    plain = Failure(cls=cls, status=0, kind=ErrorKind.API, message="")
    return replace(plain, **changes)  # type: ignore[arg-type]  # field types are checked by what the tests see


def upstream_error(
    status: int,
    *,
    type: str = "error",  # noqa: A002 - the wire's own word
    message: str = "",
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
    kind: Kind = Kind.ANTHROPIC,
    html: bool = False,
) -> UpstreamError:
    """An upstream's answer other than success."""
    return UpstreamError(
        status=status, type=type, message=message, code=code, headers=headers or {}, kind=kind, html=html
    )


RESET = classify_fault(Fault.RESET)
SERVER = failure(FailureClass.SERVER, status=500)
RATE = failure(FailureClass.RATE, status=429)
AUTH = failure(FailureClass.AUTH, status=401)


@dataclass(slots=True)
class Bench:
    """A pool with its clock, and the few moves that tests repeat."""

    pool: Pool
    clock: FakeClock
    policy: Policy
    budget: RetryBudget
    rng: random.Random

    def walk(self, deadline_s: float = 600.0) -> Walk:
        """A fresh walk that ends `deadline_s` seconds from now."""
        return Walk(self.policy, self.clock, self.budget, self.clock.now_s + deadline_s, self.rng)

    def pick(self, want: Want = WANT) -> Lease | Saturated | Exhausted:
        """What a fresh request gets."""
        return self.pool.pick(want, self.walk())

    def lease(self, want: Want = WANT) -> Lease:
        """The lease a fresh request gets; fails if there is none."""
        found = self.pick(want)
        assert isinstance(found, Lease), found
        return found

    def names(self, count: int, want: Want = WANT) -> list[str]:
        """The credentials that serve the next `count` requests, one after the other."""
        found = []
        for _ in range(count):
            lease = self.lease(want)
            found.append(lease.name)
            self.pool.settle(lease, Success())
        return found

    def end(self, outcome: Outcome | Failure, name: str | None = None, want: Want = WANT) -> Settled:
        """Let the next request, or the next one of credential `name`, end so."""
        others: list[Lease] = []
        lease = self.lease(want)
        while name is not None and lease.name != name:
            assert len(others) < 100, f"{name} is never next: {self.pool!r}"
            others.append(lease)
            lease = self.lease(want)
        done = self.pool.settle(lease, Failed(outcome) if isinstance(outcome, Failure) else outcome)
        for other in others:
            self.pool.settle(other, Abandoned())
        return done

    def word(self, name: str) -> str:
        """State and reason of a credential in the class of `WANT`, or as a whole if that is not ready."""
        view = next(view for view in self.pool.snapshot() if view.name == name)
        state = view.state
        if state.reason is None and WANT.limit_class in view.classes:
            state = view.classes[WANT.limit_class]
        return f"{state.state}({state.reason})" if state.reason else str(state.state)

    def left_s(self, change: HealthChange) -> float:
        """Seconds until the deadline of a change."""
        assert change.until_unix_ms is not None
        return (change.until_unix_ms - self.clock.wall_ms) / 1000


def bench(
    *credentials: Credential | str,
    jitter: float = 0.0,
    seed: int = 1,
    strategy: Strategy = "round_robin",
    **policy: object,
) -> Bench:
    """A pool of these credentials, by name where nothing but the name matters; no jitter unless asked for."""
    clock = FakeClock()
    numbers = replace(Policy(jitter=jitter), **policy)  # type: ignore[arg-type]  # as above
    rng = random.Random(seed)
    members = [credential(each) if isinstance(each, str) else each for each in credentials]
    pool = Pool(members, policy=numbers, clock=clock, rng=rng, strategy=strategy)
    return Bench(pool, clock, numbers, RetryBudget(numbers, clock), rng)


def times(table: Bench, found: Failure, count: int, name: str = "a") -> list[float]:
    """How long `name` is out of use after each of `count` failures, each tried when the last time is over."""
    lengths = []
    for _ in range(count):
        change = next(each for each in table.end(found, name).changes if each.state is State.COOLING)
        lengths.append(table.left_s(change))
        table.clock.advance(lengths[-1])
    return lengths
