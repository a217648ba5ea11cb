"""What the simulator told of usage is read from the bytes it sent, and nothing else."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from proxy.simulator import Received, Simulator, Step
from proxy.simulator.ledger import Told, told_by

_MODEL = "claude-sonnet-5-5"


@pytest.fixture
async def keeping() -> AsyncIterator[Simulator]:
    """A simulator that keeps its answers."""
    running = Simulator(keep_answers=True)
    await running.start()
    yield running
    await running.stop()


async def _ask(simulator: Simulator, path: str = "/v1/messages", **fields: object) -> bytes:
    body = {
        "model": _MODEL,
        "max_tokens": 50,
        "messages": [{"role": "user", "content": "Hello you"}],
        **fields,
    }
    headers = {"x-api-key": "k1", "authorization": "Bearer k1", "anthropic-version": "2023-06-01"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(simulator.url + path, json=body, headers=headers) as answer,
    ):
        return await answer.read()


def _told(**changes: object) -> Told:
    plain = {
        "key": "k1",
        "model": _MODEL,
        "whole": True,
        "input_tokens": 2,
        "output_tokens": 3,
        "cache_read_tokens": 0,
        "cache_write_5m_tokens": 0,
        "cache_write_1h_tokens": 0,
    }
    return Told(**{**plain, **changes})  # type: ignore[arg-type]  # a table of fields


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("step", [None, Step(), Step("slice", sizes=(7,))])
async def test_a_whole_answer_is_told_whole(keeping: Simulator, stream: bool, step: Step | None) -> None:
    """Protects the judge of the gateway's books: at once, paced, and in slices it says the same."""
    if step is not None:
        keeping.script("k1", [Step(step.do, sizes=step.sizes, text="One two three")])
    answer = await _ask(keeping, stream=stream)
    (told,) = told_by(keeping.record.requests)
    expected = _told(output_tokens=told.output_tokens) if step is None else _told()
    assert told == expected
    assert keeping.record.requests[0].answer == answer


@pytest.mark.parametrize("stream", [False, True])
async def test_the_other_api_is_read_too(keeping: Simulator, stream: bool) -> None:
    """Protects the books of fallbacks."""
    wish = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    await _ask(keeping, "/v1/chat/completions", model="gpt-4o", **wish)
    (told,) = told_by(keeping.record.requests)
    assert (told.model, told.whole) == ("gpt-4o", True)
    assert told.input_tokens > 0
    assert told.output_tokens > 0


async def test_a_cut_answer_tells_what_its_whole_events_told(keeping: Simulator) -> None:
    """Protects against counting an end that was never sent, and half an event."""
    keeping.script("k1", [Step("error_event_mid", after=3), Step("cut_at_byte", at_byte=40, how="end")])
    await _ask(keeping, stream=True)
    await _ask(keeping, stream=True)
    assert told_by(keeping.record.requests) == [_told(whole=False, output_tokens=1)]


async def test_the_cache_is_told_apart(keeping: Simulator) -> None:
    """Protects the three prices of cached tokens from each other."""
    text = {"type": "text", "text": "word " * 80}
    for ttl in ("5m", "1h"):
        marked = [{**text, "cache_control": {"type": "ephemeral", "ttl": ttl}}]
        for _ in range(2):
            await _ask(keeping, system=marked, messages=[{"role": "user", "content": ttl * 8}])
    found = told_by(keeping.record.requests)
    assert [
        (told.cache_write_5m_tokens, told.cache_write_1h_tokens, told.cache_read_tokens) for told in found
    ] == [
        (100, 0, 0),
        (0, 0, 100),
        (0, 0, 100),
        (0, 0, 100),
    ]
    assert {told.input_tokens for told in found} == {4}


async def test_errors_and_answers_that_were_not_kept_tell_nothing(
    keeping: Simulator, simulator: Simulator
) -> None:
    """Protects memory: only who asks for it keeps what was sent."""
    keeping.script("k1", [Step("status", status=529)])
    await _ask(keeping)
    await _ask(simulator)
    requests: list[Received] = [*keeping.record.requests, *simulator.record.requests]
    assert [received.status for received in requests] == [529, 200]
    assert told_by(requests) == []
    assert simulator.record.requests[0].answer == b""
