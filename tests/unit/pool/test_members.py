"""Members, their seats, and the one question whether a seat can be given."""

import pytest

from proxy.credentials import Kind
from proxy.pool.health import Reason, Standing
from proxy.pool.members import (
    Availability,
    CallWindow,
    Lease,
    Member,
    Seat,
    WayOut,
    availability,
    endpoint_of,
)
from proxy.secrets import Secret
from tests.unit.pool.building import credential

NOW = 100.0


def _seat(**changes: object) -> Seat:
    return Member(credential("a", **changes), WayOut()).seat("sonnet", window_s=60)


@pytest.mark.parametrize(
    ("changes", "model", "client", "serves"),
    [
        ({}, "claude-sonnet-5", "c", True),
        ({}, "gpt-4o", "c", False),
        ({}, "claude-code", "c", False),
        ({"kind": Kind.CLAUDE_CODE}, "claude-code", "c", True),
        ({"kind": Kind.CLAUDE_CODE}, "claude-opus-5", "c", True),
        ({"kind": Kind.OPENAI}, "claude-opus-5", "c", True),
        ({"kind": Kind.OPENAI}, "gpt-4o", "c", False),
        ({"kind": Kind.OPENAI, "models": ("gpt-*",)}, "gpt-4o", "c", True),
        ({"models": ("claude-haiku-*", "claude-opus-5")}, "claude-haiku-5", "c", True),
        ({"models": ("claude-haiku-*", "claude-opus-5")}, "claude-opus-5", "c", True),
        ({"models": ("claude-haiku-*",)}, "claude-sonnet-5", "c", False),
        ({"models": ("claude-haiku-*",)}, "CLAUDE-HAIKU-5", "c", False),
        ({"clients": frozenset({"c"})}, "claude-sonnet-5", "c", True),
        ({"clients": frozenset({"d"})}, "claude-sonnet-5", "c", False),
        ({"clients": frozenset({"d"})}, "claude-sonnet-5", None, True),
    ],
)
def test_patterns_and_clients_say_who_serves_what(
    changes: dict[str, object], model: str, client: str | None, serves: bool
) -> None:
    """Protects routing: a credential is asked only for what it is there for."""
    assert Member(credential("a", **changes), WayOut()).serves(model, client) is serves


def _cool(standing: Standing, until_s: float = NOW + 10) -> None:
    standing.cool(Reason.FAULTS, until_s, cause="", since_unix_ms=0, epoch=0)


def test_each_thing_that_is_out_of_use_keeps_a_seat_back() -> None:
    """Protects the one availability check: credential, class, way out and model all count."""
    for spoil in (
        lambda seat: _cool(seat.standing),
        lambda seat: _cool(seat.member.standing),
        lambda seat: _cool(seat.member.way_out.standing),
        lambda seat: _cool(seat.member.closing("m")),
        lambda seat: seat.member.standing.disable(Reason.MANUAL, cause="", since_unix_ms=0),
    ):
        seat = _seat()
        assert availability(seat, "m", NOW) is Availability.FREE
        spoil(seat)
        assert availability(seat, "m", NOW) is Availability.OUT


def test_a_model_closed_for_a_credential_leaves_its_others_open() -> None:
    """Protects a key that may not use one model from losing the rest."""
    seat = _seat()
    _cool(seat.member.closing("m"))
    assert availability(seat, "other", NOW) is Availability.FREE


def test_places_run_out() -> None:
    """Protects `max_concurrency`."""
    seat = _seat(max_concurrency=2)
    seat.member.in_flight = 1
    assert availability(seat, "m", NOW) is Availability.FREE
    seat.member.in_flight = 2
    assert availability(seat, "m", NOW) is Availability.BUSY


def test_a_passed_deadline_lets_one_in_at_a_time() -> None:
    """Protects the trial: the second request waits for the verdict or the permit's end."""
    seat = _seat()
    _cool(seat.standing, NOW)
    assert availability(seat, "m", NOW) is Availability.FREE
    seat.standing.take_permit(1, NOW + 30)
    assert availability(seat, "m", NOW) is Availability.PROBING
    assert availability(seat, "m", NOW + 30) is Availability.FREE


