"""Every behaviour by name, as a client sees it on the wire."""

import asyncio
from contextlib import suppress

import msgspec
import pytest

from proxy.simulator import BEHAVIOURS, EndedBy, Insert, Simulator, Step
from tests.unit.simulator.client import Answer, ask, chunk_sizes, event_names, parse, question, request_bytes

_ALL_EVENTS = ["message_start", "content_block_start", *["content_block_delta"] * 5, "content_block_stop"]
_ALL_EVENTS += ["message_delta", "message_stop"]


async def _stream(simulator: Simulator, step: Step) -> Answer:
    simulator.script("k", [step])
    return await ask(simulator, question(stream=True))


def _ended(simulator: Simulator) -> EndedBy | None:
    return simulator.record.requests[-1].ended_by


async def test_without_a_step_a_stream_is_complete(simulator: Simulator) -> None:
    """What all the faults below are departures from."""
    answer = await ask(simulator, question(stream=True))
    assert (answer.status, answer.end) == (200, "clean")
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert event_names(answer.body) == _ALL_EVENTS


_WHOLE = [
    Step("success"),
    Step("delay", seconds=1),
    Step("slow_bytes", bytes_per_s=100_000),
    Step("one_byte_chunks"),
    Step("slice", sizes=(1, 7, 50)),
    Step("slice", seed=3, seconds=0.01),
    Step("stall_before_headers", seconds=1),
    Step("stall_before_event", seconds=1),
    Step("stall_mid", seconds=1),
    Step("wrong_content_type"),
    Step("success", close_delimited=True),
]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("step", _WHOLE, ids=lambda step: step.do)
async def test_ways_that_only_change_time_and_framing_lose_nothing(
    simulator: Simulator, step: Step, *, stream: bool
) -> None:
    """The body is the same but for its id."""
    plain = await ask(simulator, question(stream=stream))
    simulator.script("k", [step])
    answer = await ask(simulator, question(stream=stream))
    assert (answer.status, answer.end) == (200, "clean")
    assert answer.body.replace(b"%019d" % 2, b"%019d" % 1) == plain.body
    assert _ended(simulator) is EndedBy.SERVER


async def test_a_flood_is_a_whole_stream_of_at_least_so_many_bytes(simulator: Simulator) -> None:
    """Protects tests of slow readers from an answer that ends before they are slow."""
    simulator.script("k", [Step("flood", at_byte=300_000)] * 2)
    answer = await ask(simulator, question(stream=True))
    assert (answer.status, answer.end, len(answer.body) > 300_000) == (200, "clean", True)
    assert event_names(answer.body)[-1] == "message_stop"
    assert _ended(simulator) is EndedBy.SERVER
    assert (await ask(simulator, question(stream=False))).status == 200


_CUTS = [
    (Step("reset_before_headers"), 0, [], "reset"),
    (Step("close_before_headers"), 0, [], "cut"),
    (Step("reset_before_event"), 200, [], "reset"),
    (Step("close_before_event"), 200, [], "cut"),
    (Step("empty_stream"), 200, [], "clean"),
    (Step("reset_mid_stream", after=4), 200, _ALL_EVENTS[:4], "reset"),
    (Step("end_without_stop"), 200, _ALL_EVENTS[:-1], "clean"),
    (Step("end_without_stop", close_delimited=True), 200, _ALL_EVENTS[:-1], "clean"),
]


@pytest.mark.parametrize(
    ("step", "status", "events", "end"), _CUTS, ids=lambda value: getattr(value, "do", None)
)
async def test_faults_cut_where_they_say(
    simulator: Simulator, step: Step, status: int, events: list[str], end: str
) -> None:
    """The client has everything that was sent before the fault."""
    answer = await _stream(simulator, step)
    assert (answer.status, event_names(answer.body), answer.end) == (status, events, end)
    assert _ended(simulator) is EndedBy.FAULT


