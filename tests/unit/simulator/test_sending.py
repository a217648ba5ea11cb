"""Answers at a model's pace. Delays are told by the times of the record, scaled down."""

import asyncio
import re

import msgspec
import pytest

from proxy.simulator import Pace, Simulator, Step
from tests.unit.simulator.client import (
    Answer,
    ask,
    chunk_sizes,
    connect,
    converse,
    event_names,
    parse,
    question,
    request_bytes,
    until,
)


async def _asked(simulator: Simulator, pace: Pace, *, stream: bool) -> tuple[Answer, float, float]:
    """An answer, the silence before it, and how long it took from there."""
    simulator.script("k", [Step(pace=pace)])
    answer = await ask(simulator, question(stream=stream))
    one = simulator.record.requests[-1]
    assert one.body_complete_s is not None
    assert one.first_byte_s is not None
    assert one.ended_s is not None
    return answer, one.first_byte_s - one.body_complete_s, one.ended_s - one.first_byte_s


async def test_a_stream_comes_at_its_pace(simulator: Simulator) -> None:
    """Silence first, then so many deltas a second; at a hundredth of the time."""
    pace = Pace(first_token_delay_s=2, tokens_per_s=10, events=20)
    answer, silence_s, stream_s = await _asked(simulator, pace, stream=True)
    assert event_names(answer.body).count("content_block_delta") == 20
    assert silence_s >= 0.019
    assert stream_s >= 0.019


async def test_an_answer_that_is_no_stream_comes_when_a_stream_would_end(simulator: Simulator) -> None:
    """All of its time is silence."""
    pace = Pace(first_token_delay_s=2, tokens_per_s=10, events=20)
    _, silence_s, _ = await _asked(simulator, pace, stream=False)
    assert silence_s >= 0.039


async def test_an_error_waits_for_nothing(simulator: Simulator) -> None:
    """Validation comes before the model."""
    simulator.script("k", [Step(pace=Pace(first_token_delay_s=10**6))])
    async with asyncio.timeout(10):
        assert (await ask(simulator, question(max_tokens=-1))).status == 400


async def test_deltas_come_one_by_one(simulator: Simulator) -> None:
    """Each leaves when it is due, not together with the last."""
    simulator.script("k", [Step(pace=Pace(tokens_per_s=0.1, events=3))])
    answer = await ask(simulator, question(stream=True))
    chunks = answer.wire.partition(b"\r\n\r\n")[2].split(b"\r\n")
    assert sum(b"text_delta" in chunk for chunk in chunks) > 1


@pytest.mark.parametrize("events", [20_000, 50])
async def test_long_answers_are_sent_in_parts(simulator: Simulator, events: int) -> None:
    """What the client has not taken is not piled up without bound."""
    simulator.script("k", [Step(pace=Pace(events=events))])
    answer = await ask(simulator, question(stream=True, max_tokens=100_000))
    assert event_names(answer.body).count("content_block_delta") == events
    assert (answer.wire.count(b"transfer-encoding"), answer.end) == (1, "clean")


async def test_a_slow_reader_holds_the_sender_back(simulator: Simulator) -> None:
    """Of a hundred megabytes only what the kernel takes is handed over."""
    recording = (b"event: a\ndata: " + b"x" * 100_000 + b"\n\n") * 1000
    simulator.script("k", [Step(stream_body=recording)])
    _, writer = await connect(simulator)
    writer.write(request_bytes(question(stream=True)))
    await until(lambda: simulator.record.requests_total == 1)
    handed_over = [-1, 0]
    while handed_over[-1] != handed_over[-2]:
        await asyncio.sleep(0.05)
        handed_over.append(simulator.record.requests[0].bytes_sent)
    assert 0 < handed_over[-1] < len(recording) / 2
    writer.close()


@pytest.mark.parametrize("writes", [1, 2, 20, 1000])
async def test_a_burst_leaves_in_so_many_parts_of_whole_events(writes: int) -> None:
    """Benchmarks read what a network would bring: several packets, none of which cuts an event."""
    simulator = Simulator(pace=Pace(events=200, writes=writes))
    await simulator.start()
    try:
        wire, _ = await converse(simulator, request_bytes(question(stream=True), close=True))
        plain = event_names((await ask(simulator, question(stream=True))).body)
    finally:
        await simulator.stop()
    body = parse(wire).body
    sizes = chunk_sizes(wire)
    ends = [sum(sizes[: number + 1]) for number in range(len(sizes))]
    assert all(body[:end].endswith(b"\n\n") for end in ends)
    assert len([size for size in sizes if size]) == min(writes, 205)
    assert event_names(body) == plain
    assert plain.count("content_block_delta") == 200


async def test_a_stamped_stream_numbers_its_deltas_and_pauses_with_pings_between(
    simulator: Simulator,
) -> None:
    """Protects the soak from counting what was never sent, and from pauses that are none."""
    pace = Pace(tokens_per_s=1000, events=6, stamped=True, pause_after=2, pause_s=5, ping_every_s=2)
    answer, _, stream_s = await _asked(simulator, pace, stream=True)
    stamps = re.findall(rb"n=(\d+) t=(\d+\.\d{6}) ", answer.body)
    assert [int(number) for number, _ in stamps] == [1, 2, 3, 4, 5, 6]
    times_s = [float(time_s) for _, time_s in stamps]
    assert times_s == sorted(times_s)
    assert times_s[2] - times_s[1] >= 0.05
    assert times_s[4] - times_s[3] >= 0.05
    names = event_names(answer.body)
    assert names.count("ping") >= 4
    assert names[-1] == "message_stop"
    assert stream_s >= 0.1


@pytest.mark.parametrize("wrong", [{"pause_after": 0}, {"pause_s": -1}, {"ping_every_s": -1}, {"events": 0}])
def test_a_pace_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    """Protects tests from a slip that would look like a fast answer."""
    with pytest.raises(ValueError, match="pace"):
        msgspec.convert(wrong, Pace)