def test_a_member_is_tried_for_one_thing_at_a_time() -> None:
    """Protects the bound of one live trial per credential over all its limit classes."""
    seat = _seat()
    other = seat.member.seat("opus", window_s=60)
    _cool(other.standing, NOW)
    seat.member.probe = 1
    seat.member.probe_until_s = NOW + 30
    assert availability(other, "m", NOW) is Availability.PROBING
    assert availability(seat, "m", NOW) is Availability.FREE
    assert availability(other, "m", NOW + 30) is Availability.FREE


def test_closed_models_are_bounded_and_forgotten() -> None:
    """Protects memory: model ids come from clients."""
    member = Member(credential("a"), WayOut())
    for number in range(200):
        _cool(member.closing(f"m{number}"), NOW + number)
    assert len(member.closed) == 128
    assert "m199" in member.closed
    assert "m0" not in member.closed
    member.forget_closed(NOW + 150)
    assert list(member.closed) == [f"m{number}" for number in range(151, 200)]


@pytest.mark.parametrize(
    ("organization", "workspace", "same"),
    [("org", None, True), ("org", "w", False), ("other", None, False), (None, None, False)],
)
def test_a_group_is_organization_and_workspace(
    organization: str | None, workspace: str | None, same: bool
) -> None:
    """Protects shared limits: keys of unknown owner share with nobody."""
    first = Member(credential("a", organization="org"), WayOut())
    second = Member(credential("b", organization=organization), WayOut())
    second.workspace = workspace
    assert (first.group == second.group) is same


def test_a_way_out_is_shared_by_address_and_proxy() -> None:
    """Protects API keys from a challenge that claude.ai put to the same machine."""
    plain = credential("a")
    assert endpoint_of(plain) == endpoint_of(credential("b"))
    assert endpoint_of(plain) != endpoint_of(credential("b", kind=Kind.CLAUDE_WEB))
    assert endpoint_of(plain) != endpoint_of(credential("b", way_out=Secret("socks5://127.0.0.1:1080")))


def test_a_call_window_forgets_part_by_part() -> None:
    """Protects the share of faults: calls older than the window no longer count, younger ones do."""
    window = CallWindow(60)
    for second in range(0, 60, 10):
        window.record(1000 + second, fault=second < 20)
    assert window.share(calls_min=6) == pytest.approx(2 / 6)
    assert window.share(calls_min=7) == 0
    window.record(1065, fault=False)
    assert window.share(calls_min=1) == pytest.approx(1 / 6)
    window.record(5000, fault=True)
    assert window.share(calls_min=1) == 1
    window.clear()
    assert window.share(calls_min=0) == 0


def test_a_lease_shows_itself_without_a_secret() -> None:
    """Protects logs: the alias is all that a lease shows of its credential."""
    member = Member(credential("work", secret=Secret("sk-canary"), organization="org"), WayOut())
    lease = Lease(3, member.seat("sonnet", window_s=60), "claude-sonnet-5", NOW)
    assert repr(lease) == "<Lease 3 of work for claude-sonnet-5 [held]>"
    assert lease.credential is member.credential
    assert (lease.name, lease.organization, lease.limit_class) == ("work", "org", "sonnet")
    lease.trial = True
    assert "[trial]" in repr(lease)
    lease.settled = True
    assert "[given back]" in repr(lease)


def test_an_account_at_claude_ai_shares_no_limit_with_keys_of_the_same_organization() -> None:
    """Protects API keys from resting for days because a person's account is at its weekly limit."""
    key = Member(credential("a", organization="org"), WayOut())
    session = Member(credential("web", organization="org", kind=Kind.CLAUDE_WEB), WayOut())
    assert key.group != session.group


def test_a_lease_calls_with_the_credential_it_was_granted_for() -> None:
    """Protects a call under way from rules that hold only for the next one."""
    seat = _seat()
    before = seat.member.credential
    lease = Lease(1, seat, "claude-sonnet-5", NOW)
    seat.member.obey(credential("a", weight=5))
    assert lease.credential is before
    assert Lease(2, seat, "claude-sonnet-5", NOW).credential.weight == 5
