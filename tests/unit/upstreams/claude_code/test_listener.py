"""The listener: who gets through, with what, and what comes back."""

from collections.abc import AsyncIterator

import aiohttp
import msgspec
import pytest

from proxy.credentials import Credential, Kind
from proxy.secrets import Secret
from proxy.settings import Policy
from proxy.simulator import Simulator, Step
from proxy.upstreams.base import UpstreamFault, UpstreamRefused
from proxy.upstreams.claude_code.listener import Listener
from proxy.upstreams.claude_code.turn import Edits, Turn
from proxy.upstreams.http import WaysOut
from tests.support.house import until

_BODY = msgspec.json.encode(
    {
        "model": "claude-sonnet-5-5",
        "max_tokens": 32000,
        "stream": True,
        "messages": [{"role": "user", "content": "Hello!"}],
    }
)
_HEADERS = {
    "content-type": "application/json",
    "anthropic-version": "2023-06-01",
    "x-api-key": "the-childs-own",
    "authorization": "Bearer the-childs-own",
    "x-stainless-lang": "js",
    "cookie": "a=b",
    "x-forwarded-for": "10.0.0.1",
}


@pytest.fixture
async def listener(ways_out: WaysOut) -> AsyncIterator[Listener]:
    """One that is closed again."""
    made = Listener(ways_out, Policy())
    yield made
    await made.close()


@pytest.fixture
async def child() -> AsyncIterator[aiohttp.ClientSession]:
    """What a child speaks with."""
    async with aiohttp.ClientSession() as session:
        yield session


def _key(simulator: Simulator, key: str = "k1") -> Credential:
    return Credential(name="c", kind=Kind.CLAUDE_CODE, secret=Secret(key), base_url=simulator.url)


async def _post(child: aiohttp.ClientSession, address: str) -> tuple[int, bytes]:
    async with child.post(f"{address}/v1/messages?beta=true", data=_BODY, headers=_HEADERS) as answer:
        return answer.status, await answer.read()


async def _told(turn: Turn) -> bytes:
    """All that is told until the turn is over."""
    found = b""
    while told := await turn.told():
        found += b"".join(told)
    return found


@pytest.mark.parametrize(
    ("token", "header", "value"),
    [
        ("sk-ant-api03-x", "x-api-key", "sk-ant-api03-x"),
        ("sk-of-a-relay", "authorization", "Bearer sk-of-a-relay"),
    ],
)
async def test_the_key_is_put_on_and_nothing_else_of_the_childs_goes_out(
    listener: Listener,
    child: aiohttp.ClientSession,
    simulator: Simulator,
    token: str,
    header: str,
    value: str,
) -> None:
    """Protects the right key from the wrong header, and the upstream from what is none of its business."""
    door = await listener.door(_key(simulator, token))
    turn = door.turn = Turn(Edits({"max_tokens": b"7"}))
    status, body = await _post(child, door.address)
    assert (status, b"message_stop" in body) == (200, True)
    (call,) = simulator.record.requests
    assert call.header(header) == value
    assert call.header("x-stainless-lang") == "js"
    assert "the-childs-own" not in str(call.headers)
    assert [call.header(name) for name in ("cookie", "x-forwarded-for")] == [None, None]
    assert msgspec.json.decode(call.body)["max_tokens"] == 7
    assert turn.observed is not None
    assert (turn.observed.complete, turn.observed.usage.output_tokens) == (True, 5)
    assert turn.source.organization is not None


async def test_the_answer_is_told_as_the_child_gets_it(
    listener: Listener, child: aiohttp.ClientSession, simulator: Simulator
) -> None:
    """Protects every byte of an answer, and clients from waiting until the program has read it."""
    door = await listener.door(_key(simulator))
    turn = door.turn = Turn()
    _, body = await _post(child, door.address)
    assert b"".join(await turn.told()) == body
    assert body.endswith(b'event: message_stop\ndata: {"type":"message_stop"}\n\n')


