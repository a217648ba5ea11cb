"""Last resorts and models that stand in: when the loop turns to them, and what it never lets them change."""

from collections.abc import Sequence
from typing import Final

import msgspec
import pytest

from proxy.credentials import Credential, Kind
from proxy.dispatch.attempt import StreamOpened, UnaryOpened
from proxy.dispatch.trace import Trace
from proxy.errors import GatewayError, InvalidRequest
from proxy.exchange import Exchange, Operation
from proxy.pool import Fault, Success
from proxy.server.handlers import NoHold
from proxy.watch import Watch
from tests.unit.dialects.openai_chat.upstream.building import WHOLE as CHAT_STREAM
from tests.unit.dispatch.building import (
    ANTHROPIC,
    CHAT,
    Answer,
    Bench,
    ScriptedReply,
    bench,
    body,
    credential,
    exchange,
    refused,
    streamed,
    whole,
)

OPUS: Final = "claude-opus-5-5"
SONNET: Final = "claude-sonnet-5-5"
HAIKU: Final = "claude-haiku-5-5"
COMPLETION: Final = msgspec.json.encode(
    {
        "id": "chatcmpl-1",
        "model": "gpt-4o-2026",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 7},
    }
)
MEMBERS: Final = (credential("api-1"), credential("other", kind=Kind.OPENAI, model="gpt-4o"))
CHAIN: Final = (("claude-opus-*", "sonnet"), ("claude-opus-*", "haiku"))


def other() -> ScriptedReply:
    """A whole answer of another API."""
    return whole(COMPLETION)


def house(
    *answers: Answer,
    others: Sequence[Answer] = (),
    credentials: Sequence[Credential] = MEMBERS,
    **rest: object,
) -> Bench:
    """One Claude credential and one last resort, unless others are given."""
    return bench(*answers, others=others, credentials=credentials, **rest)  # type: ignore[arg-type]  # its own numbers


class _Committing(NoHold):
    """A client that gets its headers with the attempt of this number."""

    def __init__(self, number: int) -> None:
        self._left = number

    def attempt_started(self) -> None:
        """See `Hold.attempt_started`."""
        self._left -= 1
        self.committed = self._left <= 0


async def opened(
    running: Bench, call: Exchange | None = None, trace: Trace | None = None, hold: NoHold | None = None
) -> UnaryOpened | StreamOpened:
    """The answer of one exchange, whose lease is given back."""
    watch = Watch()
    call = call or exchange(deadline_s=running.clock.now_s + 600.0)
    try:
        found = await running.dispatcher.open(call, trace or Trace(), hold or NoHold(), watch)
    finally:
        watch.close()
    running.dispatcher.end(found, Success())
    assert running.pool.in_flight == 0
    return found


async def failed(
    running: Bench, call: Exchange | None = None, trace: Trace | None = None, hold: NoHold | None = None
) -> GatewayError:
    """The error one exchange ends in, after which every place is free."""
    with pytest.raises(GatewayError) as caught:
        await opened(running, call, trace, hold)
    assert running.pool.in_flight == 0
    return caught.value


def asked_models(running: Bench) -> list[object]:
    """The models Claude was asked for, in order."""
    return [msgspec.json.decode(call.body)["model"] for _, call in running.upstream.calls]


@pytest.mark.parametrize("failure", [refused(401), refused(403), refused(429), refused(500), Fault.RESET])
async def test_a_messages_client_is_answered_by_another_api_in_its_own_dialect(failure: Answer) -> None:
    """Protects clients from a pool that is out of use, and tells which model answered."""
    running, trace = house(failure, refused(500), others=[other()], retry_count=0), Trace()
    found = await opened(running, trace=trace)
    assert isinstance(found, UnaryOpened)
    message = msgspec.json.decode(found.body)
    assert (message["type"], message["content"], message["model"]) == (
        "message",
        [{"type": "text", "text": "Hello"}],
        "gpt-4o",
    )
    assert (trace.credential, trace.model, trace.attempts) == ("other", "gpt-4o", 2)
    assert found.usage is not None
    assert found.usage.output_tokens == 7


async def test_a_chat_client_gets_the_other_apis_bytes() -> None:
    """Protects an answer in the client's own dialect from being written anew."""
    raw = body(messages=[{"role": "user", "content": "Hi"}])
    running = house(refused(401), others=[other()])
    found = await opened(running, exchange(raw, dialect=CHAT))
    assert isinstance(found, UnaryOpened)
    assert found.body == COMPLETION
    ((_, call),) = running.other.calls
    assert msgspec.json.decode(call.body)["model"] == "gpt-4o"


