"""A credential that is tried again is never stuck in its trial, whatever becomes of the one request that tries it."""

import random
from collections import Counter

import pytest

from proxy.pool.failure import Failure, FailureClass
from proxy.pool.members import Lease
from proxy.pool.outcomes import Abandoned, Failed, Outcome, Success
from tests.unit.pool.building import AUTH, RATE, RESET, WANT, Bench, bench, failure
from tests.unit.pool.healing import held_back_until_s, standings

SEEDS = 500
STOPPED_S = 120.0
_OUT_BY: dict[str, tuple[Failure, int]] = {
    "cooling(rate_limit)": (RATE, 1),
    "cooling(auth)": (AUTH, 1),
    "cooling(billing)": (failure(FailureClass.BILLING, status=402), 1),
    "cooling(faults)": (RESET, 5),
}
_OUTCOMES: tuple[Outcome, ...] = (
    Success(),
    Abandoned(),
    Failed(RATE),
    Failed(RESET),
    Failed(AUTH),
    Failed(failure(FailureClass.REQUEST, status=400)),
)


class _Run:
    """One order of events around trials of the credential ``a``."""

    def __init__(self, seed: int, word: str) -> None:
        self.rng = random.Random(seed)
        self.table: Bench = bench("a", "b", "c", jitter=0.2, seed=seed)
        self.out: list[Lease] = []
        self.trials = 0
        self.permits: dict[int, float] = {}
        found, times = _OUT_BY[word]
        for _ in range(times):
            self.table.end(found, "a")
        assert self.table.word("a") == word

    def go(self) -> None:
        """Thirty things happen, and between any two of them no trial is older than its permit."""
        moves = [self.ask, self.ask, self.end, self.hang, self.wait, self.stop, self.sweep]
        self.pass_time(31.0)
        for _ in range(30):
            self.rng.choice(moves)()
            self.look()

    def ask(self) -> None:
        """A request goes to ``a``, if it may."""
        found = self.table.pool.pick_at("a", WANT, self.table.walk())
        if isinstance(found, Lease):
            self.out.append(found)
            self.trials += found.trial

    def end(self) -> None:
        """One of the requests under way ends, somehow."""
        if self.out:
            lease = self.out.pop(self.rng.randrange(len(self.out)))
            self.table.pool.settle(lease, self.rng.choice(_OUTCOMES))

    def hang(self) -> None:
        """One of them is never heard of again."""
        if self.out:
            self.out.pop(self.rng.randrange(len(self.out)))

    def wait(self) -> None:
        """A while passes."""
        self.pass_time(self.rng.choice([0.5, 5.0, 29.0, 31.0, 310.0, 4000.0]))

    def stop(self) -> None:
        """The whole process stands still for two minutes: no timer came round meanwhile."""
        self.table.clock.advance(STOPPED_S)

    def sweep(self) -> None:
        """The timer comes round."""
        self.table.pool.sweep()

    def pass_time(self, seconds: float) -> None:
        """Time passes, and the timer comes round."""
        self.table.clock.advance(seconds)
        self.table.pool.sweep()

    def look(self) -> None:
        """A trial ends with its permit at the latest."""
        now_s = self.table.clock.now_s
        for standing in standings(self.table.pool._by_name["a"]):
            if standing.on_trial(now_s):
                assert now_s - self.permits.setdefault(standing.permit, now_s) < self.table.policy.trial_s


@pytest.mark.parametrize("word", _OUT_BY)
def test_no_trial_outlasts_its_permit_in_any_order_of_events(word: str) -> None:
    """Protects a credential that is well again from being left out for a request that hangs, left or stood still."""
    seen: Counter[str] = Counter()
    for seed in range(SEEDS):
        run = _Run(seed, word)
        run.go()
        seen["trials"] += run.trials
        run.table.clock.advance(run.table.policy.trial_s)
        run.table.pool.sweep()
        member = run.table.pool._by_name["a"]
        found, now_s = standings(member), run.table.clock.now_s
        assert not [standing for standing in found if standing.on_trial(now_s)]
        if any(standing.disabled for standing in found):
            seen["disabled"] += 1
            continue
        free_s = max(held_back_until_s(member, WANT), *(standing.until_s for standing in found))
        run.table.clock.advance(max(free_s - now_s, 0.0))
        run.table.pool.sweep()
        assert isinstance(run.table.pool.pick_at("a", WANT, run.table.walk()), Lease), seed
    assert seen["trials"] > SEEDS / 2
    assert seen["disabled"] < SEEDS / 2
