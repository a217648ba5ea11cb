"""A question from the house to the simulated claude.ai and back, with everything that can go wrong on the way."""

import asyncio
import base64

import msgspec
import pytest

from proxy.dialects.anthropic import StreamDecoder, decode_message
from proxy.dialects.claude_web import PromptOptions
from proxy.exchange import Operation
from proxy.model.collect import Collector
from proxy.model.content import TextBlock, ThinkingBlock
from proxy.model.message import Message
from proxy.pool import FailureClass, Fault, classify
from proxy.simulator import Simulator, Step
from proxy.store.base import OwedDeletion
from proxy.tasks import finish_all
from proxy.upstreams.base import UpstreamCall, UpstreamFault, UpstreamRefused
from proxy.upstreams.claude_web.upstream import ClaudeWeb
from proxy.upstreams.http import WaysOut
from proxy.watch import Watch
from tests.unit.simulator.client import until
from tests.unit.upstreams.claude_web.building import (
    COOKIE,
    OTHER,
    MemoryLedger,
    question,
    session_of,
    upstream,
)


async def _asked(web: ClaudeWeb, simulator: Simulator, call: UpstreamCall, watch: Watch) -> Message:
    """The answer, whole or streamed, as a client of the Messages API reads it."""
    reply = await web.open(call, session_of(simulator), watch, 5)
    try:
        if not call.stream:
            return decode_message(await reply.read_all(watch, 5))
        decoder, collector = StreamDecoder(1_000_000), Collector()
        while chunk := await reply.read():
            for event in decoder.feed(chunk):
                collector.add(event)
        return collector.message()
    finally:
        reply.close()
        reply.close()


def _text(message: Message) -> str:
    return "".join(block.text for block in message.content if isinstance(block, TextBlock))


@pytest.mark.parametrize("stream", [True, False])
async def test_a_question_is_answered_and_leaves_nothing_behind(
    simulator: Simulator, ways_out: WaysOut, watch: Watch, *, stream: bool
) -> None:
    """Protects the whole way: the conversation was owed before it was made, and is deleted after the answer."""
    ledger = MemoryLedger()
    message = await _asked(upstream(ways_out, ledger), simulator, question("Hi", stream=stream), watch)
    assert (_text(message), message.stop_reason) == ('You said: "Hi"', "end_turn")
    assert message.usage.estimated
    await finish_all(within_s=5)
    (conversation,) = simulator.site.ledger.deleted
    assert (conversation.temporary, conversation.completions, ledger.rows) == (True, 1, {})
    assert simulator.site.ledger.account_changes == 0


async def test_it_is_owed_on_disk_before_it_exists(
    simulator: Simulator, ways_out: WaysOut, watch: Watch
) -> None:
    """Protects against a kill at any moment: whatever the site has, the ledger has too."""
    ledger = MemoryLedger()
    seen: list[int] = []
    made = simulator.site._made

    def noting(*arguments: object) -> object:
        seen.append(len(ledger.rows))
        return made(*arguments)  # type: ignore[arg-type] # passed on as they came

    simulator.site._made = noting  # type: ignore[method-assign, assignment] # the moment of creation is what is looked at
    await _asked(upstream(ways_out, ledger), simulator, question(), watch)
    assert seen == [1]


async def test_files_thinking_and_model_arrive(simulator: Simulator, ways_out: WaysOut, watch: Watch) -> None:
    """Protects what a request brings along."""
    image = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(b"png").decode()}
    content = [{"type": "text", "text": "look"}, {"type": "image", "source": image}]
    call = question(messages=[{"role": "user", "content": content}], thinking={"type": "adaptive"})
    message = await _asked(upstream(ways_out, MemoryLedger()), simulator, call, watch)
    assert isinstance(message.content[0], ThinkingBlock)
    assert "file image-1.png image/png 3 bytes" in _text(message)
    assert message.model == "claude-sonnet-4-6"


async def test_an_account_that_may_not_choose_is_sent_no_model(
    simulator: Simulator, ways_out: WaysOut, watch: Watch
) -> None:
    """Protects accounts that pay nothing."""
    simulator.site.free.add(COOKIE)
    await _asked(upstream(ways_out, MemoryLedger()), simulator, question(), watch)
    assert [one.model for one in simulator.site.ledger.conversations.values()] == [None]


async def test_a_cut_answer_ends_the_upstream_call(
    simulator: Simulator, ways_out: WaysOut, watch: Watch
) -> None:
    """Protects max_tokens: nothing more is read, and the conversation goes."""
    call = question("x" * 400, stream=True, max_tokens=2)
    message = await _asked(upstream(ways_out, MemoryLedger()), simulator, call, watch)
    assert (_text(message), message.stop_reason) == ("You said", "max_tokens")
    await finish_all(within_s=5)
    assert simulator.site.ledger.alive == []


