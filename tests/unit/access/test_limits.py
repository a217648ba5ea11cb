"""Each limit is reserved from first and settled at the end, from all of them or from none."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.access.budgets import Budgets
from proxy.access.limits import Ask, Grant, Limiter
from proxy.access.refusals import LimitReached
from proxy.access.rules import Period, Rules
from proxy.dialects.anthropic import AnthropicDialect
from proxy.dialects.openai_chat import OpenAIChatDialect
from proxy.errors import ErrorKind, GatewayError, InvalidRequest
from proxy.model.message import Usage
from proxy.model.pricing import Pricing
from proxy.tasks import finish_all
from tests.support.access import MemoryAccess
from tests.support.clock import FakeClock
from tests.unit.access.test_rules import NO_LIMITS
from tests.unit.dispatch.building import CATALOG

_MODEL = "claude-sonnet-5-5"


def _limiter(clock: FakeClock, **server: int) -> Limiter:
    limits = dataclasses.replace(NO_LIMITS, **server)  # type: ignore[arg-type]  # numbers of it, by name
    return Limiter(clock, Budgets(MemoryAccess(), clock), Pricing(CATALOG), limits)


def _ask(tokens: int = 100) -> Ask:
    return Ask(_MODEL, tokens, 0)


def _ended(grant: Grant, tokens: int, *, partial: bool = False) -> None:
    grant.settle(_MODEL, Usage(input_tokens=tokens, output_tokens=0), partial=partial)


def test_requests_a_minute_pass_up_to_the_limit_and_headers_count_down() -> None:
    """Protects clients that slow down by what the headers say."""
    clock = FakeClock()
    subject, rules = _limiter(clock), Rules(requests_per_minute=2)
    first = subject.admit("a", rules, _ask())
    assert first.headers == {
        "x-ratelimit-limit-requests": "2",
        "x-ratelimit-remaining-requests": "1",
        "x-ratelimit-reset-requests": "1m0s",
    }
    clock.advance(20)
    subject.admit("a", rules, _ask())
    with pytest.raises(LimitReached) as caught:
        subject.admit("a", rules, _ask())
    assert caught.value.retry_after_s == 40
    assert caught.value.should_retry is None
    assert caught.value.headers["x-ratelimit-remaining-requests"] == "0"
    assert caught.value.headers["x-ratelimit-reset-requests"] == "40s"
    clock.advance(40)
    subject.admit("a", rules, _ask())
    subject.admit("b", rules, _ask())


@pytest.mark.parametrize("whose", ["client", "server"])
def test_sixty_a_minute_pass_in_each_of_three_minutes_under_eight_clients(whose: str) -> None:
    """Protects both sides of a limit: never more than it says, and as much as it says."""
    clock = FakeClock()
    own = Rules(requests_per_minute=60) if whose == "client" else Rules()
    subject = _limiter(clock) if whose == "client" else _limiter(clock, requests_per_minute=60)
    passed = [0, 0, 0]
    for tick in range(3 * 60 * 10):
        for number in range(8):
            try:
                grant = subject.admit("a" if whose == "client" else f"client-{number}", own, _ask())
            except LimitReached:
                continue
            _ended(grant, 10)
            passed[tick // 600] += 1
        clock.advance(0.1)
    assert all(59 <= count <= 61 for count in passed), passed


def test_the_servers_limits_bind_all_clients_together() -> None:
    """Protects the upstreams from many clients that each keep to their own limit."""
    subject = _limiter(FakeClock(), requests_per_minute=3)
    for client in "abc":
        subject.admit(client, Rules(), _ask())
    with pytest.raises(LimitReached, match=r"3 requests a minute of the server \(REQUESTS_PER_MINUTE\)"):
        subject.admit("d", Rules(), _ask())


def test_a_request_that_one_limit_refuses_counts_against_no_other() -> None:
    """Protects a client from paying for what it did not get."""
    clock = FakeClock()
    subject = _limiter(clock, requests_per_minute=1, tokens_per_minute=1000)
    subject.admit("a", Rules(requests_per_minute=2), _ask(100))
    for _ in range(5):
        with pytest.raises(LimitReached):
            subject.admit("a", Rules(requests_per_minute=2), _ask(100))
    clock.advance(60)
    granted = subject.admit("a", Rules(requests_per_minute=2), _ask(100))
    # a third of the first one still lies within the last minute
    assert granted.headers["x-ratelimit-remaining-tokens"] == "866"
    assert granted.headers["x-ratelimit-remaining-requests"] == "0"


def test_concurrency_is_a_number_of_requests_at_the_same_time() -> None:
    """Protects the other clients' places, and gives each place back once."""
    subject, rules = _limiter(FakeClock()), Rules(concurrency=2)
    first, _ = subject.admit("a", rules, _ask()), subject.admit("a", rules, _ask())
    with pytest.raises(LimitReached, match="2 requests under way"):
        subject.admit("a", rules, _ask())
    subject.admit("b", rules, _ask())
    _ended(first, 10)
    with pytest.raises(RuntimeError):
        _ended(first, 10)
    subject.admit("a", rules, _ask())
    with pytest.raises(LimitReached):
        subject.admit("a", rules, _ask())


