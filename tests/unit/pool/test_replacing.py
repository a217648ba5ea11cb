"""What another configuration does to each credential, its leases, its health and whoever waits."""

import pytest

from proxy.credentials import Credential, Kind
from proxy.pool.failure import Failure, FailureClass
from proxy.pool.health import HealthChange, Reason, State
from proxy.pool.members import Lease
from proxy.pool.outcomes import Abandoned, Exhausted, Failed, Success
from proxy.pool.pool import Pool
from proxy.pool.replacing import Difference, compare
from proxy.secrets import Secret
from tests.unit.pool.building import AUTH, OTHER_CLASS, RATE, SERVER, WANT, bench, credential, failure


def key(name: str, secret: str = "", /, **changes: object) -> Credential:
    """A credential with a key of its own, or this one."""
    return credential(name, secret=Secret(secret or f"key of {name}"), **changes)


CHALLENGE = failure(FailureClass.CHALLENGE, status=403)
PROXY = Secret("http://proxy.test:1")


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ([key("a"), key("b")], Difference()),
        ([key("b"), key("a")], Difference()),
        ([key("a"), key("b"), key("c")], Difference(added=("c",))),
        ([key("b")], Difference(removed=("a",))),
        ([key("a", weight=2), key("b")], Difference(changed=("a",))),
        ([key("a", enabled=False), key("b")], Difference(changed=("a",))),
        ([key("a", way_out=PROXY), key("b")], Difference(changed=("a",))),
        ([key("a", "other"), key("b")], Difference(changed=("a",), renewed=("a",))),
        ([key("a", base_url="https://b.test"), key("b")], Difference(changed=("a",), renewed=("a",))),
        ([key("a", kind=Kind.OPENAI), key("b")], Difference(changed=("a",), renewed=("a",))),
        ([key("c", "key of a"), key("b")], Difference(added=("c",), removed=("a",))),
        ([], Difference(removed=("a", "b"))),
    ],
)
def test_a_difference_names_each_alias_under_what_became_of_it(
    wanted: list[Credential], expected: Difference
) -> None:
    """Protects operators, who read in the log what their change did."""
    assert compare([key("a"), key("b")], wanted) == expected
    assert bool(expected) is (expected != Difference())


@pytest.mark.parametrize(
    "change",
    [{"weight": 3}, {"tier": 1}, {"models": ("claude-*",)}, {"max_concurrency": 9}, {"way_out": PROXY}],
    ids=lambda change: next(iter(change)),
)
def test_health_is_kept_while_alias_key_and_address_are_the_same(change: dict[str, object]) -> None:
    """Protects a rate limit and a refused key from being forgotten with every change of a weight."""
    table = bench(key("a"), key("b"))
    table.end(RATE, "a")
    table.pool.disable("b")
    before = table.pool.snapshot()
    table.pool.replace([key("a", **change), key("b", **change)])
    after = table.pool.snapshot()
    assert [(each.state, dict(each.classes)) for each in after] == [
        (each.state, dict(each.classes)) for each in before
    ]
    assert [each.succeeded + each.failed + each.abandoned for each in after] == [
        each.succeeded + each.failed + each.abandoned for each in before
    ]


@pytest.mark.parametrize("change", [{"secret": Secret("new")}, {"base_url": "https://b.test"}], ids=str)
def test_another_key_or_address_begins_anew(change: dict[str, object]) -> None:
    """Protects a new key from what the old one under its alias had coming."""
    table = bench(key("a"), "b")
    table.pool.disable("a")
    table.pool.replace([credential("a", **{"secret": Secret("key of a"), **change}), credential("b")])
    assert table.word("a") == "ready"


def test_a_lease_of_a_removed_credential_is_settled_like_any_other() -> None:
    """Protects running answers, and the count of places, from a change of the file."""
    table = bench(key("a"), key("b"))
    leases = [table.lease(), table.lease()]
    table.pool.replace([key("b")])
    assert table.pool.in_flight == 2
    assert table.pool.departed() == ()
    assert [each.name for each in table.pool.leaving] == ["a"]
    assert table.names(4) == ["b"] * 4
    for lease in leases:
        table.pool.settle(lease, Success())
        with pytest.raises(RuntimeError):
            table.pool.settle(lease, Success())
    assert table.pool.in_flight == 0
    assert [each.name for each in table.pool.departed()] == ["a"]
    assert table.pool.departed() == ()
    assert table.pool.leaving == ()