async def test_one_request_a_turn_passes_and_none_between_turns(
    listener: Listener, child: aiohttp.ClientSession, simulator: Simulator
) -> None:
    """Protects the owner's money from what the program asks by itself."""
    door = await listener.door(_key(simulator))
    assert (await _post(child, door.address))[0] == 400
    door.turn = Turn()
    assert [(await _post(child, door.address))[0] for _ in range(2)] == [200, 400]
    door.turn = Turn()
    assert (await _post(child, door.address))[0] == 200
    assert len(simulator.record.requests) == 2


async def test_nobody_gets_through_without_a_door(
    listener: Listener, child: aiohttp.ClientSession, simulator: Simulator
) -> None:
    """Protects the key from other programs of this machine, and from a child that should be gone."""
    door = await listener.door(_key(simulator))
    door.turn = Turn()
    port = door.address.rpartition("/")[0]
    assert [(await _post(child, f"{port}/{guess}"))[0] for guess in ("x", "%2e%2e")] == [404, 404]
    async with child.get(f"{door.address}/v1/models") as answer:
        assert answer.status == 404
    listener.shut(door)
    assert (await _post(child, door.address))[0] == 404
    assert simulator.record.requests_total == 0
    assert door.address.startswith("http://127.0.0.1:")
    assert len(door.address.rpartition("/")[2]) >= 43


async def test_a_refusal_goes_to_the_turn_and_the_child_hears_no_more_than_no(
    listener: Listener, child: aiohttp.ClientSession, simulator: Simulator
) -> None:
    """Protects the pool's judgement, and keeps the program from trying again by itself."""
    simulator.script("k1", [Step(do="status", status=429, headers={"retry-after": "7"})])
    door = await listener.door(_key(simulator))
    turn = door.turn = Turn()
    assert (await _post(child, door.address))[0] == 403
    with pytest.raises(UpstreamRefused) as caught:
        await turn.told()
    assert (caught.value.error.status, caught.value.error.headers["retry-after"]) == (429, "7")


@pytest.mark.parametrize(
    "step", [Step(do="reset_mid_stream", after=3), Step(do="end_without_stop"), Step(do="empty_stream")]
)
async def test_a_break_is_a_break_for_the_child_too(
    listener: Listener, child: aiohttp.ClientSession, simulator: Simulator, step: Step
) -> None:
    """Protects the program from taking half an answer for a whole one."""
    simulator.script("k1", [step])
    door = await listener.door(_key(simulator))
    turn = door.turn = Turn()
    with pytest.raises(aiohttp.ClientError):
        await _post(child, door.address)
    with pytest.raises(UpstreamFault):
        await _told(turn)


async def test_an_error_in_the_stream_ends_the_turn(
    listener: Listener, child: aiohttp.ClientSession, simulator: Simulator
) -> None:
    """Protects the upstream's own words from being lost behind what the program makes of them."""
    simulator.script("k1", [Step(do="error_event_mid", after=3, type="overloaded_error")])
    door = await listener.door(_key(simulator))
    turn = door.turn = Turn()
    assert b"overloaded_error" in (await _post(child, door.address))[1]
    assert turn.observed is not None
    assert turn.observed.error is not None
    assert turn.ended is not None


async def test_a_turn_that_is_given_up_stops_the_upstream(
    listener: Listener, child: aiohttp.ClientSession, simulator: Simulator
) -> None:
    """Protects the owner from paying for an answer nobody reads."""
    simulator.script("k1", [Step(do="stall_mid", after=3)])
    door = await listener.door(_key(simulator))
    turn = door.turn = Turn()
    async with child.post(f"{door.address}/v1/messages", data=_BODY, headers=_HEADERS) as answer:
        assert await answer.content.readany()
        turn.abort()
        await until(lambda: simulator.record.requests[0].ended_by is not None)
