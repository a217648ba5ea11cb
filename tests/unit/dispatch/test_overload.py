"""While the provider is overloaded, most calls of its class are answered here, and no credential is blamed."""

import pytest

from proxy.dispatch.attempt import StreamOpened, UnaryOpened
from proxy.dispatch.trace import Trace
from proxy.errors import GatewayError
from proxy.exchange import Exchange
from proxy.pool import State, Success
from proxy.server.handlers import NoHold
from proxy.watch import Watch
from tests.unit.dispatch.building import Bench, bench, exchange, refused, whole

_OVERLOAD = refused(529, type="overloaded_error", message="Overloaded")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    async def sleep(_: float) -> None:
        """Wait for nothing."""

    monkeypatch.setattr("proxy.dispatch.dispatcher.asyncio.sleep", sleep)


async def _asked(house: Bench, asked: Exchange | None = None) -> int:
    """The status of one call."""
    watch = Watch()
    try:
        opened: UnaryOpened | StreamOpened = await house.dispatcher.open(
            asked or exchange(deadline_s=house.clock.now_s + 600.0), Trace(), NoHold(), watch
        )
    except GatewayError as error:
        return error.status
    finally:
        watch.close()
    house.dispatcher.end(opened, Success())
    return 200


async def test_after_twenty_overloads_most_calls_never_reach_the_provider() -> None:
    """Protects a provider in trouble from a pool of clients that all insist."""
    house = bench(*[_OVERLOAD] * 200)
    for _ in range(20):
        assert await _asked(house) == 529
    before = len(house.upstream.calls)
    assert [await _asked(house) for _ in range(40)] == [529] * 40
    assert len(house.upstream.calls) - before < 40
    assert {member.state.state for member in house.pool.snapshot()} == {State.READY}
    assert house.pool.in_flight == 0


async def test_a_call_that_is_turned_away_is_told_when_to_come_again() -> None:
    """Protects clients from asking again at once."""
    house = bench(*[_OVERLOAD] * 40)
    for _ in range(20):
        await _asked(house)
    for _ in range(20):
        calls = len(house.upstream.calls)
        watch = Watch()
        with pytest.raises(GatewayError) as told:
            await house.dispatcher.open(
                exchange(deadline_s=house.clock.now_s + 600.0), Trace(), NoHold(), watch
            )
        watch.close()
        if len(house.upstream.calls) == calls:
            assert told.value.retry_after_s == 10.0
            return
    raise AssertionError("none was turned away")


async def test_when_the_overload_is_over_every_call_is_asked_again() -> None:
    """Protects clients from our own caution once the provider has recovered."""
    house = bench(*[_OVERLOAD] * 60)
    for _ in range(20):
        await _asked(house)
    house.clock.advance(10.0)
    house.upstream.answers[:] = [whole() for _ in range(30)]
    assert [await _asked(house) for _ in range(30)] == [200] * 30