@pytest.mark.parametrize("cls", FailureClass)
def test_what_becomes_of_an_old_keys_lease_is_no_matter_of_the_new_one(cls: FailureClass) -> None:
    """Protects a fresh key from the verdict on the one whose alias it has."""
    table = bench(key("a", max_concurrency=1))
    old = table.lease()
    table.pool.replace([key("a", "new", max_concurrency=1)])
    settled = table.pool.settle(old, Failed(failure(cls, status=500, retry_after_s=60.0)))
    assert settled.changes == ()
    assert table.word("a") == "ready"
    assert table.names(2) == ["a", "a"]


@pytest.mark.parametrize(("found", "word"), [(AUTH, "cooling(auth)"), (RATE, "cooling(rate_limit)")])
def test_a_verdict_reaches_the_same_key_on_its_new_way_out(found: Failure, word: str) -> None:
    """Protects a key whose proxy was changed from being used on after it was refused."""
    table = bench(key("a"), key("b"))
    old = table.lease()
    assert old.name == "a"
    table.pool.replace([key("a", way_out=PROXY), key("b")])
    settled = table.pool.settle(old, Failed(found))
    assert [change.name for change in settled.changes] == ["a"]
    assert table.word("a") == word


def test_nobody_is_told_of_a_key_that_moved_to_another_way_out_and_then_left() -> None:
    """Protects what is stored from the health of a credential that is configured no more."""
    table = bench(key("a"))
    lease = table.lease()
    table.pool.replace([key("a", way_out=PROXY)])
    table.pool.replace([])
    assert table.pool.settle(lease, Failed(AUTH)).changes == ()


def test_a_challenge_to_the_old_way_out_does_not_block_the_new_one() -> None:
    """Protects a credential that was given another proxy because of the challenges."""
    table = bench(key("a"))
    old = table.lease()
    table.pool.replace([key("a", way_out=PROXY)])
    table.pool.settle(old, Failed(CHALLENGE))
    assert table.word("a") == "ready"


def test_a_way_out_that_stays_in_use_stays_blocked() -> None:
    """Protects a challenged address from being asked at once by a key that was added."""
    table = bench(key("a"))
    table.end(CHALLENGE)
    table.pool.replace([key("a"), key("b")])
    assert table.word("b") == "cooling(blocked)"


def test_rules_hold_from_the_next_request_on() -> None:
    """Protects tiers, weights, models and clients from lagging behind the file."""
    table = bench(key("a"), key("b"))
    assert sorted(table.names(4)) == ["a", "a", "b", "b"]
    table.pool.replace([key("a", tier=1), key("b")])
    assert table.names(3) == ["b"] * 3
    table.pool.replace([key("a", weight=3), key("b")])
    assert sorted(table.names(8)) == ["a"] * 6 + ["b"] * 2
    table.pool.replace([key("a", models=("claude-opus-*",)), key("b", clients=frozenset({"client"}))])
    assert table.names(2) == ["b"] * 2
    assert sorted(table.names(2, OTHER_CLASS)) == ["a", "b"]
    table.pool.replace([key("a", clients=frozenset({"another"}))])
    assert isinstance(table.pick(), Exhausted)


def test_a_great_weight_of_the_past_keeps_nobody_waiting() -> None:
    """Protects the rotation from turns that were saved up under other weights."""
    table = bench(key("a", weight=1000), key("b"))
    table.names(700)
    table.pool.replace([key("a"), key("b")])
    assert sorted(table.names(4)) == ["a", "a", "b", "b"]


def test_fewer_places_hold_for_new_leases_only() -> None:
    """Protects running answers from a smaller limit, and the limit from new ones."""
    table = bench(key("a", max_concurrency=3))
    leases = [table.lease() for _ in range(3)]
    table.pool.replace([key("a", max_concurrency=1)])
    for lease in leases[:2]:
        table.pool.settle(lease, Success())
        assert not isinstance(table.pick(), Lease)
    table.pool.settle(leases[2], Success())
    table.lease()


def test_whoever_waits_gets_a_place_that_a_change_makes() -> None:
    """Protects waiting requests from their whole wait when a key was added for them."""
    table = bench(key("a", max_concurrency=1))
    table.lease()
    tickets = [table.pool.enqueue(WANT, table.walk()) for _ in range(3)]
    replaced = table.pool.replace([key("a", max_concurrency=2), key("b", max_concurrency=1)])
    assert [ticket for ticket, _ in replaced.settled.grants] == tickets[:2]
    assert {lease.name for _, lease in replaced.settled.grants} == {"a", "b"}


