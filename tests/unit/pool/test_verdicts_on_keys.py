"""What becomes of credentials whose key is refused."""

from proxy.credentials import Kind
from proxy.pool.failure import FailureClass
from proxy.pool.health import Reason, State
from proxy.pool.members import Lease
from proxy.pool.outcomes import Failed, Success
from tests.unit.pool.building import AUTH, bench, credential, failure, times

DEAD = failure(FailureClass.AUTH_DEAD, status=401)


def test_a_refused_key_is_tried_again_and_then_disabled() -> None:
    """Protects against a key that was revoked, and a key that was refused once by mistake."""
    table = bench("a", *"bcd")
    assert times(table, AUTH, 1) == [60]
    done = table.end(AUTH, "a")
    assert [(each.state, each.reason, each.until_unix_ms) for each in done.changes] == [
        (State.DISABLED, Reason.AUTH, None)
    ]
    table.clock.advance(1e6)
    assert "a" not in table.names(8)


def test_a_success_between_forgives_a_refused_key() -> None:
    """Protects a key through two mistakes of the upstream that have nothing to do with each other."""
    table = bench("a", *"bcd")
    times(table, AUTH, 1)
    table.end(Success(), "a")
    table.end(AUTH, "a")
    assert table.word("a") == "cooling(auth)"


def test_a_success_that_began_before_the_refusal_forgives_nothing() -> None:
    """Protects the rule of two refusals from answers that were under way when the key was revoked."""
    table = bench("a", *"bcd")
    early = table.lease()
    table.end(AUTH, "a")
    table.pool.settle(early, Success())
    table.clock.advance(60)
    assert early.name == "a"
    assert table.end(AUTH, "a").changes[0].state is State.DISABLED


def test_refusals_at_the_same_time_are_one() -> None:
    """Protects a busy key: the calls that were under way together do not add up."""
    table = bench("a", *"bcd", trial_s=30)
    leases = [table.lease() for _ in range(8)]
    mine = [lease for lease in leases if lease.name == "a"]
    table.pool.settle(mine[0], Failed(AUTH))
    table.clock.advance(4.9)
    table.pool.settle(mine[1], Failed(AUTH))
    assert table.word("a") == "cooling(auth)"


def test_a_refusal_soon_after_a_short_time_out_of_use_is_no_second_one() -> None:
    """Protects a key whose cooling is set shorter than refusals have to lie apart: it goes on cooling."""
    table = bench("a", *"bcd", auth_cooling_s=1.0)
    assert times(table, AUTH, 3) == [1, 2, 4]
    assert table.end(AUTH, "a").changes[0].state is State.DISABLED


def test_a_key_disabled_long_ago_is_no_part_of_the_half() -> None:
    """Protects against counting what has left the pool: of three keys in use, two refused are over half."""
    table = bench(*"abcd")
    table.pool.disable("d")
    for name in "ab":
        table.end(AUTH, name)
    table.clock.advance(60)
    assert table.end(AUTH, "a").changes[0].state is State.COOLING


def test_the_last_of_a_kind_is_never_disabled_by_a_refusal() -> None:
    """Protects a pool of one kind from being lost for good: it goes on cooling, 60 to 300 s."""
    table = bench("a", credential("web", kind=Kind.CLAUDE_WEB), credential("web2", kind=Kind.CLAUDE_WEB))
    assert times(table, AUTH, 6) == [60, 120, 240, 300, 300, 300]


def test_a_service_that_refuses_every_key_disables_none() -> None:
    """Protects the pool from an outage of the upstream's key check, however long it lasts."""
    table = bench(*[f"k{number}" for number in range(10)])
    for _ in range(5):
        while isinstance(lease := table.pick(), Lease):
            table.pool.settle(lease, Failed(AUTH))
        table.clock.advance(301)
    assert all("disabled" not in table.word(f"k{number}") for number in range(10))
    assert table.pool.panic


def test_half_of_the_keys_may_be_disabled() -> None:
    """Protects the good half of a pool from useless trials of the revoked half."""
    table = bench(*"abcd")
    for name in "ab":
        table.end(AUTH, name)
    table.clock.advance(60)
    for name in "ab":
        table.end(AUTH, name)
    assert [table.word(name) for name in "abcd"] == ["disabled(auth)"] * 2 + ["ready"] * 2


def test_a_death_notice_disables_at_once_even_the_last() -> None:
    """Protects a claude.ai account from being asked once it is known to be dead."""
    table = bench(credential("a", kind=Kind.CLAUDE_WEB))
    table.end(DEAD)
    assert table.word("a") == "disabled(auth)"
