"""What becomes of credentials, step by step."""

import pytest

from proxy.credentials import Kind
from proxy.pool.failure import FailureClass, Fault, classify_fault
from proxy.pool.health import Reason, State
from proxy.pool.outcomes import Abandoned, Exhausted, Failed, Success
from proxy.secrets import Secret
from tests.unit.pool.building import (
    AUTH,
    OTHER_CLASS,
    RATE,
    RESET,
    SERVER,
    WANT,
    bench,
    credential,
    failure,
    times,
)

DEAD = failure(FailureClass.AUTH_DEAD, status=401)
BILLING = failure(FailureClass.BILLING, status=402)
CHALLENGE = failure(FailureClass.CHALLENGE, status=403)
PERMISSION = failure(FailureClass.PERMISSION, status=403)


@pytest.mark.parametrize(
    ("cls", "word"),
    [
        (FailureClass.REQUEST, "ready"),
        (FailureClass.AUTH, "cooling(auth)"),
        (FailureClass.AUTH_DEAD, "disabled(auth)"),
        (FailureClass.PERMISSION, "ready"),
        (FailureClass.NO_MODEL, "ready"),
        (FailureClass.RATE, "cooling(rate_limit)"),
        (FailureClass.BILLING, "cooling(billing)"),
        (FailureClass.OVERLOADED, "ready"),
        (FailureClass.SERVER, "ready"),
        (FailureClass.ENDPOINT, "ready"),
        (FailureClass.CHALLENGE, "cooling(blocked)"),
        (FailureClass.CUT, "ready"),
        (FailureClass.UNKNOWN, "ready"),
    ],
)
def test_one_failure_has_its_effect(cls: FailureClass, word: str) -> None:
    """Protects the table's effects as they are seen from outside."""
    table = bench("a", credential("b", way_out=Secret("socks5://127.0.0.1:1")))
    table.end(failure(cls), "a")
    assert table.word("a") == word
    assert table.word("b") == "ready"


@pytest.mark.parametrize("cls", [FailureClass.SERVER, FailureClass.CUT])
def test_five_faults_in_a_row_take_a_credential_out(cls: FailureClass) -> None:
    """Protects clients from a broken credential, and the credential from fewer faults than five."""
    table = bench("a", "b")
    for _ in range(4):
        table.end(failure(cls), "a")
    assert table.word("a") == "ready"
    table.end(failure(cls), "a")
    assert table.word("a") == "cooling(faults)"
    assert set(table.names(6)) == {"b"}


def test_a_success_between_starts_the_count_anew() -> None:
    """Protects a credential that mostly works: only faults in a row count as such."""
    table = bench("a", "b", strike_window_calls=1000)
    for _ in range(20):
        for _ in range(4):
            table.end(RESET, "a")
        table.end(Success(), "a")
    assert table.word("a") == "ready"


def test_half_of_the_calls_failing_takes_a_credential_out() -> None:
    """Protects against a credential that fails every other call, which never has five faults in a row."""
    table = bench("a", "b")
    for _ in range(5):
        table.end(Success(), "a")
        table.end(RESET, "a")
    assert table.word("a") == "cooling(faults)"


def test_old_faults_are_forgotten() -> None:
    """Protects a credential that is seldom used from adding up the faults of weeks."""
    table = bench("a", "b")
    for _ in range(4):
        table.end(RESET, "a")
    table.clock.advance(601)
    table.end(RESET, "a")
    assert table.word("a") == "ready"


def test_the_fault_ladder_climbs_with_each_failed_trial() -> None:
    """Protects the ladder: 30 to 300 s, one step for each trial that fails."""
    table = bench("a", "b")
    for _ in range(4):
        table.end(RESET, "a")
    assert times(table, RESET, 6) == [30, 60, 120, 240, 300, 300]


@pytest.mark.parametrize(("healthy_s", "length_s"), [(599, 60), (600, 30)])
def test_ten_minutes_of_health_bring_the_ladder_back_to_its_start(healthy_s: float, length_s: float) -> None:
    """Protects both sides: a flapping credential climbs, a recovered one begins anew."""
    table = bench("a", "b")
    for _ in range(4):
        table.end(RESET, "a")
    assert times(table, RESET, 1) == [30]
    table.end(Success(), "a")
    table.clock.advance(healthy_s)
    for _ in range(4):
        table.end(RESET, "a")
    assert times(table, RESET, 1) == [length_s]


@pytest.mark.parametrize(("count", "out"), [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)])
def test_faults_take_half_of_a_tier_at_most(count: int, out: int) -> None:
    """Protects the pool from a fault of the whole service: the rest stays in, and one good answer heals."""
    table = bench(*[f"k{number}" for number in range(count)])
    for _ in range(60):
        table.end(SERVER)
    words = [table.word(f"k{number}") for number in range(count)]
    assert words.count("cooling(faults)") == out
    assert words.count("ready") == count - out
    assert table.pool.panic
    for _ in range(count):
        table.end(Success())
    assert not table.pool.panic


