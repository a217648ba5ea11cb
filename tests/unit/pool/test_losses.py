"""Kinds that lose less of a request come first, and nobody is lost for it who could answer after all."""

from dataclasses import replace

import msgspec
import pytest

from proxy.credentials import Credential, Kind
from proxy.pool.health import Reason
from proxy.pool.members import Lease
from proxy.pool.outcomes import Saturated, Success
from tests.unit.pool.building import RATE, RESET, WANT, Bench, bench, credential

_WEB_LOSES = msgspec.structs.replace(WANT, losses=((Kind.ANTHROPIC, 0), (Kind.CLAUDE_WEB, 1)))
_API_LOSES = msgspec.structs.replace(WANT, losses=((Kind.ANTHROPIC, 1), (Kind.OPENAI, 0)))


def _web(name: str, **changes: object) -> Credential:
    return credential(name, kind=Kind.CLAUDE_WEB, **changes)


def _other(name: str, **changes: object) -> Credential:
    return replace(credential(name, kind=Kind.OPENAI, models=("*",)), **changes)  # type: ignore[arg-type]  # as in `credential`


def _at_home(table: Bench, name: str) -> str | None:
    found = table.pool.pick_at(name, _WEB_LOSES, table.walk())
    if isinstance(found, Lease):
        table.pool.settle(found, Success())
        return found.name
    return None


def test_a_kind_that_loses_nothing_comes_first_whatever_its_tier() -> None:
    """Protects what a client asked for: tiers decide only among those that carry as much."""
    table = bench(_web("web"), credential("key", tier=3), credential("spare", tier=4))
    assert table.names(4, _WEB_LOSES) == ["key"] * 4
    assert set(table.names(4)) == {"web"}


def test_requests_that_lose_nothing_anywhere_turn_round_among_all_kinds() -> None:
    """Protects the turns of sessions, which plain requests are for."""
    assert bench(_web("web"), "key").names(4) == ["web", "key"] * 2


def test_a_kind_that_loses_some_answers_while_the_others_rest() -> None:
    """Protects clients: an answer that says what was dropped is better than none."""
    table = bench(_web("web"), "key")
    table.end(RATE, "key", _WEB_LOSES)
    assert table.names(2, _WEB_LOSES) == ["web"] * 2
    table.clock.advance(600.0)
    assert table.names(2, _WEB_LOSES) == ["key"] * 2


def test_a_full_credential_is_waited_for_as_in_a_tier() -> None:
    """Protects the request from being cut short for want of a moment; who has waited long enough gets the other."""
    table = bench(_web("web"), credential("key", max_concurrency=1))
    held = table.lease(_WEB_LOSES)
    assert held.name == "key"
    assert isinstance(table.pick(_WEB_LOSES), Saturated)
    spilled = table.pool.pick(_WEB_LOSES, table.walk(), spill=True)
    assert isinstance(spilled, Lease)
    assert spilled.name == "web"


def test_a_credential_that_has_just_failed_a_request_is_asked_after_a_lesser_kind() -> None:
    """Protects the rescue of a request: another credential is worth more than the one that broke."""
    table = bench(_web("web"), "key")
    walk = table.walk()
    first = table.pool.pick(_WEB_LOSES, walk)
    assert isinstance(first, Lease)
    assert first.name == "key"
    walk.after(RESET, first)
    second = table.pool.pick(_WEB_LOSES, walk)
    assert isinstance(second, Lease)
    assert second.name == "web"


def test_last_resorts_stay_last_even_where_they_would_lose_less() -> None:
    """Protects prompts from going to another provider while Claude answers."""
    table = bench("key", _other("other"))
    assert table.names(3, _API_LOSES) == ["key"] * 3


def test_among_last_resorts_the_same_rule_holds() -> None:
    """Protects requests that nobody but a last resort can answer."""
    table = bench(credential("stand-in", fallback=True), _other("other", tier=100))
    assert table.names(1, _API_LOSES) == ["other"]
    assert table.names(1) == ["stand-in"]


def test_a_home_of_a_lesser_kind_is_left_for_a_better_one() -> None:
    """Protects a continuing conversation's request from losing what another credential carries."""
    table = bench(_web("web"), credential("key", max_concurrency=1))
    assert _at_home(table, "web") is None
    assert _at_home(table, "key") == "key"
    held = table.lease(_WEB_LOSES)
    assert _at_home(table, "web") is None
    table.pool.settle(held, Success())
    table.end(RATE, "key", _WEB_LOSES)
    assert _at_home(table, "web") == "web"


def test_a_home_is_kept_where_the_better_one_has_refused_this_request() -> None:
    """Protects a request under its second model from waiting for somebody it may not ask any more."""
    table = bench(_web("web"), "key")
    walk = table.walk()
    walk.leave_out(Kind.ANTHROPIC)
    assert isinstance(table.pool.pick_at("web", _WEB_LOSES, walk), Lease)


@pytest.mark.parametrize(
    ("credentials", "kinds"),
    [
        ((credential("a"), credential("b")), set()),
        ((credential("a"), _other("o")), set()),
        ((_web("w"), credential("a")), {Kind.CLAUDE_WEB, Kind.ANTHROPIC}),
        ((credential("a", fallback=True), _other("o")), {Kind.ANTHROPIC, Kind.OPENAI}),
    ],
    ids=["one kind", "one of each sort", "two in turn", "two last resorts"],
)
def test_a_choice_of_kinds_is_known_beforehand(credentials: tuple[Credential, ...], kinds: set[Kind]) -> None:
    """Protects pools of one kind from looking into requests for nothing."""
    assert bench(*credentials).pool.sorts(WANT).kinds == kinds


def test_no_session_stands_in_for_another_where_losses_count_too() -> None:
    """Protects persons' accounts: the order of kinds changes nothing about who may not be asked."""
    table = bench(_web("one"), _web("two"), "key")
    table.end(RATE, "key", _WEB_LOSES)
    table.end(RATE, "one")
    assert table.word("one") == f"cooling({Reason.RATE_LIMIT})"
    assert not isinstance(table.pick(_WEB_LOSES), Lease)


def test_the_order_outlives_a_session_that_was_told_to_stop() -> None:
    """Protects the rule where sessions are taken out of the plan for a while."""
    table = bench(_web("one"), _web("two"), credential("stand-in", fallback=True), _other("other", tier=100))
    table.end(RATE, "one", _API_LOSES)
    assert table.names(1, _API_LOSES) == ["other"]


def test_a_home_is_not_left_for_a_last_resort() -> None:
    """Protects a conversation's cache, and its prompt from going to another provider."""
    table = bench(_web("web"), _other("other"))
    assert _at_home(table, "web") == "web"