@pytest.mark.parametrize("dialect", [ANTHROPIC, CHAT])
async def test_a_stream_of_another_api_is_held_until_it_is_real(dialect: object) -> None:
    """Protects the choice to go on while nothing of an answer has come."""
    assert dialect in (ANTHROPIC, CHAT)
    raw = body(stream=True, messages=[{"role": "user", "content": "Hi"}])
    last = credential("last", kind=Kind.OPENAI, model="m", tier=1)
    running = house(
        refused(401),
        others=[streamed(b": ping\n\n", Fault.RESET), streamed(*CHAT_STREAM)],
        credentials=(*MEMBERS, last),
    )
    trace = Trace()
    found = await opened(running, exchange(raw, dialect=dialect, deadline_s=running.clock.now_s + 600), trace)
    assert isinstance(found, StreamOpened)
    assert (trace.credential, trace.attempts) == ("last", 3)


async def test_what_each_attempt_leaves_out_is_told_for_the_one_that_answers() -> None:
    """Protects clients from a list that belongs to another attempt."""
    raw = body(top_k=3)
    running, trace = house(refused(401), others=[other()]), Trace()
    await opened(running, exchange(raw), trace)
    assert [item.field for item in trace.dropped] == ["top_k"]
    running, trace = house(whole()), Trace()
    await opened(running, exchange(raw), trace)
    assert trace.dropped == ()


async def test_what_claude_cannot_carry_is_refused_even_while_it_is_down() -> None:
    """Protects clients from a request that works today and not tomorrow."""
    raw = body(n=2, messages=[{"role": "user", "content": "Hi"}])
    running = house(others=[other()])
    assert (await failed(running, exchange(raw, dialect=CHAT))).param == "n"
    alone = house(others=[other()], credentials=MEMBERS[1:])
    assert isinstance(await opened(alone, exchange(raw, dialect=CHAT)), UnaryOpened)


async def test_where_other_apis_are_all_there_is_a_bad_request_frees_its_place() -> None:
    """Protects the pool from a place that is lost to a client's mistake."""
    running = house(credentials=MEMBERS[1:])
    error = await failed(running, exchange(body(messages=[])))
    assert isinstance(error, InvalidRequest)


async def test_a_conversation_does_not_stay_with_a_last_resort() -> None:
    """Protects prompt caches and privacy: once Claude is back, the conversation is too."""
    turns = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Yes"},
        {"role": "user", "content": "Go"},
    ]
    raw = body(messages=turns)
    running = house(*[refused(401), refused(401)], whole(), others=[other() for _ in range(4)])
    for _ in range(4):
        trace = Trace()
        await opened(running, exchange(raw, conversation=("client", "", b"x")), trace)
        assert trace.credential == "other"
    running.pool.reset("api-1")
    running.upstream.answers[:] = [whole()]
    trace = Trace()
    await opened(running, exchange(raw, conversation=("client", "", b"x")), trace)
    assert trace.credential == "api-1"


async def test_while_the_provider_is_overloaded_another_api_answers() -> None:
    """Protects clients whose operator has a last resort from being turned away, and the provider from them."""
    overload = refused(529, type="overloaded_error", message="Overloaded")
    running = house(*[overload] * 60, others=[other() for _ in range(80)], retry_count=0)
    for _ in range(20):
        await opened(running)
    before = len(running.upstream.calls)
    for _ in range(40):
        await opened(running)
    assert len(running.upstream.calls) - before < 40


async def test_where_the_last_resort_fails_too_the_overload_is_told() -> None:
    """Protects the client's answer: why it was turned away, and when to come again."""
    overload = refused(529, type="overloaded_error", message="Overloaded")
    running = house(*[overload] * 60, others=[refused(500, kind=Kind.OPENAI)] * 80, retry_count=0)
    assert [(await failed(running)).status for _ in range(60)] == [529] * 60


async def test_tokens_are_counted_by_anthropic_alone() -> None:
    """Protects a count from an API that has none."""
    running = house(refused(401), others=[other()])
    await failed(running, exchange(operation=Operation.COUNT_TOKENS, limit_class="count_tokens"))
    assert running.other.calls == []


async def test_a_credential_that_is_kept_to_a_model_is_asked_for_it() -> None:
    """Protects the operator's choice; the name goes through the aliases as a client's would."""
    running, trace = (
        house(whole(), credentials=[credential("api-1", model="claude-3-opus-20240229")]),
        Trace(),
    )
    await opened(running, trace=trace)
    assert (asked_models(running), trace.model) == ([OPUS], OPUS)


