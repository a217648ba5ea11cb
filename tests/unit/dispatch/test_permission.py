"""What only one of all processes may do is done by one, and the others do not wait for ever."""

import asyncio
import random

import pytest

from proxy.credentials import Kind
from proxy.dispatch.journal import Journal
from proxy.dispatch.permission import Permission
from proxy.dispatch.places import Places
from proxy.pool import HealthChange, Lease, Pool, Reason, RetryBudget, State, Success, Walk, Want
from proxy.settings import Policy
from tests.support.clock import FakeClock
from tests.unit.dispatch.building import MemoryStore
from tests.unit.pool.building import credential

_WANT = Want("claude-sonnet-5", "sonnet-5", "client")


class _Permits:
    """Leave from nobody, told beforehand."""

    def __init__(self, *answers: bool | None) -> None:
        self.answers = list(answers)
        self.taken: list[str] = []
        self.kept: list[str] = []
        self.back: list[str] = []

    async def take(self, name: str, holder: str) -> bool | None:  # noqa: ARG002 - the protocol's
        """See `Permits.take`."""
        self.taken.append(name)
        return self.answers.pop(0)

    def keep(self, name: str, holder: str) -> None:  # noqa: ARG002 - the protocol's
        """See `Permits.keep`."""
        self.kept.append(name)

    def give_back(self, name: str, holder: str) -> None:  # noqa: ARG002 - the protocol's
        """See `Permits.give_back`."""
        self.back.append(name)


class _House:
    """A pool of one credential whose leases need leave."""

    def __init__(self, kind: Kind, *answers: bool | None) -> None:
        self.permits = _Permits(*answers)
        self.clock = FakeClock()
        policy = Policy(jitter=0.0)
        rng = random.Random(1)
        self.pool = Pool([credential("a", kind=kind)], policy=policy, clock=self.clock, rng=rng)
        journal = Journal(MemoryStore(), self.clock, {"a": "print"})
        permission = Permission(self.permits, self.pool, journal, holder="me", wait_s=0.25)
        self.places = Places(self.pool, policy, journal, permission)
        self.walk = Walk(policy, self.clock, RetryBudget(policy, self.clock), self.clock.now_s + 600, rng)

    def lease(self) -> Lease:
        """The next lease."""
        found = self.places.take(_WANT, self.walk)
        assert isinstance(found, Lease)
        return found

    def let_rest(self) -> None:
        """Have the credential be out of use, and its time be over."""
        now_ms = self.clock.unix_ms()
        row = HealthChange(
            name="a",
            state=State.COOLING,
            reason=Reason.RATE_LIMIT,
            limit_class="sonnet-5",
            since_unix_ms=now_ms,
            until_unix_ms=now_ms,
        )
        self.pool.adopt([row])


async def test_what_is_in_use_needs_no_leave() -> None:
    """Protects every ordinary request from a question to Redis."""
    house = _House(Kind.ANTHROPIC)
    assert await house.places.permitted(house.lease(), house.walk)
    assert house.permits.taken == []


@pytest.mark.parametrize("leave", [True, None])
async def test_a_trial_with_leave_gives_it_back_with_its_lease(leave: bool | None) -> None:
    """Protects the next trial; where nobody can tell, a process goes by itself."""
    house = _House(Kind.ANTHROPIC, leave)
    house.let_rest()
    lease = house.lease()
    assert await house.places.permitted(lease, house.walk)
    assert house.permits.back == []
    await house.places.give_back(lease, Success())
    assert house.permits.back == (["trial:print"] if leave else [])


async def test_a_trial_without_leave_is_taken_back_and_had_again_later() -> None:
    """Protects an upstream that has just come back, and the request from being told that it was asked."""
    house = _House(Kind.ANTHROPIC, False, True)
    house.let_rest()
    assert not await house.places.permitted(house.lease(), house.walk)
    assert (house.pool.in_flight, house.walk.attempts) == (0, 0)
    assert house.places.take(_WANT, house.walk) is None
    house.clock.advance(1)
    house.pool.sweep()
    assert await house.places.permitted(house.lease(), house.walk)


@pytest.mark.parametrize("leave", [False, None])
async def test_a_session_another_process_uses_or_may_use_is_left_alone(leave: bool | None) -> None:
    """Protects a person's account from two questions at a time, also while nobody can tell."""
    house = _House(Kind.CLAUDE_WEB, leave)
    lease = house.lease()
    assert not await house.places.permitted(lease, house.walk)
    assert house.walk.excludes(lease.member)
    assert house.pool.in_flight == 0


async def test_a_session_is_kept_as_long_as_its_lease() -> None:
    """Protects a long answer from being joined by another question."""
    house = _House(Kind.CLAUDE_WEB, True)
    lease = house.lease()
    assert await house.places.permitted(lease, house.walk)
    assert house.permits.kept == ["session:print"]
    house.places.end(lease, Success())
    assert house.permits.back == ["session:print"]


async def test_a_client_that_leaves_while_leave_is_asked_for_gives_its_place_back() -> None:
    """Protects places from being held by nobody."""
    house = _House(Kind.CLAUDE_WEB, False, False)
    house.places._permission._looks = 2  # type: ignore[union-attr]  # it has one
    asking = asyncio.get_running_loop().create_task(house.places.permitted(house.lease(), house.walk))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert house.pool.in_flight == 0