@pytest.mark.parametrize(("how", "end"), [("reset", "reset"), ("close", "cut"), ("end", "clean")])
@pytest.mark.parametrize("at_byte", [0, 1, 100, 10**6])
async def test_a_stream_is_cut_at_any_byte(simulator: Simulator, how: str, end: str, at_byte: int) -> None:
    """In the middle of an event, a line or a character."""
    recording = "event: a\ndata: é\n\n".encode() * 20
    step = msgspec.convert(
        {"do": "cut_at_byte", "at_byte": at_byte, "how": how, "stream_body": recording}, Step
    )
    answer = await _stream(simulator, step)
    assert (answer.body, answer.end) == (recording[:at_byte], end)


async def test_a_whole_body_can_be_cut_too(simulator: Simulator) -> None:
    """A length that promises more than comes."""
    simulator.script("k", [Step("cut_at_byte", at_byte=10, how="close"), Step("reset_mid_stream", after=1)])
    first, second = [await ask(simulator, question()) for _ in range(2)]
    assert (len(first.body), first.end) == (10, "cut")
    assert (0 < len(second.body) < int(second.headers["content-length"]), second.end) == (True, "reset")


async def test_a_clean_end_keeps_the_connection(simulator: Simulator) -> None:
    """The fault is in the stream, not in the connection."""
    simulator.script("k", [Step("end_without_stop"), Step("empty_stream"), Step("raw", body="x")])
    for _ in range(4):
        await ask(simulator, question(stream=True))
    assert simulator.record.connections_total == 4
    assert simulator.record.ended == {"fault": 2, "server": 2}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (408, "timeout_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "api_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ],
)
async def test_a_status_has_its_usual_type(simulator: Simulator, status: int, kind: str) -> None:
    """And either of the two names the other."""
    simulator.script("k", [Step("status", status=status), Step("status", type=kind)])
    answers = [await ask(simulator, question()) for _ in range(2)]
    assert [msgspec.convert(one.json()["error"], dict[str, object])["type"] for one in answers] == [
        kind,
        kind,
    ]
    assert answers[0].status == status
    assert answers[1].status == (500 if kind == "api_error" else 408 if kind == "timeout_error" else status)


async def test_a_status_can_say_everything(simulator: Simulator) -> None:
    """Message, code and headers; given headers replace the usual ones."""
    step = Step(
        "status",
        status=429,
        message="slow down",
        error_code="enforced_spend_limit_reached",
        headers={"Retry-After": "7", "Request-Id": "req_mine"},
    )
    answer = await _stream(simulator, step)
    error = msgspec.convert(answer.json()["error"], dict[str, object])
    assert error == {
        "type": "rate_limit_error",
        "message": "slow down",
        "details": {"error_code": "enforced_spend_limit_reached"},
    }
    assert (answer.headers["retry-after"], answer.headers["request-id"]) == ("7", "req_mine")
    assert answer.wire.count(b"request-id:") == 1
    assert answer.headers["anthropic-organization-id"].startswith("org-")


@pytest.mark.parametrize(
    ("step", "content_type", "body"),
    [
        (Step("status", status=503, body="<html>"), "text/html; charset=utf-8", b"<html>"),
        (Step("status", status=503, body="sorry"), "text/plain; charset=utf-8", b"sorry"),
        (Step("status", status=503, body=""), "text/plain; charset=utf-8", b""),
        (Step("status", status=503, body_bytes=b'{"ty\xff'), "application/json", b'{"ty\xff'),
    ],
)
async def test_an_error_may_have_any_body(
    simulator: Simulator, step: Step, content_type: str, body: bytes
) -> None:
    """Proxies in between answer with HTML, or with nothing."""
    answer = await _stream(simulator, step)
    assert (answer.status, answer.headers["content-type"], answer.body) == (503, content_type, body)


