"""An order goes by what all processes have told, and is not acknowledged where that cannot be known."""

from collections.abc import AsyncIterator, Sequence

import msgspec
import pytest

from proxy.dispatch.siblings import Siblings
from proxy.server.app import ROUTES
from proxy.store.base import HealthRow, NotShared
from tests.unit.dispatch.building import Bench, bench
from tests.unit.server.building import ADMINISTRATOR, Client, client, services

_READY = HealthRow(fingerprint="print of api-1", state="ready", since_unix_ms=2)
_DISABLED = HealthRow(fingerprint="print of api-1", state="disabled", reason="manual", since_unix_ms=2)


class _Told:
    """What other processes have told, and what this one tells them.

    Attributes:
        news: what is still to be heard.
        told: the states that were told, oldest first.
        away: whether nobody can be asked.
    """

    def __init__(self, house: Bench) -> None:
        self.rows: Sequence[HealthRow] = ()
        self.news: list[HealthRow] = []
        self.told: list[str] = []
        self.away = False
        self._siblings = Siblings(house.pool, house.places, house.journal)

    def put(self, row: HealthRow) -> None:
        """See `SharedHealth.put`."""
        self.told.append(row.state)

    async def flush(self) -> None:
        """See `SharedHealth.flush`."""

    async def sync(self) -> None:
        """See `SharedHealth.sync`."""
        if self.away:
            raise NotShared("away")
        news, self.news = self.news, []
        self._siblings.adopt(news)


@pytest.fixture
def told(house: Bench) -> _Told:
    """The others."""
    found = house.journal.share = _Told(house)
    return found


@pytest.fixture
def house() -> Bench:
    """Three credentials."""
    return bench()


@pytest.fixture
async def asked(house: Bench) -> AsyncIterator[Client]:
    """A client of the server."""
    async with client(services(house), ROUTES) as found:
        yield found


async def _ordered(asked: Client, action: str) -> tuple[int, str]:
    """The status of the answer to an order, and the code or the state it tells."""
    async with asked.post(f"/admin/pool/api-1/{action}", headers=ADMINISTRATOR) as answer:
        said = msgspec.json.decode(await answer.read())
    return answer.status, said["error"]["code"] if "error" in said else said["state"]["state"]


@pytest.mark.parametrize(
    ("first", "news", "action", "state"),
    [("disable", _READY, "disable", "disabled"), ("enable", _DISABLED, "enable", "ready")],
)
async def test_what_was_undone_elsewhere_meanwhile_is_ordered_once_more(
    first: str, news: HealthRow, action: str, state: str, asked: Client, told: _Told
) -> None:
    """Protects an operator whose order comes to a process that stood still, and holds it for carried out long ago."""
    assert (await _ordered(asked, first))[0] == 200
    told.told.clear()
    told.news.append(news)
    assert await _ordered(asked, action) == (200, state)
    assert told.told == [state]


async def test_an_order_is_not_acknowledged_while_others_cannot_be_heard(asked: Client, told: _Told) -> None:
    """Protects an operator from an order that changes nothing here and is not known to hold anywhere else."""
    assert await _ordered(asked, "disable") == (200, "disabled")
    told.away = True
    assert await _ordered(asked, "disable") == (503, "not_shared")
    assert await _ordered(asked, "enable") == (503, "not_shared")
    told.away = False
    assert await _ordered(asked, "enable") == (200, "ready")
