"""Why no credential can be given, and who would be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.credentials import Kind
from proxy.pool.failure import Failure, FailureClass
from proxy.pool.members import Lease
from proxy.pool.outcomes import (
    Abandoned,
    Exhausted,
    ExhaustedReason,
    Failed,
    Outcome,
    Saturated,
    Success,
    Want,
)
from tests.unit.pool.building import AUTH, RATE, RESET, WANT, Bench, bench, credential, failure

LONG_RATE = failure(FailureClass.RATE, retry_after_s=90.0)
BILLING = failure(FailureClass.BILLING)
DEAD = failure(FailureClass.AUTH_DEAD)
PERMISSION = failure(FailureClass.PERMISSION)
NO_MODEL = failure(FailureClass.NO_MODEL)
CHALLENGE = failure(FailureClass.CHALLENGE)


@pytest.mark.parametrize(
    ("first", "second", "reason", "retry_after_s"),
    [
        (LONG_RATE, RATE, ExhaustedReason.RATE_LIMITED, 5),
        (LONG_RATE, LONG_RATE, ExhaustedReason.RATE_LIMITED, 90),
        (LONG_RATE, AUTH, ExhaustedReason.RATE_LIMITED, 60),
        (RATE, BILLING, ExhaustedReason.RATE_LIMITED, 5),
        (RATE, DEAD, ExhaustedReason.RATE_LIMITED, 5),
        (AUTH, BILLING, ExhaustedReason.COOLING, 60),
        (CHALLENGE, CHALLENGE, ExhaustedReason.COOLING, 60),
        (BILLING, BILLING, ExhaustedReason.UNUSABLE, 3600),
        (BILLING, DEAD, ExhaustedReason.UNUSABLE, 3600),
        (DEAD, DEAD, ExhaustedReason.UNUSABLE, None),
        (PERMISSION, PERMISSION, ExhaustedReason.PERMISSION, None),
        (PERMISSION, NO_MODEL, ExhaustedReason.PERMISSION, None),
        (NO_MODEL, NO_MODEL, ExhaustedReason.NO_MODEL, None),
        (NO_MODEL, DEAD, ExhaustedReason.NO_MODEL, None),
        (NO_MODEL, RATE, ExhaustedReason.RATE_LIMITED, 5),
    ],
)
def test_what_passes_soonest_is_what_is_told(
    first: Failure, second: Failure, reason: ExhaustedReason, retry_after_s: float | None
) -> None:
    """Protects the client's answer: the reason that leaves most hope, with the least remaining time."""
    table = bench("a", "b")
    held = [table.lease(), table.lease()]
    for lease, found in zip(held, (first, second), strict=True):
        table.pool.settle(lease, Failed(found))
    assert table.pick() == Exhausted(reason, retry_after_s)


def test_a_disabled_credential_promises_nothing() -> None:
    """Protects clients from waiting for the end of a limit on a key that is dead."""
    table = bench("a")
    first, second = table.lease(), table.lease()
    table.pool.settle(first, Failed(LONG_RATE))
    table.pool.settle(second, Failed(DEAD))
    assert table.pick() == Exhausted(ExhaustedReason.UNUSABLE)


def test_a_model_nobody_serves_is_unknown() -> None:
    """Protects the 404."""
    table = bench("a")
    assert table.pick(Want("gpt-4o", "gpt-4o", "client")) == Exhausted(ExhaustedReason.NO_MODEL)
    assert bench().pick() == Exhausted(ExhaustedReason.NO_MODEL)


def test_a_walk_that_was_turned_away_by_healthy_credentials_is_refused() -> None:
    """Protects the client's answer: then the last failure says more than the pool's state."""
    table = bench("a")
    walk = table.walk()
    lease = table.pool.pick(WANT, walk)
    assert isinstance(lease, Lease)
    walk.after(AUTH, lease)
    assert table.pool.pick(WANT, walk) == Exhausted(ExhaustedReason.REFUSED)