def test_the_half_is_counted_in_each_tier() -> None:
    """Protects a small tier from being emptied because a large one is healthy."""
    table = bench("a", *(credential(f"b{number}", tier=1) for number in range(4)))
    for _ in range(20):
        table.end(SERVER)
    assert table.word("a") == "ready"


def test_a_fallback_is_no_part_of_the_half() -> None:
    """Protects the last Claude credential: that a fallback is healthy does not make it dispensable."""
    table = bench("a", credential("last", kind=Kind.OPENAI))
    for _ in range(20):
        table.end(SERVER)
    assert table.word("a") == "ready"


def test_a_trial_that_fails_while_too_few_are_left_brings_the_credential_back() -> None:
    """Protects the half when others left meanwhile: it stays in and passes the upstream's error on."""
    table = bench("a", "b")
    for _ in range(5):
        table.end(RESET, "a")
    table.pool.disable("b")
    table.clock.advance(30)
    assert table.end(RESET, "a").changes[0].state is State.READY
    assert table.pool.panic


def test_who_is_limited_is_no_part_of_the_half_that_stays() -> None:
    """Protects the last ones that can work: two of four limited, so only one of the others may go."""
    table = bench(*"abcd")
    table.end(RATE, "c")
    table.end(failure(FailureClass.RATE, retry_after_s=600.0), "d")
    for _ in range(20):
        table.end(SERVER)
    assert sorted(table.word(name) for name in "ab") == ["cooling(faults)", "ready"]


def test_faults_in_one_class_leave_the_others_alone() -> None:
    """Protects the traffic of other models."""
    table = bench("a", "b")
    for _ in range(5):
        table.end(RESET, "a")
    assert set(table.names(4, OTHER_CLASS)) == {"a", "b"}


def test_a_limit_that_names_no_time_climbs_its_own_ladder() -> None:
    """Protects the ladder of unnamed limits: 5 to 60 s, from the start after a success."""
    table = bench("a")
    assert times(table, RATE, 6) == [5, 10, 20, 40, 60, 60]
    table.end(Success())
    assert times(table, RATE, 1) == [5]


def test_an_open_limit_climbs_one_step_only() -> None:
    """Protects a busy key: fifty calls refused together are one limit."""
    table = bench("a")
    leases = [table.lease() for _ in range(50)]
    for lease in leases:
        table.pool.settle(lease, Failed(RATE))
    table.clock.advance(5)
    assert times(table, RATE, 1) == [10]


@pytest.mark.parametrize(
    ("named_s", "length_s"), [(30.0, 30), (0.0, 1), (0.2, 1), (3600.0, 3600), (1e9, 3600)]
)
def test_a_named_limit_lasts_as_long_as_it_says(named_s: float, length_s: float) -> None:
    """Protects the clamp: at least a second, at most an hour."""
    assert times(bench("a"), failure(FailureClass.RATE, retry_after_s=named_s), 1) == [length_s]


def test_a_shorter_limit_does_not_shorten_a_longer_one() -> None:
    """Protects the later deadline."""
    table = bench("a")
    first, second = table.lease(), table.lease()
    table.pool.settle(first, Failed(failure(FailureClass.RATE, retry_after_s=60.0)))
    done = table.pool.settle(second, Failed(failure(FailureClass.RATE, retry_after_s=5.0)))
    assert done.changes == ()
    table.clock.advance(59)
    assert isinstance(table.pick(), Exhausted)


def test_a_limit_reaches_the_whole_organization_in_its_class_alone() -> None:
    """Protects siblings from a useless call, and other classes, workspaces and owners from a foreign limit."""
    table = bench(*(credential(name, organization="org") for name in "abc"), "d")
    leases = {lease.name: lease for lease in (table.lease() for _ in range(4))}
    table.pool.learn(leases["c"], "org", "other-workspace")
    done = table.pool.settle(leases["a"], Failed(RATE))
    assert {each.name for each in done.changes} == {"a", "b"}
    assert set(table.names(4)) == {"c", "d"}
    assert set(table.names(8, OTHER_CLASS)) == set("abcd")


def test_credit_is_waited_for_an_hour_and_then_twice_as_long() -> None:
    """Protects the ladder of an empty balance: one hour doubling to a day."""
    hour = 3600
    table = bench("a")
    assert times(table, BILLING, 6) == [hour, 2 * hour, 4 * hour, 8 * hour, 16 * hour, 24 * hour]


def test_calls_that_find_the_balance_empty_together_are_one_step() -> None:
    """Protects the ladder of an empty balance from a burst."""
    table = bench("a")
    for lease in [table.lease() for _ in range(9)]:
        table.pool.settle(lease, Failed(BILLING))
    table.clock.advance(3600)
    assert times(table, BILLING, 1) == [7200]


