"""What other processes find out is followed, as far as it leaves somebody to ask."""

from dataclasses import replace

import pytest

from proxy.credentials import Kind
from proxy.pool.failure import FailureClass
from proxy.pool.health import HealthChange, Reason, State
from proxy.pool.outcomes import Saturated, Success
from tests.unit.pool.building import WANT, Bench, bench, credential, failure

NOW = 1_795_000_000_000
COOLING = HealthChange(
    name="a",
    state=State.COOLING,
    reason=Reason.RATE_LIMIT,
    since_unix_ms=NOW,
    until_unix_ms=NOW + 60_000,
    limit_class=WANT.limit_class,
)
READY = replace(COOLING, state=State.READY, reason=None, until_unix_ms=None)
DISABLED = HealthChange(
    name="a", state=State.DISABLED, reason=Reason.MANUAL, since_unix_ms=NOW, until_unix_ms=None
)
FAULTS = replace(COOLING, reason=Reason.FAULTS)


@pytest.mark.parametrize("row", [COOLING, DISABLED, replace(COOLING, reason=Reason.BILLING, limit_class="")])
def test_what_another_process_says_is_followed_and_told_to_nobody(row: HealthChange) -> None:
    """Protects from two processes that tell each other the same for ever."""
    table = bench("a", "b")
    assert table.pool.adopt([row]).changes == ()
    assert set(table.names(4)) == {"b"}
    back = replace(row, state=State.READY, reason=None, until_unix_ms=None)
    assert table.pool.adopt([back]).changes == ()
    assert set(table.names(4)) == {"a", "b"}


def test_the_longer_rest_counts() -> None:
    """Protects a limit from a process that has heard of a shorter one."""
    table = bench("a")
    table.pool.adopt([replace(COOLING, until_unix_ms=NOW + 90_000), COOLING])
    table.clock.advance(80)
    assert table.word("a") == "cooling(rate_limit)"
    table.clock.advance(10)
    assert table.names(1) == ["a"]


def test_an_answer_to_what_was_asked_before_is_no_news() -> None:
    """Protects a rest from answers that were under way when another process ran into the limit."""
    table = bench("a", "b")
    lease = table.lease()
    table.pool.adopt([replace(COOLING, name=lease.name)])
    table.pool.settle(lease, Success())
    assert table.word(lease.name) == "cooling(rate_limit)"


def test_two_processes_cannot_put_more_than_half_out_of_use_for_faults() -> None:
    """Protects clients from an empty pool, when a fault of the whole service is seen by each at another credential."""
    table = bench("a", "b", "c", "d")
    table.pool.adopt([replace(FAULTS, name=name) for name in "abc"])
    assert [table.word(name) for name in "abcd"] == ["cooling(faults)", "cooling(faults)", "ready", "ready"]


def test_the_last_key_of_a_kind_is_not_disabled_by_what_two_processes_say() -> None:
    """Protects the last key from a refusal that may be the provider's own trouble; it rests for a while."""
    table = bench("a", "b")
    refused = replace(DISABLED, reason=Reason.AUTH, cause=FailureClass.AUTH)
    table.pool.adopt([refused, replace(refused, name="b")])
    assert [table.word(name) for name in "ab"] == ["disabled(auth)", "cooling(auth)"]


def test_what_the_configuration_disables_is_enabled_by_nobody_else() -> None:
    """Protects an operator's configuration from another process with an older one."""
    table = bench(credential("a", enabled=False), credential("b"))
    table.pool.adopt([replace(READY, limit_class="")])
    assert table.word("a") == "disabled(manual)"


def test_a_session_that_met_a_challenge_is_left_alone_by_all_and_an_api_key_is_not() -> None:
    """Protects a person's account from being asked by another process after it was told to stop."""
    web = bench(credential("a", kind=Kind.CLAUDE_WEB), credential("b"))
    challenge = _challenged(web)
    assert [change.shared for change in challenge if change.way_out] == [True]
    other = bench(credential("a", kind=Kind.CLAUDE_WEB), credential("b"))
    other.pool.adopt(challenge)
    assert other.word("a") == "cooling(blocked)"
    key = bench(credential("a"), credential("b", base_url="https://b.test"))
    assert [change.shared for change in _challenged(key) if change.way_out] == [False]


def _challenged(table: Bench) -> tuple[HealthChange, ...]:
    return table.end(failure(FailureClass.CHALLENGE, status=403), "a").changes


def test_what_is_tried_elsewhere_is_tried_here_a_second_later() -> None:
    """Protects what has just come back from two questions at once, and it from being forgotten."""
    table = bench("a")
    table.pool.adopt([replace(COOLING, until_unix_ms=NOW + 1_000)])
    table.clock.advance(1)
    lease = table.lease()
    assert lease.trial
    walk = table.walk()
    table.pool.tried_elsewhere(lease)
    walk.attempts = 1
    walk.turn_back(lease)
    assert walk.attempts == 0
    assert table.pool.in_flight == 0
    for _ in range(2):
        assert isinstance(table.pick(), Saturated)
    table.clock.advance(1)
    table.pool.sweep()
    assert table.lease().trial