@pytest.mark.parametrize(("do", "count"), [("error_event_first", 0), ("error_event_mid", 3)])
async def test_an_error_may_come_as_an_event(simulator: Simulator, do: str, count: int) -> None:
    """After it nothing comes; a request that is no stream gets the status instead."""
    simulator.script("k", [Step(do, type="rate_limit_error", message="slow"), Step(do)])
    answer = await ask(simulator, question(stream=True))
    assert event_names(answer.body) == [*_ALL_EVENTS[:count], "error"]
    assert answer.body.endswith(b'"request_id":"' + answer.headers["request-id"].encode() + b'"}\n\n')
    assert b'{"type":"rate_limit_error","message":"slow"}' in answer.body
    assert (await ask(simulator, question())).status == 529


async def test_pings_come_while_it_stalls(simulator: Simulator) -> None:
    """They are no progress, but they are bytes."""
    for step in (
        Step("pings_only", seconds=3),
        Step("stall_before_event", seconds=3, ping_every_s=1),
    ):
        names = event_names((await _stream(simulator, step)).body)
        assert names == ["ping"] * 3 + _ALL_EVENTS
    names = event_names(
        (await _stream(simulator, Step("stall_mid", after=3, seconds=2, ping_every_s=1))).body
    )
    assert names == [*_ALL_EVENTS[:3], "ping", "ping", *_ALL_EVENTS[3:]]


async def test_chunks_are_as_small_as_asked(simulator: Simulator) -> None:
    """One byte each, or the sizes given, or random ones that repeat with their seed."""
    assert set(chunk_sizes((await _stream(simulator, Step("one_byte_chunks"))).wire)) == {1, 0}
    assert chunk_sizes((await _stream(simulator, Step("slice", sizes=(3, 5)))).wire)[:4] == [3, 5, 3, 5]
    wires = [(await _stream(simulator, Step("slice", seed=seed))).wire for seed in (1, 1, 2)]
    assert chunk_sizes(wires[0]) == chunk_sizes(wires[1]) != chunk_sizes(wires[2])
    assert max(chunk_sizes(wires[0])) <= 40


@pytest.mark.parametrize(
    ("step", "wire"),
    [
        (Step("garbage", body="HTTP/1.1 banana\r\n\r\n"), b"HTTP/1.1 banana\r\n\r\n"),
        (Step("garbage", body_bytes=b"\x00\xff"), b"\x00\xff"),
    ],
)
async def test_garbage_goes_out_as_it_is(simulator: Simulator, step: Step, wire: bytes) -> None:
    """Nothing is put around it."""
    assert (await _stream(simulator, step)).wire == wire
    assert not (await _stream(simulator, Step("garbage"))).wire.startswith(b"HTTP")


async def test_a_redirect_names_its_place(simulator: Simulator) -> None:
    """With any of the statuses."""
    answer = await _stream(simulator, Step("redirect", status=302, location="http://localhost:1/"))
    assert (answer.status, answer.headers["location"], answer.body) == (302, "http://localhost:1/", b"")
    assert (await _stream(simulator, Step("redirect", location="/"))).status == 307


async def test_raw_sends_nothing_that_was_not_given(simulator: Simulator) -> None:
    """But the length, unless another framing is given."""
    answer = await _stream(simulator, Step("raw", status=202, headers={"A": "b"}, body="hello"))
    assert answer.wire == b"HTTP/1.1 202 Accepted\r\na: b\r\ncontent-length: 5\r\n\r\nhello"
    answer = await _stream(simulator, Step("raw", body_bytes=b"hello", close_delimited=True))
    assert answer.wire == b"HTTP/1.1 200 OK\r\n\r\nhello"
    answer = await _stream(simulator, Step("raw", headers={"content-length": "9"}, body="hello"))
    assert (answer.body, answer.end) == (b"hello", "cut")


async def test_a_content_type_can_be_wrong(simulator: Simulator) -> None:
    """HTML unless another one is given."""
    assert (
        (await _stream(simulator, Step("wrong_content_type"))).headers["content-type"].startswith("text/html")
    )
    given = Step("wrong_content_type", headers={"content-type": "application/json"})
    assert (await _stream(simulator, given)).headers["content-type"] == "application/json"