def test_a_stated_date_is_kept() -> None:
    """Protects the end of a spend limit, which may be weeks ahead."""
    table = bench("a")
    ten_days_s = 10 * 86_400
    until = table.clock.wall_ms + ten_days_s * 1000
    assert times(table, failure(FailureClass.BILLING, until_unix_ms=until), 1) == [ten_days_s]


def test_a_closed_model_is_tried_again_after_ten_minutes() -> None:
    """Protects a credential's other models, and the model itself once access is given."""
    table = bench("a")
    assert times(table, PERMISSION, 2) == [600, 600]
    assert table.end(Success()).changes[0].state is State.READY
    table.end(PERMISSION)
    assert table.names(1, OTHER_CLASS) == ["a"]


def test_a_challenge_blocks_the_way_out_for_all_who_take_it() -> None:
    """Protects the address: 60 s doubling to 15 min, for every cookie behind it and no other credential."""
    table = bench(
        *(credential(name, kind=Kind.CLAUDE_WEB) for name in "ab"),
        credential("far", kind=Kind.CLAUDE_WEB, way_out=Secret("socks5://127.0.0.1:1")),
        "key",
    )
    done = table.end(CHALLENGE, "a")
    assert {(each.name, each.reason) for each in done.changes} == {
        ("a", Reason.BLOCKED),
        ("b", Reason.BLOCKED),
    }
    assert not any(each.durable for each in done.changes)
    assert set(table.names(4)) == {"key"}
    table.clock.advance(60)
    while not (back := table.end(Success())).changes:
        pass
    assert {(each.name, each.state) for each in back.changes} == {("a", State.READY), ("b", State.READY)}
    alone = bench(credential("a", kind=Kind.CLAUDE_WEB))
    assert times(alone, CHALLENGE, 6) == [60, 120, 240, 480, 900, 900]


@pytest.mark.parametrize("found", [Abandoned(), Failed(failure(FailureClass.OVERLOADED)), Failed(SERVER)])
def test_a_trial_without_a_verdict_gives_its_permit_back(found: Abandoned | Failed) -> None:
    """Protects against a credential stuck in its trial: the next request tries it again."""
    table = bench("a")
    table.end(RATE)
    table.clock.advance(5)
    lease = table.lease()
    assert lease.trial
    assert table.pool.settle(lease, found).changes == ()
    assert table.word("a") == "trial(rate_limit)"
    assert table.lease().trial


def test_a_trial_that_never_ends_loses_its_permit() -> None:
    """Protects against a hanging trial: after 30 s another request may try."""
    table = bench("a")
    table.end(RATE)
    table.clock.advance(5)
    hanging = table.lease()
    table.clock.advance(30)
    second = table.lease()
    assert second.trial
    assert table.pool.settle(second, Success()).changes[0].state is State.READY
    assert table.pool.settle(hanging, Success()).changes == ()


def test_news_from_before_the_trouble_is_no_news() -> None:
    """Protects a cooling credential from being brought back, or struck again, by calls that began earlier."""
    table = bench("a", "b")
    early = [lease for lease in [table.lease() for _ in range(4)] if lease.name == "a"]
    for _ in range(5):
        table.end(RESET, "a")
    table.pool.settle(early[0], Success())
    assert table.word("a") == "cooling(faults)"
    table.clock.advance(30)
    table.pool.settle(early[1], Failed(RESET))
    assert table.word("a") == "trial(faults)"


def test_a_limit_shows_that_a_key_on_trial_is_good() -> None:
    """Protects a key: the upstream that counts a call against a limit has accepted it."""
    table = bench("a", "b")
    table.end(AUTH, "a")
    table.clock.advance(60)
    table.end(RATE, "a")
    assert table.word("a") == "cooling(rate_limit)"


@pytest.mark.parametrize("fault", [Fault.PING_ONLY, Fault.CONNECT_REFUSED])
def test_blameless_faults_never_add_up(fault: Fault) -> None:
    """Protects a credential from what is no fault of its own."""
    table = bench("a", "b")
    for _ in range(30):
        table.end(classify_fault(fault), "a")
    assert table.word("a") == "ready"


def test_a_reset_forgets_everything() -> None:
    """Protects the operator's last word: whatever kept a credential out of use is gone, ladders included."""
    table = bench("a", "b", credential("web", kind=Kind.CLAUDE_WEB))
    mine = [lease for lease in (table.lease() for _ in range(6)) if lease.name == "a"]
    for lease, found in zip(mine, (PERMISSION, RATE), strict=True):
        table.pool.settle(lease, Failed(found))
    table.end(DEAD, "b")
    table.end(CHALLENGE, "web")
    for name in ("a", "b", "web"):
        changes = table.pool.reset(name).changes
        assert changes
        assert {each.state for each in changes} == {State.READY}
        assert table.word(name) == "ready"
    assert set(table.names(3)) == {"a", "b", "web"}
    assert times(table, RATE, 1) == [5]
    assert WANT.limit_class in table.pool.snapshot()[0].classes
