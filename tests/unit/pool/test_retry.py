"""Whether a request is tried again."""

import pytest

from proxy.credentials import Kind
from proxy.pool.failure import Failure, FailureClass, Fault, classify_fault
from proxy.pool.members import Lease
from proxy.pool.outcomes import Abandoned, Exhausted, ExhaustedReason, Failed
from proxy.pool.retry import Again, RetryBudget, Stop, StopReason, Walk
from proxy.secrets import Secret
from proxy.settings import Policy
from tests.support.clock import FakeClock
from tests.unit.pool.building import AUTH, RATE, RESET, SERVER, WANT, Bench, bench, credential, failure

OVERLOADED = failure(FailureClass.OVERLOADED, status=529)
NO_MODEL = failure(FailureClass.NO_MODEL, status=404)
REFUSED = classify_fault(Fault.CONNECT_REFUSED)
CHALLENGE = failure(FailureClass.CHALLENGE, status=403)


def play(table: Bench, walk: Walk, found: Failure) -> Again | Stop:
    """Let the walk's next attempt end in `found`, and pass the pause it asks for."""
    lease = table.pool.pick(WANT, walk)
    assert isinstance(lease, Lease), lease
    table.pool.settle(lease, Failed(found))
    verdict = walk.after(found, lease)
    if isinstance(verdict, Again):
        table.clock.advance(verdict.wait_s)
    return verdict


def asked(table: Bench, *failures: Failure) -> tuple[list[str], Again | Stop | Exhausted]:
    """The credentials one request asks while its attempts end so, and what is said in the end."""
    walk = table.walk()
    names: list[str] = []
    for found in failures:
        lease = table.pool.pick(WANT, walk)
        if not isinstance(lease, Lease):
            assert isinstance(lease, Exhausted)
            return names, lease
        names.append(lease.name)
        table.pool.settle(lease, Failed(found))
        verdict = walk.after(found, lease)
        if isinstance(verdict, Stop):
            return names, verdict
        table.clock.advance(verdict.wait_s)
    return names, Again()


@pytest.mark.parametrize(
    ("cls", "again"),
    [
        (FailureClass.REQUEST, False),
        (FailureClass.AUTH, True),
        (FailureClass.AUTH_DEAD, True),
        (FailureClass.PERMISSION, True),
        (FailureClass.NO_MODEL, True),
        (FailureClass.RATE, True),
        (FailureClass.BILLING, True),
        (FailureClass.OVERLOADED, True),
        (FailureClass.SERVER, True),
        (FailureClass.ENDPOINT, True),
        (FailureClass.CHALLENGE, True),
        (FailureClass.CUT, False),
        (FailureClass.UNKNOWN, False),
    ],
)
def test_each_class_is_tried_again_or_not(cls: FailureClass, again: bool) -> None:
    """Protects the table: a client's own mistake and an unknown answer are never repeated."""
    verdict = play(table := bench("a", "b"), table.walk(), failure(cls))
    assert isinstance(verdict, Again) is again
    if not again:
        assert verdict == Stop(StopReason.NOT_RETRYABLE)


def test_refusals_walk_on_without_a_pause_or_a_token() -> None:
    """Protects the walk: whoever refuses did no work, so the next is asked at once and for nothing."""
    table = bench(*"abcdefgh", budget_max=0, budget_per_request=0, budget_per_second=0)
    names, end = asked(table, *[AUTH] * 9)
    assert names == list("abcdefgh")
    assert isinstance(end, Exhausted)
    assert table.budget.suppressed == 0


def test_a_walk_asks_sixteen_credentials_at_most() -> None:
    """Protects the upstream from a walk through a hundred dead keys."""
    names, end = asked(bench(*[f"k{number}" for number in range(30)]), *[AUTH] * 30)
    assert (len(names), end) == (16, Stop(StopReason.WALKED))


def test_an_organization_that_is_limited_is_not_asked_again() -> None:
    """Protects against asking the sibling of a limited key, also when the organization was only just learned."""
    table = bench(credential("a", organization="org"), credential("b", organization="org"), "c")
    walk = table.walk()
    first = table.pool.pick(WANT, walk)
    assert isinstance(first, Lease)
    table.pool.settle(first, Failed(RATE))
    walk.after(RATE, first)
    second = table.pool.pick(WANT, walk)
    assert isinstance(second, Lease)
    assert (first.name, second.name) == ("a", "c")