async def test_after_the_commit_no_last_resort_is_asked() -> None:
    """Protects clients from an answer whose headers name another credential."""
    running = house(refused(500), others=[other()], retry_count=0)
    await failed(running, hold=_Committing(1))
    assert running.other.calls == []


@pytest.mark.parametrize(
    "failure", [refused(429), refused(529), refused(403), refused(500), refused(404, message="model: x")]
)
async def test_another_model_answers_when_none_can_for_the_one_asked(failure: Answer) -> None:
    """Protects clients of a model whose limits are reached or that is gone, by the operator's chain alone."""
    running = bench(failure, whole(), credentials=[credential("api-1")], fallbacks=CHAIN, retry_count=0)
    trace = Trace()
    found = await opened(running, exchange(model=OPUS, limit_class="opus-5-5"), trace)
    assert isinstance(found, UnaryOpened)
    assert (asked_models(running), trace.model, trace.attempts) == ([OPUS, SONNET], SONNET, 2)
    assert [each.status for each in trace.failed] == [failure.status]  # type: ignore[union-attr]  # it is an error


async def test_a_chain_is_followed_to_its_end_and_then_the_first_story_is_told() -> None:
    """Protects the client's answer: it asked for one model, and hears of that one."""
    limited = refused(429, headers={"retry-after": "7"})
    running = bench(
        limited, refused(400), refused(500), credentials=[credential("api-1")], fallbacks=CHAIN, retry_count=0
    )
    error = await failed(running, exchange(model=OPUS, limit_class="opus-5-5"))
    assert (error.status, error.retry_after_s) == (429, 7)
    assert asked_models(running) == [OPUS, SONNET, HAIKU]


@pytest.mark.parametrize("failure", [refused(400), refused(413), refused(418)])
async def test_a_clients_mistake_is_asked_under_no_other_model(failure: Answer) -> None:
    """Protects clients from paying for the same mistake again."""
    running = bench(failure, whole(), credentials=[credential("api-1")], fallbacks=CHAIN)
    await failed(running, exchange(model=OPUS, limit_class="opus-5-5"))
    assert asked_models(running) == [OPUS]


async def test_a_last_resort_is_asked_before_another_model_and_not_again() -> None:
    """Protects the order: the whole walk for the model asked comes first, and each last resort has one attempt."""
    running = house(
        refused(429),
        whole(),
        others=[refused(500, kind=Kind.OPENAI), other()],
        fallbacks=CHAIN,
        retry_count=0,
    )
    trace = Trace()
    await opened(running, exchange(model=OPUS, limit_class="opus-5-5"), trace)
    assert [each.credential for each in trace.failed] == ["api-1", "other"]
    assert (trace.credential, trace.model, len(running.other.calls)) == ("api-1", SONNET, 1)


@pytest.mark.parametrize(
    "call",
    [
        exchange(model=OPUS, deadline_s=1003.0),
        exchange(model=OPUS, operation=Operation.COUNT_TOKENS, limit_class="count_tokens"),
    ],
    ids=["no time", "counting"],
)
async def test_another_model_is_not_asked_where_it_would_help_nobody(call: Exchange) -> None:
    """Protects a deadline that is near, and counts, which are another model's."""
    running = bench(refused(500), whole(), credentials=[credential("api-1")], fallbacks=CHAIN, retry_count=0)
    await failed(running, call)
    assert asked_models(running) == [OPUS]


@pytest.mark.parametrize(("commit_at", "asked"), [(1, [OPUS]), (2, [OPUS, SONNET])])
async def test_after_the_commit_no_other_model_is_asked(commit_at: int, asked: list[str]) -> None:
    """Protects clients from an answer of another model than the headers name."""
    failures: list[Answer] = [refused(500), refused(500), whole()]
    running = bench(*failures, credentials=[credential("api-1")], fallbacks=CHAIN, retry_count=0)
    hold = _Committing(commit_at)
    await failed(running, exchange(model=OPUS, limit_class="opus-5-5"), hold=hold)
    assert asked_models(running) == asked


async def test_without_a_chain_nothing_else_is_asked() -> None:
    """Protects clients from another model than they asked for."""
    running = bench(refused(401), whole(), credentials=[credential("api-1")])
    await failed(running, exchange(model=OPUS, limit_class="opus-5-5"))
    assert asked_models(running) == [OPUS]
