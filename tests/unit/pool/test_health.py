"""The words of health, the table of effects, and the times out of use."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.pool.failure import FailureClass, Fault, classify_fault
from proxy.pool.health import (
    CoolingTimes,
    Effect,
    Ladder,
    Reason,
    Standing,
    State,
    doubling_s,
    effect_of,
    lifted_by,
)
from proxy.settings import Policy
from tests.unit.pool.building import failure

EFFECTS = {
    FailureClass.REQUEST: Effect.NONE,
    FailureClass.AUTH: Effect.REFUSED_KEY,
    FailureClass.AUTH_DEAD: Effect.DEAD_KEY,
    FailureClass.PERMISSION: Effect.CLOSE_MODEL,
    FailureClass.NO_MODEL: Effect.CLOSE_MODEL,
    FailureClass.RATE: Effect.RATE_LIMIT,
    FailureClass.BILLING: Effect.OUT_OF_CREDIT,
    FailureClass.OVERLOADED: Effect.NONE,
    FailureClass.SERVER: Effect.STRIKE,
    FailureClass.ENDPOINT: Effect.NONE,
    FailureClass.CHALLENGE: Effect.BLOCK_WAY_OUT,
    FailureClass.CUT: Effect.STRIKE,
    FailureClass.UNKNOWN: Effect.NONE,
}


@pytest.mark.parametrize("cls", list(FailureClass))
def test_each_class_has_its_effect(cls: FailureClass) -> None:
    """Protects the table: an overload, a bad request or a dead address never blames the credential."""
    assert effect_of(failure(cls)) is EFFECTS[cls]


def test_a_stream_that_is_merely_silent_blames_nobody() -> None:
    """Protects a credential from an upstream that thinks for long."""
    assert effect_of(classify_fault(Fault.PING_ONLY)) is Effect.NONE
    assert effect_of(classify_fault(Fault.RESET)) is Effect.STRIKE


@pytest.mark.parametrize("cls", list(FailureClass))
def test_a_failed_trial_lifts_only_what_it_disproved(cls: FailureClass) -> None:
    """Protects trials: a 429 shows that the key is good, a reset shows nothing."""
    lifted = lifted_by(failure(cls))
    accepted = {
        FailureClass.REQUEST,
        FailureClass.PERMISSION,
        FailureClass.NO_MODEL,
        FailureClass.RATE,
        FailureClass.BILLING,
    }
    assert (Reason.AUTH in lifted) is (cls in accepted)
    assert (Reason.RATE_LIMIT in lifted) is (cls is FailureClass.REQUEST)
    assert (Reason.BLOCKED in lifted) is (cls in accepted | {FailureClass.AUTH})
    assert Reason.MANUAL not in lifted


def _cooled(until_s: float) -> Standing:
    standing = Standing()
    assert standing.cool(Reason.FAULTS, until_s, cause="reset", since_unix_ms=1, epoch=3)
    return standing


def test_a_standing_goes_from_ready_through_cooling_and_trial() -> None:
    """Protects the words: the deadline alone turns cooling into trial."""
    standing = Standing()
    assert standing.state(0) is State.READY
    standing = _cooled(10)
    assert (standing.state(9.9), standing.closed(9.9)) == (State.COOLING, True)
    assert (standing.state(10), standing.closed(10)) == (State.TRIAL, False)
    assert standing.recover(since_unix_ms=2)
    assert not standing.recover(since_unix_ms=3)
    assert (standing.state(10), standing.since_unix_ms) == (State.READY, 2)


@pytest.mark.parametrize(("second_s", "kept_s", "changed"), [(5, 10, False), (10, 10, False), (20, 20, True)])
def test_the_later_deadline_wins(second_s: float, kept_s: float, changed: bool) -> None:
    """Protects a long time out of use from being shortened by a short one."""
    standing = _cooled(10)
    found = standing.cool(Reason.RATE_LIMIT, second_s, cause="rate", since_unix_ms=7, epoch=9)
    assert (standing.until_s, found, standing.epoch) == (kept_s, changed, 9)
    assert standing.reason is (Reason.RATE_LIMIT if changed else Reason.FAULTS)
    assert standing.since_unix_ms == (7 if changed else 1)


def test_cooling_again_for_the_same_reason_keeps_its_beginning() -> None:
    """Protects what the operator reads as the beginning of the trouble."""
    standing = _cooled(10)
    assert standing.cool(Reason.FAULTS, 20, cause="reset", since_unix_ms=7, epoch=9)
    assert standing.since_unix_ms == 1


def test_a_disabled_standing_stays_so_until_it_is_reset() -> None:
    """Protects disabling: no later deadline brings a dead key back."""
    standing = _cooled(10)
    assert standing.disable(Reason.AUTH, cause="auth", since_unix_ms=2)
    assert not standing.disable(Reason.AUTH, cause="auth", since_unix_ms=3)
    assert not standing.cool(Reason.BILLING, 99, cause="billing", since_unix_ms=4, epoch=5)
    assert (standing.state(1e9), standing.reason, standing.since_unix_ms) == (State.DISABLED, Reason.AUTH, 2)
    assert standing.recover(since_unix_ms=5)
    assert standing.state(0) is State.READY


def test_a_permit_ends_by_itself_and_only_its_holder_gives_it_back() -> None:
    """Protects trials from hanging for ever, and from being ended by a lease that lost its permit."""
    standing = _cooled(10)
    standing.take_permit(7, 40)
    assert standing.on_trial(39)
    assert not standing.on_trial(40)
    standing.take_permit(8, 70)
    standing.give_back(7)
    assert standing.on_trial(41)
    standing.give_back(8)
    assert not standing.on_trial(41)


def test_a_ladder_climbs_to_its_last_step_and_stays() -> None:
    """Protects the bound of the times out of use."""
    ladder = Ladder()
    assert [ladder.climb((5, 10, 20)) for _ in range(5)] == [5, 10, 20, 20, 20]


@pytest.mark.parametrize(
    ("first_s", "longest_s", "steps"),
    [(60, 300, (60, 120, 240, 300)), (60, 900, (60, 120, 240, 480, 900)), (5, 5, (5,)), (9, 5, (5,))],
)
def test_doubling_ends_on_the_longest(first_s: float, longest_s: float, steps: tuple[float, ...]) -> None:
    """Protects the ladders that are given by their ends alone."""
    assert doubling_s(first_s, longest_s) == steps


@given(st.integers(0, 2**32), st.integers(0, 9), st.floats(0, 1))
def test_our_own_times_vary_both_ways_but_never_over_the_last_step(
    seed: int, rung: int, jitter: float
) -> None:
    """Protects the promise that faults keep nothing out of use for more than the ladder's last step."""
    policy = Policy(jitter=jitter)
    times = CoolingTimes(policy, random.Random(seed))
    ladder = Ladder()
    ladder.rung = rung
    step_s = policy.fault_ladder_s[min(rung, 4)]
    found = times.step(ladder, times.fault_s)
    assert step_s * (1 - jitter) <= found <= min(step_s * (1 + jitter), 300)