def test_out_of_credit_goes_to_another_organization() -> None:
    """Protects against asking a sibling that shares the empty balance, though its own health is untouched."""
    table = bench(credential("a", organization="org"), credential("b", organization="org"), "c")
    names, _ = asked(table, *[failure(FailureClass.BILLING)] * 3)
    assert names == ["a", "c"]
    assert table.word("b") == "ready"


def test_other_workspaces_of_a_limited_organization_come_last() -> None:
    """Protects the order of a walk: another organization before another workspace of the same one."""
    table = bench(*(credential(name, organization="org") for name in "ab"), "c")
    leases = [table.lease() for _ in range(3)]
    table.pool.learn(leases[1], "org", "other-workspace")
    for lease in leases:
        table.pool.settle(lease, Abandoned())
    names, _ = asked(table, RATE, RATE, RATE)
    assert names == ["a", "c", "b"]


def test_an_unknown_model_is_asked_for_once_more_elsewhere() -> None:
    """Protects the client's wait and the pool: one further organization, then the answer is 404."""
    table = bench(
        credential("a", organization="org"),
        credential("b", organization="org"),
        *"cd",
        credential("last", kind=Kind.OPENAI),
    )
    assert asked(table, NO_MODEL, NO_MODEL, NO_MODEL) == (["a", "c"], Stop(StopReason.REFUSED))


def test_counted_attempts_are_three_in_all() -> None:
    """Protects the upstream: three attempts, however many credentials there are."""
    names, end = asked(bench(*"abcdef"), SERVER, RESET, classify_fault(Fault.EMPTY_STREAM))
    assert (names, end) == (["a", "b", "c"], Stop(StopReason.ATTEMPTS))


def test_the_same_fault_is_met_twice_at_most() -> None:
    """Protects against repeating what has just failed twice in the same way."""
    assert asked(bench(*"abc"), RESET, RESET, SERVER) == (["a", "b"], Stop(StopReason.SAME_FAULT))
    names, end = asked(bench(*"abc"), OVERLOADED, OVERLOADED)
    assert (names, end) == (["a", "b"], Stop(StopReason.SAME_FAULT))


def test_no_retries_means_one_attempt_but_still_a_walk() -> None:
    """Protects ``RETRY_COUNT=0``: work is not repeated, refusals are still passed on."""
    assert asked(bench("a", "b", retry_count=0), SERVER) == (["a"], Stop(StopReason.ATTEMPTS))
    names, _ = asked(bench("a", "b", retry_count=0), AUTH, SERVER)
    assert names == ["a", "b"]


def test_refusals_do_not_use_up_counted_attempts() -> None:
    """Protects the count: three attempts are left after two refusals."""
    names, end = asked(bench(*"abcdefg"), AUTH, AUTH, SERVER, RESET, classify_fault(Fault.GARBAGE))
    assert (len(names), end) == (5, Stop(StopReason.ATTEMPTS))


def test_a_dead_address_is_tried_once_more_and_never_once_a_key() -> None:
    """Protects against knocking at a closed door with every key there is."""
    assert asked(bench(*"abc"), REFUSED, REFUSED) == (["a", "b"], Stop(StopReason.SAME_FAULT))


def test_a_dead_address_is_left_for_another_one() -> None:
    """Protects the retry after a connection fault: another address is better than the same."""
    table = bench("a", "b", credential("c", base_url="https://other.test"))
    names, _ = asked(table, REFUSED, SERVER)
    assert names == ["a", "c"]


def test_a_challenge_is_answered_by_one_other_way_out() -> None:
    """Protects against a storm: keys behind the same challenged way out are not asked."""
    behind = credential("c", way_out=Secret("socks5://127.0.0.1:1"))
    third = credential("d", way_out=Secret("socks5://127.0.0.1:2"))
    assert asked(bench("a", "b", behind, third), *[CHALLENGE] * 3) == (["a", "c"], Stop(StopReason.REFUSED))


def test_a_walk_remembers_a_challenge_longer_than_the_way_out_rests() -> None:
    """Protects the order in which a dispatcher may ask: the walk alone keeps away from a challenged way out."""
    table = bench("a", "b")
    walk = table.walk()
    first, second = table.lease(), table.lease()
    walk.after(CHALLENGE, first)
    assert walk.excludes(first.member)
    assert walk.excludes(second.member)


