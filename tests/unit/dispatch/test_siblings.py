"""What others find out reaches the pool and the disk, and is not told again."""

from collections.abc import Sequence
from dataclasses import replace

from proxy.dispatch.siblings import Siblings
from proxy.pool import Pool
from proxy.store.base import HealthRow
from proxy.tasks import finish_all
from tests.unit.dispatch.building import bench

_ROW = HealthRow(fingerprint="print of api-1", state="disabled", reason="manual", since_unix_ms=1)


class _Share:
    """What was told to others."""

    def __init__(self) -> None:
        self.rows: Sequence[HealthRow] = ()
        self.told: list[HealthRow] = []
        self.flushed = 0

    def put(self, row: HealthRow) -> None:
        """See `SharedHealth.put`."""
        self.told.append(row)

    async def flush(self) -> None:
        """See `SharedHealth.flush`."""
        self.flushed += 1

    async def sync(self) -> None:
        """See `SharedHealth.sync`."""


async def test_what_others_say_is_followed_kept_and_not_told_again() -> None:
    """Protects what others found out from their end, and all from telling one another for ever."""
    house = bench()
    house.journal.share = share = _Share()
    siblings = Siblings(house.pool, house.places, house.journal)
    siblings.adopt([_ROW, replace(_ROW, fingerprint="nobody's"), replace(_ROW, state="a word to come")])
    await finish_all(within_s=5)
    assert [str(view.state.state) for view in house.pool.snapshot()] == ["disabled", "ready", "ready"]
    assert [row.fingerprint for row in await house.store.load_health()] == ["print of api-1"]
    assert share.told == []


async def test_an_operators_order_is_told_before_it_is_acknowledged() -> None:
    """Protects an operator from an order that only one of many processes has heard."""
    house = bench()
    house.journal.share = share = _Share()
    await house.places.order(Pool.disable(house.pool, "api-1"))
    assert [(row.fingerprint, row.state) for row in share.told] == [("print of api-1", "disabled")]
    assert share.flushed == 1


async def test_a_credential_that_joins_begins_with_what_others_know_of_it() -> None:
    """Protects what rests from a process that takes a credential over later."""
    house = bench()
    share = _Share()
    share.rows = [replace(_ROW, fingerprint="new")]
    house.journal.share = share
    (found,) = await house.journal.restored({"late": "new"})
    assert (found.name, str(found.state)) == ("late", "disabled")