@given(st.integers(0, 2**32), st.floats(0, 1e6), st.floats(0, 1))
def test_a_named_time_is_never_shortened_and_hardly_lengthened(
    seed: int, named_s: float, jitter: float
) -> None:
    """Protects the upstream's word: never earlier than it said, at most 5 s later, within the bounds."""
    times = CoolingTimes(Policy(jitter=jitter), random.Random(seed))
    found = times.named(named_s, longest_s=3600)
    bounded_s = min(max(named_s, 1), 3600)
    assert bounded_s <= found <= bounded_s + min(bounded_s * jitter, 5)


def test_jitter_spreads_and_can_be_turned_off() -> None:
    """Protects against credentials that come back all at once, and lets tests know the times exactly."""
    spread = CoolingTimes(Policy(), random.Random(1))
    assert len({spread.step(Ladder(), spread.fault_s) for _ in range(20)}) == 20
    assert len({spread.named(10, longest_s=3600) for _ in range(20)}) == 20
    still = CoolingTimes(replace(Policy(), jitter=0.0), random.Random(1))
    assert {still.step(Ladder(), still.fault_s) for _ in range(20)} == {30.0}
    assert {still.named(10, longest_s=3600) for _ in range(20)} == {10.0}


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_bounds_a_stored_deadline(reason: Reason) -> None:
    """Protects a restart after the wall clock jumped: nothing is out of use for longer than its reason allows."""
    longest = CoolingTimes(Policy(), random.Random(1)).longest(reason)
    assert 0 <= longest <= 32 * 86_400
    assert (longest == 0) is (reason is Reason.MANUAL)