def test_a_walk_that_was_refused_is_told_when_the_first_limited_credential_is_back() -> None:
    """Protects clients from a time that was true when it was said and has passed in part since."""
    table = bench("a", "b")
    walk = table.walk()
    for found in (AUTH, LONG_RATE):
        lease = table.pool.pick(WANT, walk)
        assert isinstance(lease, Lease)
        walk.after(found, lease)
        if found is LONG_RATE:
            table.pool.settle(lease, Failed(found))
    table.clock.advance(30)
    assert table.pool.pick(WANT, walk) == Exhausted(ExhaustedReason.REFUSED, 60.0)


def _words(table: Bench, client: str | None = "client") -> dict[str, str]:
    """The word for each credential, in the order they would be asked."""
    found = table.pool.outlook(WANT.model, WANT.limit_class, client)
    return {each.name: str(each.usability) for each in found.credentials}


def _sentence(table: Bench, name: str) -> str:
    found = table.pool.outlook(WANT.model, WANT.limit_class, WANT.client)
    return next(each.sentence for each in found.credentials if each.name == name)


def test_each_credential_has_one_word_and_those_never_asked_come_last() -> None:
    """Protects the operator's answer: every reason there is, in the order in which credentials are asked."""
    table = bench(
        credential("mine", clients=frozenset({"client"})),
        credential("theirs", clients=frozenset({"other"})),
        credential("opus", models=("claude-opus-*",)),
        credential("full", max_concurrency=1),
        credential("resting"),
        credential("off", enabled=False),
        credential("spare", tier=1),
        credential("last", kind=Kind.OPENAI, models=("*",)),
    )
    table.end(LONG_RATE, "resting")
    held = [table.lease()]
    while held[-1].name != "full":
        held.append(table.lease())
    assert _words(table) == {
        "mine": "usable",
        "full": "full",
        "resting": "cooling",
        "off": "disabled",
        "spare": "later_tier",
        "last": "later_tier",
        "theirs": "other_client",
        "opus": "other_model",
    }
    assert _words(table, None)["theirs"] == "usable"
    assert _sentence(table, "spare") == "It is of tier 1; tier 0 comes first."
    assert "last resort" in _sentence(table, "last")


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (LONG_RATE, ("cooling", "a rate limit (rate)")),
        (BILLING, ("cooling", "missing credit (billing)")),
        (AUTH, ("cooling", "a refused key (auth)")),
        (CHALLENGE, ("cooling", "a challenge on its way out (challenge)")),
        (NO_MODEL, ("cooling", "a refusal of this model (no_model)")),
        (DEAD, ("disabled", "a refused key (auth_dead)")),
    ],
)
def test_the_sentence_says_why_and_until_when(found: Failure, words: tuple[str, str]) -> None:
    """Protects operators from having to know the program's own words."""
    table = bench("a")
    changes = table.end(found).changes
    (told,) = table.pool.outlook(WANT.model, WANT.limit_class, None).credentials
    assert str(told.usability) == words[0]
    assert words[1] in told.sentence
    assert told.until_unix_ms == changes[0].until_unix_ms
    assert (" UTC." in told.sentence) is (told.until_unix_ms is not None)


def test_who_disabled_a_credential_is_told() -> None:
    """Protects operators from enabling here what only the configuration enables."""
    table = bench("a", credential("b", enabled=False))
    table.pool.disable("a")
    assert _sentence(table, "a") == "Disabled by its operator, until it is enabled again."
    assert _sentence(table, "b") == "Disabled in the configuration."


def test_a_credential_that_only_the_half_rule_keeps_in_use_is_told_as_such() -> None:
    """Protects operators from taking the last failing credential for a healthy one."""
    table = bench("a", strikes=2)
    table.end(RESET)
    assert _sentence(table, "a") == "It can be asked."
    table.end(RESET)
    assert _words(table) == {"a": "usable"}
    assert "half of its tier must stay in use" in _sentence(table, "a")