def test_a_burst_of_tokens_settles_to_the_true_use() -> None:
    """Protects the limit from guesses: what was reserved is only there until it is known."""
    clock = FakeClock()
    subject, rules = _limiter(clock), Rules(tokens_per_minute=10_000)
    grants = [subject.admit("a", rules, _ask(1000)) for _ in range(10)]
    with pytest.raises(LimitReached) as caught:
        subject.admit("a", rules, _ask(1000))
    assert caught.value.headers["x-ratelimit-remaining-tokens"] == "0"
    for number, grant in enumerate(grants):
        _ended(grant, 100 + number)
    after = subject.admit("a", rules, _ask(1))
    assert after.headers["x-ratelimit-remaining-tokens"] == str(10_000 - 1045 - 1)
    _ended(after, 6000)
    with pytest.raises(LimitReached):
        subject.admit("a", rules, _ask(3000))


@pytest.mark.parametrize(
    ("usage", "partial", "left"),
    [
        (None, False, 10_000),
        (None, True, 9000),
        (Usage(input_tokens=10), True, 9000),
        (Usage(input_tokens=10, output_tokens=3000), True, 6990),
        (Usage(input_tokens=1, cache_creation_input_tokens=2, cache_read_input_tokens=5000), False, 9997),
    ],
)
def test_an_answer_that_broke_off_counts_for_no_less_than_was_reserved(
    usage: Usage | None,
    partial: bool,
    left: int,
) -> None:
    """Protects limits from clients that hang up before the numbers come."""
    subject, rules = _limiter(FakeClock()), Rules(tokens_per_minute=10_000)
    subject.admit("a", rules, _ask(1000)).settle(_MODEL, usage, partial=partial)
    assert subject.admit("a", rules, _ask(1)).headers["x-ratelimit-remaining-tokens"] == str(left - 1)


@pytest.mark.parametrize("asked_again", [False, True])
@pytest.mark.parametrize(
    ("passed_s", "tokens", "counted"),
    [
        (1, 100, 100),
        (1, 1500, 1500),
        (60, 100, 100),
        (60, 1500, 1500),
        (120, 100, 0),
        (120, 1500, 500),
        (600, 1500, 500),
    ],
)
def test_what_a_long_request_used_counts_where_it_was_reserved(
    passed_s: int, tokens: int, counted: int, asked_again: bool
) -> None:
    """Protects the sum of a minute from requests that end in another, whether or not anybody asked in between."""
    clock = FakeClock(now_s=600.0)
    subject, rules = _limiter(clock), Rules(tokens_per_minute=10_000)
    long = subject.admit("a", rules, _ask(1000))
    clock.advance(passed_s)
    if asked_again:
        subject.admit("a", rules, _ask(1))
    _ended(long, tokens)
    found = subject.admit("a", rules, _ask(1)).headers["x-ratelimit-remaining-tokens"]
    assert int(found) == 10_000 - counted - 1 - asked_again


def test_a_request_larger_than_the_limit_runs_alone_or_is_told_so() -> None:
    """Protects clients from a 429 that would never end."""
    clock = FakeClock()
    subject = _limiter(clock, tokens_per_minute=1000)
    large = subject.admit("a", Rules(), _ask(5000))
    _ended(large, 5000)
    with pytest.raises(InvalidRequest, match=r"TOKENS_PER_MINUTE.* 1000 tokens a minute"):
        subject.admit("a", Rules(), _ask(5000))
    clock.advance(120)
    subject.admit("a", Rules(), _ask(5000))


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(1, 900)), max_size=40))
def test_whoever_comes_back_when_told_to_is_let_in(steps: list[tuple[float, int]]) -> None:
    """Protects clients that wait as long as ``retry-after`` says from being refused once more."""
    clock = FakeClock()
    subject, rules = _limiter(clock), Rules(tokens_per_minute=1000)
    for step, tokens in steps:
        clock.now_s += step
        try:
            subject.admit("a", rules, _ask(tokens))
        except LimitReached as refused:
            clock.now_s += (refused.retry_after_s or 0) + 1e-6
            subject.admit("a", rules, _ask(tokens))