@pytest.mark.parametrize(
    ("found", "low_s", "high_s"),
    [
        (SERVER, 0.0, 0.5),
        (OVERLOADED, 1.0, 2.0),
        (REFUSED, 0.1, 0.5),
        (failure(FailureClass.SERVER, retry_after_s=10.0), 10.0, 12.0),
        (failure(FailureClass.SERVER, retry_after_s=0.0), 0.0, 0.5),
    ],
)
def test_pauses_stay_in_their_bounds(found: Failure, low_s: float, high_s: float) -> None:
    """Protects the upstream from retries that come too early, and clients from ones that come too late."""
    waits = []
    for seed in range(40):
        table = bench("a", "b", seed=seed)
        verdict = play(table, table.walk(), found)
        assert isinstance(verdict, Again)
        waits.append(verdict.wait_s)
    assert low_s <= min(waits)
    assert max(waits) <= high_s
    assert len(set(waits)) > 30


def test_the_second_pause_may_be_twice_as_long() -> None:
    """Protects the growth of pauses: full jitter up to a bound that doubles."""
    longest = 0.0
    for seed in range(60):
        table = bench("a", "b", seed=seed)
        walk = table.walk()
        play(table, walk, SERVER)
        verdict = play(table, walk, RESET)
        assert isinstance(verdict, Again)
        longest = max(longest, verdict.wait_s)
    assert 0.5 < longest <= 1.0


def test_too_long_a_pause_is_the_answer() -> None:
    """Protects the client's time: when the upstream asks for more than 20 s, it is told so now."""
    table = bench("a", "b")
    assert play(table, table.walk(), failure(FailureClass.SERVER, retry_after_s=21.0)) == Stop(
        StopReason.WAIT
    )
    walk = table.walk()
    assert isinstance(play(table, walk, failure(FailureClass.SERVER, retry_after_s=12.0)), Again)
    later = failure(FailureClass.OVERLOADED, retry_after_s=12.0)
    assert play(table, walk, later) == Stop(StopReason.WAIT)


@pytest.mark.parametrize(
    ("deadline_s", "passed_s", "found", "again"),
    [
        (10, 4.0, AUTH, True),
        (10, 5.1, AUTH, False),
        (100, 79.0, SERVER, True),
        (100, 81.0, SERVER, False),
        (100, 81.0, AUTH, True),
        (100, 49.0, classify_fault(Fault.FIRST_EVENT_TIMEOUT), True),
        (100, 51.0, classify_fault(Fault.FIRST_EVENT_TIMEOUT), False),
    ],
)
def test_no_attempt_is_begun_that_cannot_end_in_time(
    deadline_s: float, passed_s: float, found: Failure, again: bool
) -> None:
    """Protects the deadline: 5 s for any attempt, a fifth for counted ones, half after a time-out."""
    table = bench("a", "b")
    walk = table.walk(deadline_s)
    lease = table.pool.pick(WANT, walk)
    assert isinstance(lease, Lease)
    table.clock.advance(passed_s)
    verdict = walk.after(found, lease)
    assert isinstance(verdict, Again) is again
    assert again or verdict == Stop(StopReason.DEADLINE)


def test_a_deadline_that_is_near_leaves_no_fallback_either() -> None:
    """Protects the deadline: a last resort is an attempt like any other."""
    table = bench("a", credential("x", kind=Kind.OPENAI))
    walk = table.walk(100)
    lease = table.pool.pick(WANT, walk)
    assert isinstance(lease, Lease)
    table.clock.advance(81)
    assert walk.after(SERVER, lease) == Stop(StopReason.DEADLINE)


def test_the_upstreams_word_on_retrying_is_obeyed() -> None:
    """Protects obedience: ``false`` ends a counted retry, ``true`` allows one for an unknown answer."""
    table = bench("a", "b")
    no = failure(FailureClass.SERVER, should_retry=False)
    assert play(table, table.walk(), no) == Stop(StopReason.UPSTREAM_SAID_NO)
    assert isinstance(play(table, table.walk(), failure(FailureClass.UNKNOWN, should_retry=True)), Again)
    assert isinstance(play(table, table.walk(), failure(FailureClass.AUTH, should_retry=False)), Again)


def test_too_large_an_answer_is_not_fetched_twice() -> None:
    """Protects memory and cost: the same answer would be as large again."""
    table = bench("a", "b")
    found = play(table, table.walk(), classify_fault(Fault.BODY_TOO_LARGE))
    assert found == Stop(StopReason.UPSTREAM_SAID_NO)