async def test_kept_conversations_are_neither_owed_nor_deleted(
    simulator: Simulator, ways_out: WaysOut, watch: Watch
) -> None:
    """Protects CHAT_DELETE=false: they stay in the account's history."""
    ledger = MemoryLedger()
    web = upstream(ways_out, ledger, delete=False)
    await _asked(web, simulator, question(), watch)
    await finish_all(within_s=5)
    assert [(one.temporary, one.deleted_by) for one in simulator.site.ledger.alive] == [(False, "")]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("max_tokens", "kept"), [(1000, 1), (2, 0)])
async def test_only_an_answer_that_came_whole_is_gone_on_with(
    simulator: Simulator, ways_out: WaysOut, watch: Watch, max_tokens: int, kept: int, *, stream: bool
) -> None:
    """Protects conversations from a past in which the site has said more than the client has seen."""
    ledger = MemoryLedger()
    options = PromptOptions(continues=True)
    call = question("x" * 400, stream=stream, options=options, max_tokens=max_tokens)
    await _asked(upstream(ways_out, ledger, delete=False), simulator, call, watch)
    await finish_all(within_s=5)
    assert len(ledger.held) == kept


async def test_tokens_are_counted_without_asking_anybody(
    simulator: Simulator, ways_out: WaysOut, watch: Watch
) -> None:
    """Protects the account: a count is an estimate from the text."""
    call = msgspec.structs.replace(question("x" * 400), operation=Operation.COUNT_TOKENS)
    reply = await upstream(ways_out, MemoryLedger()).open(call, session_of(simulator), watch, 5)
    assert await reply.read_all(watch, 5) == b'{"input_tokens":100}'
    assert simulator.record.requests == []


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "step",
    [
        Step("status", status=500, call="complete"),
        Step("conversation_gone", call="complete"),
        Step("web_limit", call="complete"),
        Step("reset_before_headers", call="complete", times=2),
        Step("answer_lost", call="complete"),
        Step("answer_lost", call="create", times=2),
        Step("answer_lost", call="create", status=500),
        Step("reset_mid_stream", call="complete"),
        Step("end_without_stop", call="complete"),
        Step("error_event_first", call="complete"),
        Step("error_event_mid", call="complete"),
    ],
    ids=lambda step: f"{step.do}-{step.call}",
)
async def test_whatever_fails_the_conversation_is_deleted(
    simulator: Simulator, ways_out: WaysOut, watch: Watch, step: Step, *, stream: bool
) -> None:
    """Protects the account from what failures leave behind; no failure looks like an answer."""
    simulator.script(COOKIE, [step])
    ledger = MemoryLedger()
    with pytest.raises((UpstreamRefused, UpstreamFault, ValueError)):
        await _asked(upstream(ways_out, ledger), simulator, question(stream=stream), watch)
    await finish_all(within_s=5)
    assert (simulator.site.ledger.alive, ledger.rows) == ([], {})
    assert len(simulator.site.ledger.deleted) == 1


@pytest.mark.parametrize("step", [Step("dead_cookie", call="create"), Step("challenge", call="create")])
async def test_a_refused_creation_is_not_followed_by_a_deletion(
    simulator: Simulator, ways_out: WaysOut, watch: Watch, step: Step
) -> None:
    """Protects the stop sign: a challenged way out and a dead cookie are left alone."""
    simulator.script(COOKIE, [step])
    ledger = MemoryLedger()
    with pytest.raises(UpstreamRefused):
        await _asked(upstream(ways_out, ledger), simulator, question(), watch)
    await finish_all(within_s=5)
    calls = [request.method for request in simulator.record.requests]
    assert (calls, ledger.rows) == (["GET", "POST"], {})


@pytest.mark.parametrize("stream", [True, False])
async def test_a_conversation_is_used_although_the_answer_that_told_of_it_was_lost(
    simulator: Simulator, ways_out: WaysOut, watch: Watch, *, stream: bool
) -> None:
    """Protects clients from connections that end in silence: the uuid is ours, so the conversation is as well."""
    simulator.script(COOKIE, [Step("answer_lost", call="create")])
    ledger = MemoryLedger()
    message = await _asked(upstream(ways_out, ledger), simulator, question("Hi", stream=stream), watch)
    await finish_all(within_s=5)
    assert _text(message) == 'You said: "Hi"'
    (conversation,) = simulator.site.ledger.deleted
    assert (conversation.completions, ledger.rows) == (1, {})


async def test_what_a_lost_answer_told_of_is_deleted_whatever_the_next_one_says(
    simulator: Simulator, ways_out: WaysOut, watch: Watch
) -> None:
    """Protects the account: a creation that was asked for twice may have been made, though it was refused at last."""
    simulator.script(COOKIE, [Step("answer_lost", call="create"), Step("web_limit", call="create")])
    ledger = MemoryLedger()
    with pytest.raises(UpstreamRefused):
        await _asked(upstream(ways_out, ledger), simulator, question(), watch)
    await finish_all(within_s=5)
    assert (len(simulator.site.ledger.deleted), simulator.site.ledger.alive, ledger.rows) == (1, [], {})