def test_the_configuration_disables_and_enables_and_leaves_a_persons_word_alone() -> None:
    """Protects a key somebody took out by hand from coming back with any change of the file."""
    table = bench(key("a"), key("b"))
    table.pool.disable("b")
    off = table.pool.replace([key("a", enabled=False), key("b", enabled=False)])
    assert off.settled.changes == (), "what the file says is not kept: the next start reads it again"
    assert table.word("a") == "disabled(manual)"
    on = table.pool.replace([key("a"), key("b")])
    assert [(change.name, change.state) for change in on.settled.changes] == [("a", State.READY)]
    assert (table.word("a"), table.word("b")) == ("ready", "disabled(manual)")


def test_who_is_new_begins_with_what_is_stored_of_it() -> None:
    """Protects a renamed key from losing its own health, and one that stays from being set back."""
    table = bench(key("a"), key("b"))
    rows = [
        HealthChange(
            name=name,
            state=State.COOLING,
            reason=Reason.BILLING,
            since_unix_ms=table.clock.wall_ms,
            until_unix_ms=table.clock.wall_ms + 60_000,
        )
        for name in ("a", "b", "c", "nobody")
    ]
    table.pool.replace([key("a"), key("b", "new"), key("c")], rows)
    assert [table.word(name) for name in "abc"] == ["ready", "cooling(billing)", "cooling(billing)"]
    assert table.pool.next_deadline_s == table.clock.now_s + 60


def test_conversations_forget_who_is_gone() -> None:
    """Protects conversations from looking for a credential that is not there, or is another key."""
    table = bench(key("a"), key("b"), key("c"))
    for name in "abc":
        table.pool.affinity.answered(f"of {name}", name)
    table.pool.replace([key("b", "new"), key("c", weight=2)])
    assert [table.pool.affinity.preferred(f"of {name}") for name in "abc"] == [None, None, "c"]


def test_a_trial_that_leaves_gives_its_permit_back() -> None:
    """Protects a way out that several share from waiting for the verdict of one that has left."""
    table = bench(key("a"), key("b"))
    change = table.end(CHALLENGE).changes[0]
    table.clock.advance(table.left_s(change))
    trial = table.lease()
    assert trial.trial
    assert not isinstance(table.pick(), Lease)
    stays = "b" if trial.name == "a" else "a"
    table.pool.replace([key(stays)])
    assert not isinstance(table.pick(), Lease)
    table.pool.answered(trial)
    table.pool.settle(trial, Abandoned())
    assert table.lease().trial


def test_the_views_follow_the_order_of_the_configuration() -> None:
    """Protects the operator's overview."""
    pool: Pool = bench(key("a"), key("b")).pool
    pool.replace([key("c"), key("b"), key("a")])
    assert [view.name for view in pool.snapshot()] == ["c", "b", "a"]
    assert repr(pool).startswith("<Pool [3 members: 3 ready")


def test_an_organization_the_operator_names_replaces_the_one_that_was_learned() -> None:
    """Protects shared limits from an account a key has left, and what was learned from every other change."""
    table = bench(key("a"), key("b", organization="theirs"))
    table.pool.learn(table.lease(), "learned", "workspace")
    table.pool.replace([key("a", weight=2), key("b", organization="ours")])
    found = [(view.organization, view.workspace) for view in table.pool.snapshot()]
    assert found == [("learned", "workspace"), ("ours", None)]
    table.pool.replace([key("a", organization="ours"), key("b")])
    found = [(view.organization, view.workspace) for view in table.pool.snapshot()]
    assert found == [("ours", None), (None, None)]


def test_who_no_longer_serves_a_class_is_no_part_of_its_half() -> None:
    """Protects the last credentials of a class from being taken out by faults, because others once served it too."""
    table = bench(*map(key, "abcd"), strikes=1)
    table.names(4)
    opus = {"models": ("claude-opus-*",)}
    table.pool.replace([key("a"), key("b"), key("c", **opus), key("d", **opus)])
    for name in "ab":
        table.end(SERVER, name)
    assert [table.word(name) for name in "ab"] == ["cooling(faults)", "ready"]