async def test_a_budget_of_a_dollar_is_overspent_by_no_more_than_the_requests_under_way() -> None:
    """Protects the operator's money from many requests that begin while there is still a cent."""
    clock = FakeClock()
    subject, rules = _limiter(clock), Rules(budget_micro_usd=1_000_000)
    usage = Usage(input_tokens=1000, output_tokens=5000)
    cost = Pricing(CATALOG).cost_micro_usd(_MODEL, usage)
    assert cost is not None
    under_way: list[Grant] = []
    spent = 0
    ended: GatewayError | None = None
    while ended is None:
        full = False
        try:
            under_way.append(subject.admit("a", rules, Ask(_MODEL, 1000, 1000)))
            full = len(under_way) == 8
        except LimitReached:
            full = True
        except GatewayError as error:
            ended = error
        if full and under_way:
            under_way.pop(0).settle(_MODEL, usage, partial=False)
            spent += cost
    assert ended.kind is ErrorKind.BILLING
    for grant in under_way:
        grant.settle(_MODEL, usage, partial=False)
        spent += cost
    assert 1_000_000 <= spent <= 1_000_000 + 8 * cost
    await finish_all(within_s=5)


async def test_a_budget_pays_for_an_answer_that_broke_off() -> None:
    """Protects the operator's money from a client that hangs up before the numbers come."""
    subject, rules = _limiter(FakeClock()), Rules(budget_micro_usd=1_000_000)
    usage = Usage(input_tokens=1000, output_tokens=1000)
    cost = Pricing(CATALOG).cost_micro_usd(_MODEL, usage)
    subject.admit("a", rules, Ask(_MODEL, 1000, 1000)).settle(_MODEL, Usage(input_tokens=5), partial=True)
    assert subject.budgets.spent("a", rules) == cost
    subject.admit("a", rules, Ask(_MODEL, 1000, 1000)).settle(_MODEL, None, partial=False)
    assert subject.budgets.spent("a", rules) == cost
    await finish_all(within_s=5)


@pytest.mark.parametrize("told", [False, True])
async def test_a_budget_is_whole_in_the_next_period_but_for_what_ends_in_it(told: bool) -> None:
    """Protects clients from a period that never ends, and the operator's money from requests that outlast theirs."""
    clock = FakeClock()
    subject, rules = _limiter(clock), Rules(budget_micro_usd=10_000, period=Period.DAY)

    def at() -> int | None:
        return clock.unix_ms() if told else None

    long = subject.admit("a", rules, Ask(_MODEL, 1000, 0, at()))
    _ended(subject.admit("a", rules, Ask(_MODEL, 1000, 0, at())), 100_000)
    with pytest.raises(GatewayError, match="has spent its budget"):
        subject.admit("a", rules, Ask(_MODEL, 1000, 0, at()))
    clock.advance(86_400)
    long.settle(_MODEL, Usage(input_tokens=1000, output_tokens=0), False, at())
    cost = Pricing(CATALOG).cost_micro_usd(_MODEL, Usage(input_tokens=1000))
    assert subject.budgets.spent("a", rules) == cost
    subject.admit("a", rules, Ask(_MODEL, 1000, 0, at()))
    clock.advance(86_400)
    subject.admit("a", rules, Ask(_MODEL, 1000, 0, at()))
    assert subject.budgets.spent("a", rules) == 0
    await finish_all(within_s=5)


async def test_a_budget_that_was_spent_yesterday_is_there_for_the_first_who_asks() -> None:
    """Protects clients whose requests are all refused from being refused for ever."""
    clock = FakeClock()
    subject, rules = _limiter(clock), Rules(budget_micro_usd=10, period=Period.DAY)
    _ended(subject.admit("a", rules, _ask()), 100_000)
    clock.advance(86_400)
    subject.admit("a", rules, _ask())
    await finish_all(within_s=5)


async def test_a_spent_budget_says_when_it_is_whole_again_in_each_dialects_words() -> None:
    """Protects clients from retrying all month, and tells SDKs what they understand."""
    clock = FakeClock()
    subject, rules = _limiter(clock), Rules(budget_micro_usd=10)
    _ended(subject.admit("a", rules, _ask(1000)), 1000)
    with pytest.raises(GatewayError) as caught:
        subject.admit("a", rules, _ask())
    error = caught.value
    assert error.should_retry is False
    assert error.retry_after_s == Rules().period.bounds(clock.wall_ms)[1] / 1000 - clock.wall_ms / 1000  # type: ignore[operator]  # a month ends
    assert AnthropicDialect().render_error(error, "r").status == 402
    assert b'"billing_error"' in AnthropicDialect().render_error(error, "r").body
    assert OpenAIChatDialect().render_error(error, "r").status == 429
    assert b'"type":"insufficient_quota"' in OpenAIChatDialect().render_error(error, "r").body
    subject.admit("a", rules, Ask(_MODEL))
    await finish_all(within_s=5)
