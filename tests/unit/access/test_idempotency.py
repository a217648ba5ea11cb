"""An order that comes twice is carried out once."""

import asyncio

import pytest

from proxy.access.idempotency import Answered, Idempotency
from proxy.errors import ErrorKind, GatewayError, InvalidRequest
from proxy.store.base import StoreError
from proxy.tasks import finish_all
from tests.support.access import MemoryAccess
from tests.support.clock import FakeClock


class Orders:
    """What is ordered, and how often it was carried out."""

    def __init__(self) -> None:
        self.begun = 0
        self.carried_out = 0
        self.problem: Exception | None = None
        self.go = asyncio.Event()
        self.go.set()

    async def work(self, nonce: str) -> tuple[int, bytes]:
        """Count."""
        self.begun += 1
        await self.go.wait()
        if self.problem is not None:
            raise self.problem
        self.carried_out += 1
        return 201, f"{self.carried_out} {nonce}".encode()


@pytest.fixture
def store() -> MemoryAccess:
    """Where orders are remembered."""
    return MemoryAccess()


async def test_fifty_at_the_same_time_have_one_effect_and_one_answer(store: MemoryAccess) -> None:
    """Protects against two keys for one click, or fifty."""
    subject, orders = Idempotency(store, FakeClock()), Orders()
    found = await asyncio.gather(*(subject.once("admin", "k1", b"a", orders.work) for _ in range(50)))
    assert orders.carried_out == 1
    assert len({(answer.status, answer.body, answer.nonce) for answer in found}) == 1
    assert sum(not answer.repeated for answer in found) == 1


async def test_the_answer_is_the_same_after_a_restart_and_forgotten_after_a_day(store: MemoryAccess) -> None:
    """Protects retries that come from another connection, or to another process."""
    clock, orders = FakeClock(), Orders()
    first = await Idempotency(store, clock).once("admin", "k1", b"a", orders.work)
    clock.advance(24 * 3600)
    again = await Idempotency(store, clock).once("admin", "k1", b"a", orders.work)
    assert again == Answered(first.status, first.body, first.nonce, repeated=True)
    clock.advance(1)
    later = await Idempotency(store, clock).once("admin", "k1", b"a", orders.work)
    assert (later.repeated, orders.carried_out) == (False, 2)


@pytest.mark.parametrize("restarted", [True, False])
async def test_a_key_stands_for_one_request(store: MemoryAccess, restarted: bool) -> None:
    """Protects a client with a bug from the answer to another order."""
    subject, orders = Idempotency(store, FakeClock()), Orders()
    orders.go.clear()
    first = asyncio.get_running_loop().create_task(subject.once("admin", "k1", b"a", orders.work))
    await asyncio.sleep(0)
    if restarted:
        orders.go.set()
        await first
        subject = Idempotency(store, FakeClock())
    with pytest.raises(GatewayError) as caught:
        await subject.once("admin", "k1", b"b", orders.work)
    assert (caught.value.status, caught.value.code) == (409, "idempotency_key_reused")
    orders.go.set()
    await first
    assert orders.carried_out == 1


async def test_owners_and_requests_without_a_key_are_apart(store: MemoryAccess) -> None:
    """Protects one client from another's answers, and those who want a thing twice."""
    subject, orders = Idempotency(store, FakeClock()), Orders()
    for owner in ("a", "b"):
        assert not (await subject.once(owner, "k1", b"a", orders.work)).repeated
    for _ in range(2):
        assert not (await subject.once("a", None, b"a", orders.work)).repeated
    assert orders.carried_out == 4


async def test_an_order_that_failed_can_be_sent_again(store: MemoryAccess) -> None:
    """Protects against an error that stays for a day."""
    subject, orders = Idempotency(store, FakeClock()), Orders()
    orders.problem = GatewayError(503, ErrorKind.API, "not now")
    results = await asyncio.gather(
        *(subject.once("a", "k1", b"a", orders.work) for _ in range(3)), return_exceptions=True
    )
    assert results == [orders.problem] * 3
    orders.problem = None
    assert (await subject.once("a", "k1", b"a", orders.work)).status == 201


async def test_an_order_is_carried_out_although_its_caller_has_left(store: MemoryAccess) -> None:
    """Protects against half an order, and the retry from a second one."""
    subject, orders = Idempotency(store, FakeClock()), Orders()
    orders.go.clear()
    first = asyncio.get_running_loop().create_task(subject.once("a", "k1", b"a", orders.work))
    async with asyncio.timeout(20):
        while not orders.begun:  # noqa: ASYNC110 - a number is all there is to see
            await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    orders.go.set()
    await finish_all(within_s=5)
    assert orders.carried_out == 1
    assert (await subject.once("a", "k1", b"a", orders.work)).status == 201
    assert orders.carried_out == 1


async def test_an_order_that_was_cut_off_is_not_guessed_about(store: MemoryAccess) -> None:
    """Protects against both: a second effect, and a success that never was."""
    subject, orders = Idempotency(store, FakeClock()), Orders()
    orders.go.clear()
    cut = asyncio.get_running_loop().create_task(subject.once("a", "k1", b"a", orders.work))
    async with asyncio.timeout(20):
        while not tuple(await store._carry_out("SELECT 1 FROM idempotency")):  # noqa: ASYNC110 - only the row shows it
            await asyncio.sleep(0.001)
    with pytest.raises(GatewayError) as caught:
        await Idempotency(store, FakeClock()).once("a", "k1", b"a", orders.work)
    assert (caught.value.status, caught.value.code) == (409, "idempotency_unknown")
    orders.go.set()
    await cut


@pytest.mark.parametrize("order", ["", " ", "a b", "x" * 256, "é", "a\n"])
async def test_a_key_nobody_could_mean_is_refused(store: MemoryAccess, order: str) -> None:
    """Protects against an empty variable that makes all orders one."""
    with pytest.raises(InvalidRequest) as caught:
        await Idempotency(store, FakeClock()).once("a", order, b"a", Orders().work)
    assert caught.value.param == "Idempotency-Key"


async def test_nothing_is_done_that_cannot_be_remembered(store: MemoryAccess) -> None:
    """Protects the promise: without a store there is no second answer to give."""
    subject, orders = Idempotency(store, FakeClock()), Orders()
    store.problem = StoreError("full")
    with pytest.raises(GatewayError) as caught:
        await subject.once("a", "k1", b"a", orders.work)
    assert (caught.value.status, orders.carried_out) == (503, 0)


async def test_a_mistake_of_ours_stays_one(store: MemoryAccess) -> None:
    """Protects against a failed order that is remembered as carried out."""
    subject, orders = Idempotency(store, FakeClock()), Orders()
    orders.problem = ValueError("broke")
    with pytest.raises(ValueError, match="broke"):
        await subject.once("a", "k1", b"a", orders.work)
    orders.problem = None
    assert (await subject.once("a", "k1", b"a", orders.work)).status == 201


async def test_no_owner_takes_all_the_room_there_is_for_what_arrives(store: MemoryAccess) -> None:
    """Protects the others' uploads from one client's, and each key from being begun twice."""
    subject = Idempotency(store, FakeClock())
    subject.arriving("a", "1")
    subject.arriving("a", "2")
    for order, status in (("1", 409), ("3", 429)):
        with pytest.raises(GatewayError) as caught:
            subject.arriving("a", order)
        assert (caught.value.status, caught.value.retry_after_s) == (status, 1)
    subject.arriving("b", "1")
    subject.arrived("a", "1")
    subject.arriving("a", "3")
