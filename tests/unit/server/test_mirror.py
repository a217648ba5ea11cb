"""The mirror's routes: opened by sessions alone, and described wherever they are."""

import msgspec
import pytest

from proxy.server.mirror import mirror_routes
from proxy.server.openapi.document import document
from proxy.server.openapi.mirror import MIRRORED
from proxy.server.openapi.statuses import ALWAYS, KEYED
from proxy.server.routes import Access, Route
from tests.unit.server.openapi.raising import raised_by

ROUTES = mirror_routes("/own/mirror")


def test_every_route_is_described_and_opened_by_a_session() -> None:
    """Protects callers from an endpoint nobody told them of, and it from other keys."""
    assert {(route.method, route.entry) for route in ROUTES} == MIRRORED.keys()
    found = document(ROUTES)
    paths = msgspec.convert(found["paths"], dict[str, dict[str, object]])
    assert set(paths) == {f"/own/mirror/v1/{name}" for name in ("chat/completions", "messages", "models")}
    for route in ROUTES:
        assert route.access is Access.SESSION
        assert b'"security":[{"ownSession":[]}]' in msgspec.json.encode(paths[route.path])


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.entry}")
def test_what_the_code_behind_a_route_raises_is_described(route: Route) -> None:
    """Protects clients that were generated from a status they were not told of."""
    described = MIRRORED[route.method, route.entry].statuses | ALWAYS | KEYED
    # turns of conversations are refused with it, and nobody here has one
    assert raised_by(route.handler) - described <= {409}
