"""Conversations go back to who answered them, softly and within bounds."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.pool.affinity import Affinity
from proxy.pool.members import Lease
from proxy.pool.outcomes import Failed, Saturated, Success
from tests.support.clock import FakeClock
from tests.unit.pool.building import RATE, WANT, bench, credential


def test_a_conversation_belongs_to_who_answered_it_first() -> None:
    """Protects prompt caches: the next turn finds the cache of the last."""
    affinity = Affinity(FakeClock())
    assert affinity.preferred(b"a") is None
    affinity.answered(b"a", "api-1")
    assert affinity.preferred(b"a") == "api-1"
    assert affinity.preferred(b"b") is None


def test_a_binding_moves_after_two_answers_in_a_row_from_elsewhere() -> None:
    """Protects the cache from one bad moment, and the conversation from a credential that stays bad."""
    affinity = Affinity(FakeClock())
    affinity.answered(b"a", "api-1")
    affinity.answered(b"a", "api-2")
    assert affinity.preferred(b"a") == "api-1"
    affinity.answered(b"a", "api-1")
    affinity.answered(b"a", "api-2")
    assert affinity.preferred(b"a") == "api-1"
    affinity.answered(b"a", "api-3")
    assert affinity.preferred(b"a") == "api-3"


def test_answers_of_stand_ins_for_a_full_credential_move_nothing() -> None:
    """Protects the cache from a busy minute."""
    affinity = Affinity(FakeClock())
    affinity.answered(b"a", "api-1")
    for _ in range(5):
        affinity.answered(b"a", "api-2", spilled=True)
    assert affinity.preferred(b"a") == "api-1"


def test_an_idle_binding_is_forgotten() -> None:
    """Protects memory; the provider has forgotten the prefix by then too."""
    clock = FakeClock()
    affinity = Affinity(clock, idle_s=60.0)
    affinity.answered(b"a", "api-1")
    clock.advance(59.0)
    affinity.answered(b"a", "api-1")
    clock.advance(59.0)
    assert affinity.preferred(b"a") == "api-1"
    clock.advance(1.0)
    assert affinity.preferred(b"a") is None
    assert len(affinity) == 0


def test_the_conversation_that_was_idle_longest_makes_room() -> None:
    """Protects memory from clients that open conversations without end."""
    clock = FakeClock()
    affinity = Affinity(clock, entries_max=3)
    for name in (b"a", b"b", b"c"):
        affinity.answered(name, "api-1")
    affinity.answered(b"a", "api-1")
    affinity.answered(b"d", "api-1")
    assert [affinity.preferred(name) for name in (b"a", b"b", b"c", b"d")] == [
        "api-1",
        None,
        "api-1",
        "api-1",
    ]


def test_idle_conversations_go_when_a_new_one_comes() -> None:
    """Protects memory from conversations nobody asks for again."""
    clock = FakeClock()
    affinity = Affinity(clock, idle_s=60.0)
    affinity.answered(b"a", "api-1")
    affinity.answered(b"b", "api-1")
    clock.advance(60.0)
    affinity.answered(b"c", "api-1")
    assert len(affinity) == 1


def test_a_credential_that_is_slow_to_begin_is_not_waited_for() -> None:
    """Protects conversations from a credential that answers, but late; one slow answer is none."""
    affinity = Affinity(FakeClock())
    affinity.answered(b"a", "api-1")
    affinity.heard("api-1", 1.0)
    affinity.heard("api-1", 60.0)
    assert affinity.preferred(b"a") == "api-1"
    affinity.heard("api-1", 60.0)
    assert affinity.preferred(b"a") is None
    for _ in range(5):
        affinity.heard("api-1", 0.5)
    assert affinity.preferred(b"a") == "api-1"


@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.sampled_from(["x", "y", "z"]), st.booleans(), st.integers(0, 40)),
        max_size=200,
    )
)
def test_whatever_happens_it_stays_within_its_bounds(steps: list[tuple[int, str, bool, int]]) -> None:
    """Protects memory and meaning: never too many, and only names that have answered."""
    clock = FakeClock()
    affinity = Affinity(clock, entries_max=10, idle_s=60.0)
    answered: dict[bytes, set[str]] = {}
    for number, name, spilled, pause_s in steps:
        conversation = bytes([number])
        affinity.answered(conversation, name, spilled=spilled)
        answered.setdefault(conversation, set()).add(name)
        assert len(affinity) <= 10
        assert affinity.preferred(conversation) in answered[conversation]
        clock.advance(float(pause_s))


def test_a_conversations_own_credential_is_given_out_of_turn() -> None:
    """Protects the cache from the rotation, and the rotation's places from being exceeded."""
    table = bench(credential("a", max_concurrency=1), "b")
    lease = table.pool.pick_at("a", WANT, table.walk())
    assert isinstance(lease, Lease)
    assert lease.name == "a"
    assert isinstance(table.pool.pick_at("a", WANT, table.walk()), Saturated)
    table.pool.settle(lease, Success())
    assert isinstance(table.pool.pick_at("a", WANT, table.walk()), Lease)


def test_a_credential_that_cannot_serve_is_not_given() -> None:
    """Protects conversations from waiting for what is out of use, gone, for others, or has refused them."""
    table = bench(credential("a", models=("claude-opus-*",)), "b", credential("c", enabled=False))
    assert table.pool.pick_at("a", WANT, table.walk()) is None
    assert table.pool.pick_at("c", WANT, table.walk()) is None
    assert table.pool.pick_at("unknown", WANT, table.walk()) is None
    walk = table.walk()
    lease = table.pool.pick_at("b", WANT, walk)
    assert isinstance(lease, Lease)
    walk.after(RATE, lease)
    table.pool.settle(lease, Failed(RATE))
    assert table.pool.pick_at("b", WANT, walk) is None


def test_a_credential_that_is_gone_is_forgotten_with_its_conversations_and_its_slowness() -> None:
    """Protects conversations, and a new key under the old alias from being taken for slow."""
    affinity = Affinity(FakeClock())
    for name in ("a", "b"):
        affinity.answered(f"of {name}", name)
        affinity.heard(name, 60.0)
    affinity.forget(["a"])
    assert len(affinity) == 1
    affinity.answered("of a", "a")
    affinity.answered("of b", "b")
    assert (affinity.preferred("of a"), affinity.preferred("of b")) == ("a", None)
    affinity.forget([])
    assert len(affinity) == 2
