"""One connection: requests one after the other, and who closed it when."""

import asyncio
import socket
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.simulator import EndedBy, Received, Simulator, Step
from tests.unit.simulator.client import ask, connect, converse, parse, question, request_bytes, until


async def _until_closed(simulator: Simulator) -> Received:
    """Give the simulator the turns it needs to see a close."""
    await until(lambda: simulator.record.open_connections == 0)
    return simulator.record.requests[-1]


async def _read_answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    return head + await reader.readexactly(int(parse(head).headers["content-length"]))


async def test_a_connection_carries_many_requests(simulator: Simulator) -> None:
    """Keep-alive, with bodies of both framings, in one write or in many."""
    reader, writer = await connect(simulator)
    plain = request_bytes(question(), close=False)
    head, _, body = plain.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.startswith(b"content-length")]
    chunked = b"\r\n".join(
        [*lines, b"transfer-encoding: chunked", b"", b"%x" % len(body), body, b"0", b"", b""]
    )
    writer.write(plain)
    assert parse(await _read_answer(reader)).status == 200
    for value in chunked:
        writer.write(bytes((value,)))
    assert parse(await _read_answer(reader)).status == 200
    writer.write(plain + plain)
    assert [parse(await _read_answer(reader)).status for _ in range(2)] == [200, 200]
    writer.close()
    assert [one.connection for one in simulator.record.requests] == [1, 1, 1, 1]
    assert {one.body for one in simulator.record.requests} == {body}


async def test_requests_that_come_early_wait_for_the_answer_before_them(simulator: Simulator) -> None:
    """Answers keep their order also when the first one takes time."""
    simulator.script("k", [Step("delay", seconds=1)])
    reader, writer = await connect(simulator)
    writer.write(request_bytes(question("one"), close=False) + request_bytes(question("two"), close=False))
    assert [b"one" in await _read_answer(reader), b"two" in await _read_answer(reader)] == [True, True]
    writer.close()


async def test_a_waiting_client_is_told_to_continue(simulator: Simulator) -> None:
    """``Expect: 100-continue`` gets its interim answer before the body."""
    reader, writer = await connect(simulator)
    head, blank, body = request_bytes(question(), headers={"expect": "100-continue"}).partition(b"\r\n\r\n")
    writer.write(head + blank)
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)
    assert parse(await reader.read()).status == 200
    writer.close()


async def test_a_head_request_gets_no_body(simulator: Simulator) -> None:
    """But the length it would have."""
    for step in (None, Step("success")):
        simulator.script("k", [step] if step is not None else [])
        wire, _ = await converse(simulator, request_bytes(method="HEAD", path="/v1/models"))
        assert parse(wire).status == 200
        assert int(parse(wire).headers["content-length"]) > 0
        assert wire.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("wire", "status"),
    [
        (b"\x16\x03\x01 no HTTP\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\ncontent-length: 99999999\r\n\r\n" + b"x" * 100_000, 413),
        (b"GET / HTTP/1.1\r\na: " + b"x" * 100_000, 431),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
    ],
)
async def test_bytes_that_are_no_request_are_answered_and_closed(
    simulator: Simulator, wire: bytes, status: int
) -> None:
    """The client reads why, even while it still sends."""
    answer = parse((await converse(simulator, wire))[0])
    assert (answer.status, answer.end) == (status, "clean")
    assert answer.json()["type"] == "error"
    assert simulator.record.malformed == 1
    assert simulator.record.in_flight == {}


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(wire=st.binary(max_size=200))
async def test_any_bytes_leave_the_server_well(simulator: Simulator, wire: bytes) -> None:
    """Garbage on one connection is nothing to the next one."""
    reader, writer = await connect(simulator)
    writer.write(wire)
    writer.write_eof()
    await reader.read()
    writer.close()
    assert (await ask(simulator, question())).status == 200


async def test_the_record_tells_what_came_and_when(simulator: Simulator) -> None:
    """Times are in the order things happened."""
    answer = await ask(simulator, question(), path="/v1/messages?beta=true", headers={"X-Note": "yes"})
    one = await _until_closed(simulator)
    assert (one.number, one.key, one.method, one.path) == (1, "k", "POST", "/v1/messages?beta=true")
    assert (one.header("x-note"), one.step, one.status) == ("yes", "success", 200)
    assert one.peer.startswith("127.0.0.1:")
    assert one.bytes_sent == len(answer.wire)
    assert one.body_bytes == len(one.body) > 0
    times = [one.started_s, one.body_complete_s, one.first_byte_s, one.ended_s, one.closed_s]
    assert [when for when in times if when is not None] == times
    assert times == sorted(when for when in times if when is not None)
    assert (one.ended_by, one.closed_by) == (EndedBy.SERVER, EndedBy.SERVER)


async def test_a_client_that_closes_afterwards_is_noted(simulator: Simulator) -> None:
    """The answer was complete; the connection ended by the client."""
    reader, writer = await connect(simulator)
    writer.write(request_bytes(question(), close=False))
    await _read_answer(reader)
    writer.close()
    one = await _until_closed(simulator)
    assert (one.ended_by, one.closed_by) == (EndedBy.SERVER, EndedBy.CLIENT)


_WAITING = [
    Step("stall_before_headers"),
    Step("stall_before_event"),
    Step("stall_mid", after=2),
    Step("pings_only"),
    Step("delay", seconds=1000),
    Step("slow_bytes", bytes_per_s=1),
]


@pytest.mark.parametrize("how", ["fin", "reset"])
@pytest.mark.parametrize("step", _WAITING, ids=lambda step: step.do)
async def test_a_client_that_goes_away_is_seen_while_the_server_waits(
    simulator: Simulator, step: Step, how: str
) -> None:
    """In every phase, and nothing is left behind."""
    simulator.script("k", [step])
    before = asyncio.all_tasks()
    _, writer = await connect(simulator)
    writer.write(request_bytes(question(stream=True)))
    await until(lambda: any(one.step for one in simulator.record.requests))
    if how == "reset":
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    writer.close()
    one = await _until_closed(simulator)
    assert (one.ended_by, one.closed_by, one.closed_s is not None) == (EndedBy.CLIENT, EndedBy.CLIENT, True)
    assert simulator.record.in_flight == {}
    await asyncio.sleep(0)
    assert asyncio.all_tasks() <= before


async def test_a_client_that_goes_away_while_sending_is_noted(simulator: Simulator) -> None:
    """A half request is a request that the client ended."""
    _, writer = await connect(simulator)
    writer.write(request_bytes(question())[:-5])
    await until(lambda: bool(simulator.record.requests))
    writer.close()
    one = await _until_closed(simulator)
    assert (one.ended_by, one.body_complete_s, one.status) == (EndedBy.CLIENT, None, None)