def test_a_trial_is_told_with_the_end_of_its_permit() -> None:
    """Protects the difference between a credential that may be tried and one that is being tried."""
    table = bench("a")
    table.end(RATE)
    table.clock.advance(6)
    assert _words(table) == {"a": "usable"}
    assert "tries whether a rate limit is over" in _sentence(table, "a")
    table.lease()
    found = table.pool.outlook(WANT.model, WANT.limit_class, None)
    assert str(found.credentials[0].usability) == "trial"
    assert found.credentials[0].until_unix_ms == table.clock.wall_ms + 30_000
    assert (found.next, found.waits, found.exhausted) == (None, True, None)


def test_the_order_is_that_in_which_one_request_would_walk() -> None:
    """Protects the list's order: the turn of each, and not its place in the configuration."""
    table = bench("a", "b", credential("c", weight=3))
    for _ in range(5):
        foretold = list(_words(table))
        walk, asked = table.walk(), []
        for _ in foretold:
            lease = table.pool.pick(WANT, walk)
            assert isinstance(lease, Lease)
            asked.append(lease.name)
            walk.after(AUTH, lease)
            table.pool.settle(lease, Abandoned())
        assert foretold == asked


def test_an_outlook_leaves_nothing_behind_in_the_pool() -> None:
    """Protects the half rule and the memory: a model somebody merely asked about is served by nobody."""
    table = bench("a", "b")
    for number in range(2000):
        table.pool.outlook(f"claude-{number}", f"class-{number}", None)
    assert not table.pool._plans
    assert all(not member.seats for member in table.pool._members)


_MOVES = st.sampled_from(["ask", "succeed", "fail", "limit", "refuse", "wait", "pass", "disable", "enable"])


def _move(table: Bench, move: str, held: list[Lease]) -> None:
    """One thing that happens to a pool."""
    outcomes: dict[str, Outcome] = {
        "succeed": Success(),
        "fail": Failed(RESET),
        "limit": Failed(RATE),
        "refuse": Failed(AUTH),
    }
    if move == "ask" and isinstance(lease := table.pick(), Lease):
        held.append(lease)
    elif move in outcomes and held:
        held.extend(lease for _, lease in table.pool.settle(held.pop(0), outcomes[move]).grants)
    elif move == "wait":
        table.pool.enqueue(WANT, table.walk())
    elif move == "pass":
        table.clock.advance(7.0)
    elif move == "disable":
        table.pool.disable("b")
    elif move == "enable":
        held.extend(lease for _, lease in table.pool.enable("b").grants)


@given(moves=st.lists(_MOVES, max_size=60))
def test_who_is_foretold_is_chosen_and_asking_changes_nothing(moves: list[str]) -> None:
    """Protects the explanation from being another rotation than the real one, and the real one from being moved."""
    watched, left_alone = (
        bench(
            credential("a", weight=2),
            credential("b", max_concurrency=2),
            credential("c", organization="org"),
            credential("d", organization="org", tier=1),
            strikes=2,
        )
        for _ in range(2)
    )
    held: tuple[list[Lease], list[Lease]] = [], []
    for move in moves:
        for table, leases in zip((watched, left_alone), held, strict=True):
            _move(table, move, leases)
        found = watched.pool.outlook(WANT.model, WANT.limit_class, WANT.client)
        for _ in range(3):
            assert watched.pool.outlook(WANT.model, WANT.limit_class, WANT.client) == found
        chosen, twin = watched.pick(), left_alone.pick()
        assert repr(chosen) == repr(twin)
        assert found.next == (chosen.name if isinstance(chosen, Lease) else None)
        assert found.waits is isinstance(chosen, Saturated)
        exhausted = (chosen.reason, chosen.retry_after_s) if isinstance(chosen, Exhausted) else (None, None)
        assert (found.exhausted, found.retry_after_s) == exhausted
        for lease, leases in zip((chosen, twin), held, strict=True):
            if isinstance(lease, Lease):
                leases.append(lease)