async def test_a_recording_replaces_the_answer(simulator: Simulator) -> None:
    """Byte for byte, also for a request that asked for no stream."""
    recording = b": hello\n\nevent: novel\ndata: {}\n\n"
    simulator.script("k", [Step(stream_body=recording)])
    answer = await ask(simulator, question())
    assert (answer.body, answer.headers["content-type"]) == (recording, "text/event-stream; charset=utf-8")


async def test_comments_and_unknown_events_can_be_put_in(simulator: Simulator) -> None:
    """Clients have to skip them."""
    step = Step(insert=(Insert(1, ": note\n\n"), Insert(1, "event: novel\ndata: {}\n\n")))
    answer = await _stream(simulator, step)
    assert sorted(event_names(answer.body)) == sorted([*_ALL_EVENTS, "novel"])
    assert b"\n\n: note\n\n" in answer.body


async def test_a_delay_may_end_in_any_other_step(simulator: Simulator) -> None:
    """Late errors too."""
    answer = await _stream(simulator, Step("delay", seconds=1, next=Step("status", status=529)))
    assert answer.status == 529


async def test_a_refused_connection_comes_back(simulator: Simulator) -> None:
    """The listener is shut for its time, then open on the same port."""
    url = simulator.url
    assert (await _stream(simulator, Step("refuse_connection", seconds=1))).end == "reset"
    with pytest.raises(ConnectionRefusedError):
        await ask(simulator, question())
    assert await _asked_until_accepted(simulator) == 200
    assert simulator.url == url


async def _asked_until_accepted(simulator: Simulator) -> int:
    for _ in range(1000):
        with suppress(ConnectionRefusedError):
            return (await ask(simulator, question())).status
        await asyncio.sleep(0.001)
    return 0


async def test_behaviours_serve_every_path(simulator: Simulator) -> None:
    """A fault may hit the list of models as well."""
    simulator.script("k", [Step("status", status=500), Step("slice", sizes=(10,))])
    assert (await ask(simulator, method="GET", path="/v1/models")).status == 500
    listed = await ask(simulator, method="GET", path="/v1/models?limit=1")
    assert (listed.status, listed.json()["has_more"]) == (200, True)


@pytest.mark.parametrize(
    ("step", "begin", "end"),
    [
        (Step("slow_head", bytes_per_s=1000.0), b"HTTP/1.1 200 OK\r\nrequest-id: ", b"\r\n\r\n"),
        (
            Step("early_hints"),
            b"HTTP/1.1 103 Early Hints\r\nlink: </>; rel=preconnect\r\n\r\nHTTP/1.1 200 OK\r\n",
            b"",
        ),
        (Step("trailers"), b"HTTP/1.1 200 OK\r\n", b"\r\n0\r\nx-checksum: none\r\n\r\n"),
    ],
    ids=["slow head", "early hints", "trailers"],
)
async def test_http_has_more_than_heads_and_bodies(
    simulator: Simulator, step: Step, begin: bytes, end: bytes
) -> None:
    """What most servers never send, and a client has to take all the same."""
    wire = (await _stream(simulator, step)).wire
    assert wire.startswith(begin)
    assert wire.endswith(end)


def test_every_behaviour_is_tried_here() -> None:
    """A name without a test would be a promise nobody checks."""
    tried = {step.do for step in _WHOLE} | {step.do for step, *_ in _CUTS}
    tried |= {"cut_at_byte", "status", "error_event_first", "error_event_mid", "pings_only", "garbage"}
    tried |= {"flood", "redirect", "raw", "refuse_connection", "slow_head", "early_hints", "trailers"}
    here = "proxy.simulator.behaviours"
    assert tried == {name for name, behaviour in BEHAVIOURS.items() if behaviour.__module__ == here}


def test_a_cut_answer_is_recognised() -> None:
    """The tests' own reader must see the difference."""
    assert parse(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na").end == "cut"
    assert b"x-api-key: k" in request_bytes()
