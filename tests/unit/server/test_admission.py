"""What decides on admission is made together, and takes over what was kept."""

from proxy.access import Ask, Grant
from proxy.access.keys import random_key
from proxy.access.rules import Rules
from proxy.tasks import finish_all
from tests.unit.dispatch.building import bench
from tests.unit.server.building import services, settings

_CROSS = settings(CORS_ORIGINS="*")
_BUDGET = Rules(budget_micro_usd=100)


async def test_keys_and_spending_are_there_after_a_restart() -> None:
    """Protects clients from a server that forgets them, and budgets from one that forgets what they spent."""
    house, key = bench(), random_key()
    before = services(house)
    await before.admission.desk.stored.add("work", _BUDGET, key)
    before.admission.budgets.settle("work", _BUDGET, 0, 70)
    await finish_all(within_s=5)
    after = services(house)
    assert after.keys.clients.match(key.reveal()) is None
    await after.admission.restore()
    found = after.keys.clients.match(key.reveal())
    assert found is not None
    assert after.admission.budgets.left(found.name, _BUDGET) == 30


def test_no_page_may_call_unless_it_is_said() -> None:
    """Protects the default."""
    assert services().admission.cors is None
    assert services(configured=_CROSS).admission.cors is not None


def test_where_no_other_process_is_asked_leave_is_there_at_once() -> None:
    """Protects every limited request from the price of waiting for nobody."""
    granted = services().admission.admit("work", Rules(requests_per_minute=1), Ask(""))
    assert isinstance(granted, Grant)
