"""claude.ai sessions are persons' accounts: none carries on where another was told to stop."""

import pytest

from proxy.credentials import Credential, Kind
from proxy.pool.explain import Usability
from proxy.pool.failure import Failure, FailureClass, limit_reached
from proxy.pool.members import Lease
from proxy.pool.outcomes import Exhausted, ExhaustedReason, Failed, Success, Want
from proxy.pool.retry import Again, Stop
from proxy.secrets import Secret
from tests.unit.pool.building import OTHER_CLASS, RESET, SERVER, WANT, Bench, bench, credential, failure

_LIMIT = failure(FailureClass.RATE, status=429, retry_after_s=7200.0)
_DEAD = failure(FailureClass.AUTH_DEAD, status=403)
_CHALLENGE = failure(FailureClass.CHALLENGE, status=403)
_RESTRICTED = failure(FailureClass.PERMISSION, status=403)
_TOLD = (_LIMIT, _DEAD, _CHALLENGE, _RESTRICTED, failure(FailureClass.BILLING, status=402))
_PLAIN = (SERVER, RESET, failure(FailureClass.OVERLOADED, status=529), failure(FailureClass.ENDPOINT))
_ELSEWHERE = Secret("socks5://127.0.0.1:1")


def _session(name: str, **changes: object) -> Credential:
    return credential(name, kind=Kind.CLAUDE_WEB, max_concurrency=1, **changes)


def _cls(found: Failure) -> str:
    return found.cls


def _walked(table: Bench, found: Failure, times: int = 5) -> list[str]:
    """Whom one request asks while every attempt ends in `found`."""
    walk, names = table.walk(), []
    for _ in range(times):
        lease = table.pool.pick(WANT, walk)
        if not isinstance(lease, Lease):
            break
        names.append(lease.name)
        table.pool.settle(lease, Failed(found))
        verdict = walk.after(found, lease)
        if isinstance(verdict, Stop):
            break
        table.clock.advance(verdict.wait_s)
    return names


@pytest.mark.parametrize("found", _TOLD, ids=_cls)
def test_a_session_that_says_no_ends_the_request_for_all_sessions(found: Failure) -> None:
    """Protects persons' accounts: no other session is asked in its place, on whichever way out."""
    table = bench(_session("a"), _session("b"), _session("far", way_out=_ELSEWHERE))
    assert _walked(table, found) == ["a"]


@pytest.mark.parametrize("found", _TOLD, ids=_cls)
def test_keys_and_fallbacks_are_still_asked_after_it(found: Failure) -> None:
    """Protects clients: what is paid for by use may answer."""
    spare = credential("spare", kind=Kind.OPENAI, models=("claude-*",), base_url="https://other.test")
    table = bench(_session("a"), _session("b"), credential("key", tier=1), spare)
    walk = table.walk()
    first = table.pool.pick(WANT, walk)
    assert isinstance(first, Lease)
    table.pool.settle(first, Failed(found))
    assert isinstance(walk.after(found, first), Again)
    second = table.pool.pick(WANT, walk)
    assert isinstance(second, Lease)
    table.pool.settle(second, Failed(failure(FailureClass.AUTH, status=401)))
    walk.after(failure(FailureClass.AUTH, status=401), second)
    third = table.pool.pick(WANT, walk)
    assert isinstance(third, Lease)
    assert [first.name, second.name, third.name] == ["a", "key", "spare"]


@pytest.mark.parametrize("found", _PLAIN, ids=_cls)
def test_a_plain_fault_may_be_tried_on_another_session(found: Failure) -> None:
    """Protects clients from one bad connection, which says nothing about what an account may do."""
    table = bench(_session("a"), _session("b", way_out=_ELSEWHERE))
    assert _walked(table, found, 2) == ["a", "b"]


def test_a_fault_and_then_a_limit_ends_it_too() -> None:
    """Protects the second account as the first."""
    table = bench(*map(_session, "abc"))
    walk = table.walk()
    for found, again in ((SERVER, True), (_LIMIT, True)):
        lease = table.pool.pick(WANT, walk)
        assert isinstance(lease, Lease)
        table.pool.settle(lease, Failed(found))
        verdict = walk.after(found, lease)
        assert isinstance(verdict, Again) is again
        table.clock.advance(10)
    assert isinstance(table.pool.pick(WANT, walk), Exhausted)


def test_the_next_model_asks_no_session_either() -> None:
    """Protects the rule from models that stand in for others: it is the same request."""
    table = bench(*map(_session, "ab"), credential("key", models=("claude-haiku-*",)))
    walk = table.walk()
    lease = table.pool.pick(WANT, walk)
    assert isinstance(lease, Lease)
    table.pool.settle(lease, Failed(_RESTRICTED))
    walk.after(_RESTRICTED, lease)
    later = walk.for_next_model()
    assert isinstance(table.pool.pick(OTHER_CLASS, later), Exhausted)
    found = table.pool.pick(Want("claude-haiku-5", "haiku-5", "client"), later)
    assert isinstance(found, Lease)
    assert found.name == "key"


