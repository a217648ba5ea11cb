"""Every route has an entry, and the middleware knows it by the route that was matched."""

import pytest
from aiohttp import web

from proxy.server.app import ROUTES
from proxy.server.routes import ANTHROPIC, OPENAI_CHAT, Access, Route, RouteTable, dialect_for_unknown


async def _handler(_: web.Request) -> web.StreamResponse:
    return web.Response()


def _table(*routes: Route) -> tuple[web.Application, RouteTable]:
    app = web.Application()
    return app, RouteTable(app, routes)


def test_a_route_lives_below_each_of_its_prefixes_and_get_answers_head() -> None:
    """Protects clients that use another prefix, and probes that ask for the head alone."""
    app, table = _table(Route("GET", "/x", _handler, Access.CLIENT, prefixes=("", "/hf")))
    found = {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource}
    assert found == {("GET", "/x"), ("HEAD", "/x"), ("GET", "/hf/x"), ("HEAD", "/hf/x")}
    assert all(route in table.known for route in app.router.routes())


def test_a_post_answers_nothing_else() -> None:
    """Protects handlers that read a body from requests without one."""
    app, _ = _table(Route("POST", "/x", _handler, Access.CLIENT))
    assert [route.method for route in app.router.routes()] == ["POST"]


def test_a_route_that_was_added_past_the_table_is_unknown_to_it() -> None:
    """Protects the gate's default: what has no entry gives no access."""
    app, table = _table(Route("GET", "/x", _handler, Access.PUBLIC))
    past = app.router.add_get("/past", _handler, allow_head=False)
    assert past not in table.known


def test_only_the_probes_and_the_way_to_the_login_are_public() -> None:
    """Protects every route from becoming public by a slip in its entry."""
    public = {route.path for route in ROUTES if route.access is Access.PUBLIC}
    assert public == {"/health", "/live", "/ready", "/dashboard/login", "/dashboard/static/{file}"}


def test_all_below_admin_needs_the_admin_key_and_all_below_v1_a_clients() -> None:
    """Protects each side from the other's key."""
    for route in ROUTES:
        if route.path.startswith("/admin"):
            assert route.access is Access.ADMIN
        if route.path.startswith("/v1"):
            assert route.access is Access.CLIENT


def test_administration_has_one_address() -> None:
    """Protects administration from a prefix that a reverse proxy lets everybody through to."""
    assert all(route.prefixes == ("",) for route in ROUTES if route.access is not Access.CLIENT)


def test_messages_answer_in_their_own_dialect() -> None:
    """Protects SDKs from an error they cannot read."""
    for route in ROUTES:
        assert (route.dialect is ANTHROPIC) is any(part in route.path for part in ("/messages", "/files"))


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/v1/messages/x", ANTHROPIC),
        ("/hf/v1/messages/x", ANTHROPIC),
        ("/v1/chat/x", OPENAI_CHAT),
        ("/", OPENAI_CHAT),
        ("/messages", OPENAI_CHAT),
    ],
)
def test_an_unknown_address_is_answered_in_the_dialect_it_resembles(path: str, dialect: object) -> None:
    """Protects clients that use a part of an API we do not have."""
    assert dialect_for_unknown(path) is dialect
