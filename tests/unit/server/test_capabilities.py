"""The table of capabilities as programs read it."""

from collections.abc import AsyncIterator

import msgspec
import pytest

from proxy.capabilities import CELLS, Cell, Feature, Front, Verdict
from proxy.credentials import Kind
from proxy.server.app import ROUTES
from tests.unit.server.building import ADMINISTRATOR, AUTHORIZED, Client, client, services


class _Feature(msgspec.Struct):
    id: Feature
    title: str
    fields: dict[Front, str]
    support: dict[Front, dict[Kind, Cell]]


class _Capabilities(msgspec.Struct, forbid_unknown_fields=True):
    object: str
    dialects: list[Front]
    kinds: list[Kind]
    verdicts: list[Verdict]
    features: list[_Feature]


@pytest.fixture
async def asked() -> AsyncIterator[Client]:
    """A client of all routes."""
    async with client(services(), ROUTES) as found:
        yield found


@pytest.mark.parametrize("prefix", ["", "/hf"])
async def test_every_cell_is_told(asked: Client, prefix: str) -> None:
    """Protects programs that choose by it: the same words as in the page, for every path."""
    answer = await asked.get(f"{prefix}/v1/capabilities", headers=AUTHORIZED)
    assert (answer.status, answer.content_type) == (200, "application/json")
    found = msgspec.json.decode(await answer.read(), type=_Capabilities)
    told = {
        (feature.id, front, kind): cell
        for feature in found.features
        for front, cells in feature.support.items()
        for kind, cell in cells.items()
    }
    assert told == dict(CELLS)
    assert (found.object, found.dialects, found.kinds) == ("capabilities", list(Front), list(Kind))
    assert found.verdicts == list(Verdict)


async def test_it_takes_a_clients_key(asked: Client) -> None:
    """Protects the route's entry: neither nobody's key nor the admin's opens it."""
    assert (await asked.get("/v1/capabilities")).status == 401
    assert (await asked.get("/v1/capabilities", headers=ADMINISTRATOR)).status in {401, 403}