async def test_a_question_the_conversation_holds_already_is_no_mistake_of_the_clients(
    simulator: Simulator, ways_out: WaysOut, watch: Watch
) -> None:
    """Protects clients from a 400 about a message they never heard of: the answer was lost, and that is a fault."""
    simulator.script(COOKIE, [Step("answer_lost", call="complete")])
    with pytest.raises(UpstreamFault) as fault:
        await _asked(upstream(ways_out, MemoryLedger()), simulator, question(), watch)
    assert fault.value.fault is Fault.RESET


async def test_a_vanished_conversation_is_no_mistake_of_the_clients(
    simulator: Simulator, ways_out: WaysOut, watch: Watch
) -> None:
    """Protects clients from a 404 about something they never heard of."""
    simulator.script(COOKIE, [Step("conversation_gone", call="complete")])
    with pytest.raises(UpstreamFault) as fault:
        await _asked(upstream(ways_out, MemoryLedger()), simulator, question(), watch)
    assert fault.value.fault is Fault.RESET


async def test_an_error_event_of_an_unstreamed_answer_means_what_it_says(
    simulator: Simulator, ways_out: WaysOut, watch: Watch
) -> None:
    """Protects the table of failures from a broken stream in an error's place."""
    simulator.script(COOKIE, [Step("error_event_mid", type="overloaded_error", call="complete")])
    with pytest.raises(UpstreamRefused) as refused:
        await _asked(upstream(ways_out, MemoryLedger()), simulator, question(), watch)
    assert classify(refused.value.error, now_unix_ms=0).cls is FailureClass.OVERLOADED


@pytest.mark.parametrize("call", ["create", "complete"])
async def test_a_client_that_leaves_early_leaves_nothing_behind(
    simulator: Simulator, ways_out: WaysOut, call: str
) -> None:
    """Protects the account from cancelled questions, at whichever call they were."""
    simulator.script(COOKIE, [msgspec.convert({"do": "stall_before_event", "call": call}, Step)])
    ledger = MemoryLedger()
    web = upstream(ways_out, ledger)
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(_leaving(web, simulator))
        await until(lambda: _begun(simulator, call))
        asking.cancel()
    await finish_all(within_s=5)
    assert (simulator.site.ledger.alive, ledger.rows) == ([], {})


def _begun(simulator: Simulator, call: str) -> bool:
    end = "/completion" if call == "complete" else "/chat_conversations"
    return any(one.path.endswith(end) and one.first_byte_s for one in simulator.record.requests)


async def _leaving(web: ClaudeWeb, simulator: Simulator) -> None:
    watch = Watch()
    try:
        await _asked(web, simulator, question(), watch)
    finally:
        watch.close()


async def test_what_an_earlier_process_left_is_deleted_with_its_own_session(
    simulator: Simulator, ways_out: WaysOut, watch: Watch
) -> None:
    """Protects against a kill: the right cookie is used, and a session that is gone keeps its debt."""
    credentials = [session_of(simulator, COOKIE), session_of(simulator, OTHER, name="web-2")]
    place = simulator.site.organization_of(OTHER)
    session = upstream(ways_out, MemoryLedger()).session(credentials[1])
    await session.create(place, "left", temporary=True, model=None, watch=watch, limit_s=5)
    rows = [
        OwedDeletion(conversation=name, fingerprint=mark, organization=place, since_unix_ms=1)
        for name, mark in (("left", credentials[1].fingerprint(b"key")), ("lost", "nobody"))
    ]
    ledger = MemoryLedger(*rows)
    web = upstream(ways_out, ledger, *credentials)
    await web.deletions.restore()
    await finish_all(within_s=5)
    assert [one.deleted_by for one in simulator.site.ledger.deleted] == [OTHER]
    assert list(ledger.rows) == ["lost"]
    await web.close()


@pytest.mark.parametrize(
    "step", [Step("status", status=500), Step("challenge"), Step("reset_before_headers", times=2)]
)
async def test_a_deletion_that_fails_stays_owed(
    simulator: Simulator, ways_out: WaysOut, watch: Watch, step: Step
) -> None:
    """Protects what is owed from one bad answer, which costs the client nothing.

    The client library itself repeats a deletion once whose kept connection was closed.
    """
    simulator.script(COOKIE, [msgspec.structs.replace(step, call="delete")])
    ledger = MemoryLedger()
    await _asked(upstream(ways_out, ledger), simulator, question(), watch)
    await finish_all(within_s=5)
    assert [owed.attempts for owed in ledger.rows.values()] == [1]
