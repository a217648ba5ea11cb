"""Responses are kept for their owner and their time; a store in trouble costs no answer."""

import asyncio

import msgspec
import pytest

from proxy.errors import GatewayError, InvalidRequest, NotFound, TooLarge
from proxy.server.stored_responses import StoredResponses
from proxy.store import StoreError
from tests.support.clock import FakeClock
from tests.support.storage import MemoryStorage

ONE, TWO, THREE = (f"resp_{digit * 32}" for digit in "123")
TTL_S = 60


class _House:
    """A store with three turns of one conversation in it."""

    def __init__(self, history_max_bytes: int = 10_000) -> None:
        self.store = MemoryStorage()
        self.clock = FakeClock()
        self.kept = StoredResponses(self.store, self.clock, ttl_s=TTL_S, history_max_bytes=history_max_bytes)

    async def say(self, response_id: str, text: str, *, after: str | None = None, owner: str = "ann") -> None:
        """One turn."""
        answer = {"id": response_id, "output": [{"id": f"msg_{response_id[5:]}_0", "says": text}]}
        await self.kept.keep(
            response_id,
            owner,
            "talk",
            previous_id=after,
            given=msgspec.json.encode([{"id": f"msg_{response_id[5:]}_100000", "asks": text}]),
            made=msgspec.json.encode(answer),
        )


async def _talked(history_max_bytes: int = 10_000) -> _House:
    house = _House(history_max_bytes)
    await house.say(ONE, "1")
    await house.say(TWO, "2", after=ONE)
    await house.say(THREE, "3", after=TWO)
    return house


async def test_a_history_is_all_that_was_said_in_its_order() -> None:
    """Protects conversations: question, answer, question, answer, under one name."""
    history = await (await _talked()).kept.history(THREE, "ann")
    said = [msgspec.json.decode(item) for item in history.items]
    assert [item.get("asks") or item.get("says") for item in said] == ["1", "1", "2", "2", "3", "3"]
    assert history.conversation == "talk"


@pytest.mark.parametrize(
    "response_id", ["resp_" + "4" * 32, "", "resp_", "'; DROP TABLE responses; --", "\ud800"]
)
async def test_an_unknown_response_is_nothing_to_go_on_from(response_id: str) -> None:
    """Protects clients from an answer that has forgotten everything; the name of the field is in the error."""
    house = await _talked()
    with pytest.raises(InvalidRequest) as caught:
        await house.kept.history(response_id, "ann")
    assert (caught.value.param, caught.value.code) == ("previous_response_id", "previous_response_not_found")
    with pytest.raises(NotFound):
        await house.kept.find(response_id, "ann")
    with pytest.raises(NotFound):
        await house.kept.delete(response_id, "ann")


async def test_anothers_response_is_not_there() -> None:
    """Protects each client from all others, who learn nothing, not even that it exists."""
    house = await _talked()
    with pytest.raises(InvalidRequest) as hidden:
        await house.kept.history(TWO, "bob")
    with pytest.raises(InvalidRequest) as missing:
        await house.kept.history("resp_" + "4" * 32, "bob")
    assert hidden.value.message.replace(TWO, "") == missing.value.message.replace("resp_" + "4" * 32, "")
    for refused in (house.kept.find(TWO, "bob"), house.kept.delete(TWO, "bob")):
        with pytest.raises(NotFound):
            await refused
    with pytest.raises(NotFound) as item:
        await house.kept.item(f"msg_{TWO[5:]}_0", "bob")
    assert (item.value.param, item.value.status) == ("input", 404)
    assert (await house.kept.find(TWO, "ann")).id == TWO


async def test_what_went_on_from_a_deleted_response_ends_with_it() -> None:
    """Protects who deletes: what was deleted goes to no model any more."""
    house = await _talked()
    await house.kept.delete(ONE, "ann")
    with pytest.raises(InvalidRequest):
        await house.kept.history(THREE, "ann")
    assert (await house.kept.find(THREE, "ann")).id == THREE


@pytest.mark.parametrize("most_bytes", [10, 150])
async def test_a_history_that_is_too_large_says_so(most_bytes: int) -> None:
    """Protects users from a wrong reason, and memory from what is too large."""
    with pytest.raises(TooLarge):
        await (await _talked(most_bytes)).kept.history(THREE, "ann")


async def test_a_conversation_lives_as_long_as_it_goes_on() -> None:
    """Protects long conversations, and the disk from those that ended."""
    house = _House()
    await house.say(ONE, "1")
    house.clock.advance(TTL_S - 1)
    await house.say(TWO, "2", after=ONE)
    house.clock.advance(TTL_S - 1)
    assert len((await house.kept.history(TWO, "ann")).items) == 4
    house.clock.advance(1)
    with pytest.raises(InvalidRequest):
        await house.kept.history(TWO, "ann")
    await house.kept.sweep()
    assert house.store.responses == {}


async def test_an_item_is_found_among_what_was_asked_and_answered() -> None:
    """Protects references to either."""
    house = await _talked()
    assert msgspec.json.decode(await house.kept.item(f"msg_{TWO[5:]}_0", "ann"))["says"] == "2"
    assert msgspec.json.decode(await house.kept.item(f"msg_{TWO[5:]}_100000", "ann"))["asks"] == "2"
    with pytest.raises(NotFound):
        await house.kept.item(f"msg_{TWO[5:]}_7", "ann")


async def test_a_store_in_trouble_costs_no_answer_and_is_not_taken_for_an_empty_one() -> None:
    """Protects answers from a full disk, and conversations from being told they never were."""
    house = await _talked()
    house.store.problem = StoreError("the disk is full")
    await house.say("resp_" + "5" * 32, "5")
    await house.kept.sweep()
    for refused in (
        house.kept.history(THREE, "ann"),
        house.kept.find(THREE, "ann"),
        house.kept.delete(THREE, "ann"),
    ):
        with pytest.raises(GatewayError) as caught:
            await refused
        assert caught.value.status == 503
        assert "disk" not in caught.value.message


async def test_the_sweep_runs_beside_the_requests_and_ends_with_them() -> None:
    """Protects the disk while nobody asks, and the end of the program from work that goes on."""
    house = _House()
    await house.say(ONE, "1")
    house.clock.advance(TTL_S)
    running = house.kept.run()
    await anext(running)
    for _ in range(5):
        await asyncio.sleep(0)
    assert house.store.responses == {}
    with pytest.raises(StopAsyncIteration):
        await anext(running)