def test_an_api_key_that_says_no_stops_no_session() -> None:
    """Protects the rule from growing: it is about persons' accounts alone."""
    table = bench(credential("key"), _session("a", tier=1))
    assert _walked(table, _LIMIT, 2) == ["key", "a"]


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (_LIMIT, ExhaustedReason.RATE_LIMITED),
        (_DEAD, ExhaustedReason.UNUSABLE),
        (_CHALLENGE, ExhaustedReason.COOLING),
        (_RESTRICTED, ExhaustedReason.PERMISSION),
    ],
    ids=lambda value: value.cls if isinstance(value, Failure) else str(value),
)
def test_the_next_requests_go_to_no_other_session_while_it_lasts(
    found: Failure, reason: ExhaustedReason
) -> None:
    """Protects the rule between requests: a pool of accounts would otherwise go round their limits one by one."""
    table = bench(_session("a"), _session("b", way_out=_ELSEWHERE))
    table.end(found, "a")
    answer = table.pick()
    assert isinstance(answer, Exhausted)
    assert answer.reason is reason
    assert table.pool.pick_at("b", WANT, table.walk()) is None
    told = {each.name: each for each in table.pool.outlook(WANT.model, WANT.limit_class).credentials}
    assert told["b"].usability is Usability.HELD_BACK
    assert "a" in told["b"].sentence


def test_a_limit_in_one_class_stops_sessions_in_all() -> None:
    """Protects an account's limit, which knows no classes of models, from the next class."""
    table = bench(*map(_session, "ab"))
    table.end(_LIMIT, "a")
    others = {table.names(1, OTHER_CLASS)[0] for _ in range(3)}
    assert others == {"a"}


def test_sessions_are_asked_again_when_the_limit_is_over() -> None:
    """Protects owners from a rest without end; the time is the one the site named, however long."""
    table = bench(*map(_session, "ab"))
    table.end(failure(FailureClass.RATE, status=429, retry_after_s=86_400.0), "a")
    table.clock.advance(86_399)
    assert isinstance(table.pick(), Exhausted)
    table.clock.advance(1)
    assert set(table.names(4)) == {"a", "b"}


def test_a_limit_without_an_end_rests_for_an_hour() -> None:
    """Protects an account from being asked every few seconds what it has just refused."""
    table = bench(_session("a"))
    change = table.end(failure(FailureClass.RATE, status=429)).changes[0]
    assert table.left_s(change) == 3600


@pytest.mark.parametrize(("told_s", "rests_s"), [(7200, 7200), (None, 3600)])
def test_the_last_answer_within_a_limit_is_a_good_one_and_stops_the_session_like_a_refusal(
    told_s: int | None, rests_s: int
) -> None:
    """Protects an account from a question whose refusal has been announced, and the others from standing in."""
    table = bench(*map(_session, "ab"))
    lease = table.lease()
    until_unix_ms = None if told_s is None else table.clock.unix_ms() + told_s * 1000
    (change,) = table.pool.settle(lease, Success(limit_reached(until_unix_ms))).changes
    assert (lease.member.succeeded, lease.member.failed) == (1, 0)
    assert table.word(lease.name) == "cooling(rate_limit)"
    assert table.left_s(change) == rests_s
    assert isinstance(table.pick(), Exhausted)
    table.clock.advance(rests_s)
    assert set(table.names(4)) == {"a", "b"}


def test_owners_do_not_stop_each_other() -> None:
    """Protects a person whose session is bound to a client key from another person's limit."""
    table = bench(_session("a", clients=frozenset({"ann"})), _session("b", clients=frozenset({"bob"})))
    ann, bob = (Want(WANT.model, WANT.limit_class, name) for name in ("ann", "bob"))
    table.end(_LIMIT, want=ann)
    assert isinstance(table.pick(ann), Exhausted)
    assert table.names(2, bob) == ["b", "b"]


def test_disabling_a_dead_session_by_hand_frees_the_others() -> None:
    """Protects operators: whoever has seen the notice can decide."""
    table = bench(*map(_session, "ab"))
    table.end(_DEAD, "a")
    assert isinstance(table.pick(), Exhausted)
    table.pool.disable("a")
    assert table.names(2) == ["b", "b"]


def test_faults_hold_no_other_session_back() -> None:
    """Protects clients from an outage of one way out."""
    table = bench(_session("a"), _session("b"), strikes=1)
    table.end(SERVER, "a")
    assert table.word("a") == "cooling(faults)"
    assert table.names(2) == ["b", "b"]
    table.pool.settle(table.lease(), Success())


def test_who_waits_for_a_place_gets_none_after_a_limit() -> None:
    """Protects the rule in the queue, where requests stood before the limit came."""
    table = bench(*map(_session, "ab"))
    first, second = table.lease(), table.lease()
    ticket = table.pool.enqueue(WANT, table.walk())
    assert ticket is not None
    done = table.pool.settle(first, Failed(_LIMIT))
    assert done.grants == ()
    done = table.pool.settle(second, Success())
    assert done.grants == ()
    walk = table.walk()
    assert isinstance(table.pool.pick(WANT, walk), Exhausted)