def test_each_fallback_gets_one_attempt_after_the_counted_ones() -> None:
    """Protects the last resort: asked in tier order, once each, free of budget, whatever became of it."""
    table = bench(
        "a",
        "b",
        credential("x", kind=Kind.OPENAI, tier=1),
        credential("y", kind=Kind.OPENAI, tier=2),
        budget_max=1,
        budget_per_second=0,
    )
    names, end = asked(table, RESET, RESET, SERVER, AUTH, SERVER)
    assert names == ["a", "b", "x", "y"]
    assert end == Exhausted(ExhaustedReason.REFUSED)
    assert table.budget.suppressed == 0


def test_an_empty_budget_still_leaves_the_fallbacks() -> None:
    """Protects the client when retries are suppressed: a fallback is no retry."""
    table = bench(
        "a", "b", credential("x", kind=Kind.OPENAI), budget_max=0, budget_per_second=0, budget_per_request=0
    )
    names, _ = asked(table, SERVER, SERVER)
    assert names == ["a", "x"]
    assert table.budget.suppressed == 1


def test_a_clients_mistake_never_reaches_a_fallback() -> None:
    """Protects the client's money and data: its own 400 is its answer."""
    table = bench("a", credential("x", kind=Kind.OPENAI), credential("y", kind=Kind.OPENAI))
    bad = failure(FailureClass.REQUEST, status=400)
    assert asked(table, bad) == (["a"], Stop(StopReason.NOT_RETRYABLE))
    assert asked(table, AUTH, bad) == (["a", "x"], Stop(StopReason.NOT_RETRYABLE))


def test_a_walk_that_has_asked_everybody_says_so() -> None:
    """Protects the client's answer: with nobody left the last failure is what is told."""
    table = bench("a", "b")
    walk = table.walk()
    permission = failure(FailureClass.PERMISSION, status=403)
    play(table, walk, permission)
    play(table, walk, permission)
    assert table.pool.pick(WANT, walk) == Exhausted(ExhaustedReason.PERMISSION)
    assert walk.last_failure is permission
    assert walk.attempts == 2


def test_who_is_passed_over_is_not_asked_and_has_not_failed() -> None:
    """Protects the others' attempts, and the credential, from a request that was not for it."""
    table = bench(credential("api-1"), credential("api-2"))
    walk = table.walk()
    names = []
    for _ in range(2):
        lease = table.pool.pick(WANT, walk)
        assert isinstance(lease, Lease)
        names.append(lease.name)
        walk.pass_over(lease)
        table.pool.settle(lease, Abandoned())
    assert sorted(names) == ["api-1", "api-2"]
    assert (walk.attempts, walk.last_failure) == (0, None)
    assert isinstance(table.pool.pick(WANT, walk), Exhausted)
    assert isinstance(table.pool.pick(WANT, table.walk()), Lease)


def test_the_budget_starts_full_and_counts_what_it_suppressed() -> None:
    """Protects the upstream from a storm: ten retries at once, then none."""
    budget = RetryBudget(Policy(), FakeClock())
    assert [budget.try_spend() for _ in range(12)] == [True] * 10 + [False] * 2
    assert budget.suppressed == 2
    assert repr(budget) == "<RetryBudget [0.0 of 10 | Suppressed: 2]>"


def test_the_budget_fills_by_requests_and_by_time_up_to_its_bound() -> None:
    """Protects the numbers: a fifth a request, two a second, never over ten."""
    clock = FakeClock()
    budget = RetryBudget(Policy(), clock)
    while budget.try_spend():
        pass
    for _ in range(6):
        budget.on_request()
    assert [budget.try_spend(), budget.try_spend()] == [True, False]
    clock.advance(1)
    assert [budget.try_spend(), budget.try_spend(), budget.try_spend()] == [True, True, False]
    clock.advance(1000)
    assert [budget.try_spend() for _ in range(11)] == [True] * 10 + [False]


def test_retries_of_a_failing_service_stay_under_a_quarter() -> None:
    """Protects the upstream: at 50 requests a second that all fail, at most 1.25 calls a request in the long run."""
    clock = FakeClock()
    budget = RetryBudget(Policy(), clock)
    calls = 0
    for _ in range(50 * 600):
        clock.advance(1 / 50)
        budget.on_request()
        calls += 1 + budget.try_spend()
    assert calls / (50 * 600) <= 1.25
