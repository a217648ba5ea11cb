"""Every route asks for its key, whichever way a key is shown."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from aiohttp import web
from multidict import CIMultiDict

from proxy.access import load_or_make_keys, presented_key
from proxy.clock import SystemClock
from proxy.errors import Unauthorized
from proxy.model.catalog import Catalog
from proxy.server.app import ROUTES, Parts, build_app
from proxy.server.routes import OPENAI_CHAT, Access, Route, RouteTable
from proxy.settings import load_settings
from proxy.store.sqlite import SqliteStore
from tests.security.wire import ask
from tests.support.gateway import ADMIN_KEY, CLIENT_KEY, Gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
_PROBES = {"/health", "/live", "/ready"}
_PUBLIC = {*_PROBES, "/dashboard/login", "/dashboard/static/dashboard.js"}


# the wrong keys of these tests all come from one address, and it is the refusals that are looked at
SETTINGS = {"WRONG_KEYS_PER_MINUTE": "1000000"}
_EXAMPLES = {
    "{name}": "work",
    "{model}": "claude-sonnet-5-5",
    "{alias}": "api-1",
    "{id}": "req_0123456789abcdef01234567",
    "{file}": "dashboard.js",
}


def _paths(route: Route) -> Iterator[str]:
    path = route.path
    for name, example in _EXAMPLES.items():
        path = path.replace(name, example)
    for prefix in route.prefixes:
        yield prefix + path


_ALL = sorted({(path, route.access) for route in ROUTES for path in _paths(route)}, key=lambda pair: pair[0])
_ADMIN = sorted(
    {(path, route.method) for route in ROUTES if route.access is Access.ADMIN for path in _paths(route)}
)
_WRONG = CLIENT_KEY[:-1] + "0"
_NO_KEYS: dict[str, dict[str, str]] = {
    "nothing": {},
    "an empty bearer": {"authorization": "Bearer "},
    "an empty header": {"authorization": ""},
    "an empty x-api-key": {"x-api-key": ""},
    "a wrong key": {"authorization": f"Bearer {_WRONG}"},
    "a wrong x-api-key": {"x-api-key": _WRONG},
    "a wrong api-key": {"api-key": _WRONG},
    "basic": {"authorization": f"Basic {CLIENT_KEY}"},
    "no scheme": {"authorization": CLIENT_KEY},
    "a scheme without a space": {"authorization": f"Bearer{CLIENT_KEY}"},
    "a doubled scheme": {"authorization": f"Bearer Bearer {CLIENT_KEY}"},
    "a key in quotes": {"authorization": f'Bearer "{CLIENT_KEY}"'},
    "a part of a key": {"authorization": f"Bearer {CLIENT_KEY[:20]}"},
    "a key and more": {"authorization": f"Bearer {CLIENT_KEY}x"},
    "a key in capitals": {"authorization": f"Bearer {CLIENT_KEY.upper()}"},
    "two keys in one header": {"authorization": f"Bearer {CLIENT_KEY}, {_WRONG}"},
    "two different keys": {"authorization": f"Bearer {CLIENT_KEY}", "x-api-key": _WRONG},
    "a client and an admin key": {"authorization": f"Bearer {CLIENT_KEY}", "x-api-key": ADMIN_KEY},
    "a key in a cookie": {"cookie": f"key={CLIENT_KEY}; admin={ADMIN_KEY}"},
    "a key that is no UTF-8": {"x-api-key": "\xff\xfe"},
    "a header nobody reads": {"x-key": CLIENT_KEY},
}


def presents_a_key(headers: dict[str, str]) -> bool:
    """Whether there is anything in these headers that a server could take for a key, right or wrong."""
    try:
        return presented_key(CIMultiDict(headers)) is not None
    except Unauthorized:
        return True


def _status(path: str, access: Access, method: str, *, shown: bool) -> int:
    """What a request without a right key is answered with; the page of the dashboard leads to its login."""
    if method not in {"GET", "HEAD"}:
        # a login has to come from the page of this very server, whatever key it presents
        return 403 if (path, method) == ("/dashboard/login", "POST") else 401
    if access is Access.PAGE:
        return 401 if shown else 303
    return 200 if access is Access.PUBLIC else 401


@pytest.mark.parametrize(("path", "access"), _ALL, ids=[path for path, _ in _ALL])
@pytest.mark.parametrize("headers", _NO_KEYS.values(), ids=_NO_KEYS.keys())
async def test_a_route_without_its_key_is_closed_to_every_method(
    server: Gateway, path: str, access: Access, headers: dict[str, str]
) -> None:
    """Protects every route there is now or will be: only the public list opens without a key."""
    for method in _METHODS:
        answer = await ask(server.url, path, method=method, key=None, headers=headers)
        assert answer.status == _status(path, access, method, shown=presents_a_key(headers)), method


@pytest.mark.parametrize("path", [path for path, access in _ALL if access is not Access.PUBLIC])
@pytest.mark.parametrize("name", ["key", "api_key", "api-key", "x-api-key", "access_token", "token"])
async def test_a_key_in_the_address_opens_nothing(server: Gateway, path: str, name: str) -> None:
    """Protects keys from the logs of every proxy on the way, where addresses end up."""
    for key in (CLIENT_KEY, ADMIN_KEY):
        answer = await ask(server.url, f"{path}?{name}={key}", method="GET", key=None)
        assert answer.status == (303 if path == "/dashboard" else 401)


@pytest.mark.parametrize(("path", "method"), _ADMIN)
async def test_a_client_key_does_not_administrate(server: Gateway, path: str, method: str) -> None:
    """Protects administration from those who may only ask models."""
    for other in _METHODS:
        assert (await ask(server.url, path, method=other)).status in {401, 405}, other
    assert (await ask(server.url, path, method=method)).status == 401
    assert all(str(view["state"]).count("'ready'") for view in await server.pool())


async def test_the_administrators_list_is_the_one_written_down() -> None:
    """Protects against an order that appears, or changes its method, unnoticed."""
    orders = [(f"/admin/pool/api-1/{action}", "POST") for action in ("disable", "enable", "reset")]
    assert (
        sorted(
            [
                ("/admin/pool", "GET"),
                ("/admin/pool/explain", "GET"),
                ("/admin/requests", "GET"),
                ("/admin/usage", "GET"),
                (f"/admin/requests/{_EXAMPLES['{id}']}", "GET"),
                *orders,
                ("/admin/audit", "GET"),
                ("/admin/keys", "GET"),
                ("/admin/keys", "POST"),
                ("/admin/keys/work", "DELETE"),
                ("/admin/pool/reload", "POST"),
                ("/dashboard/config", "GET"),
                ("/dashboard/events", "GET"),
                ("/dashboard/history", "GET"),
                ("/dashboard/logout", "POST"),
                ("/metrics", "GET"),
            ]
        )
        == _ADMIN
    )


@pytest.mark.parametrize("path", [path for path, access in _ALL if access is Access.CLIENT])
async def test_the_admin_key_asks_no_model(server: Gateway, path: str) -> None:
    """Protects the admin key from living in the configuration of clients."""
    for method in ("GET", "POST"):
        answer = await ask(server.url, path, method=method, key=ADMIN_KEY)
        assert answer.status in {401, 405}, method


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"bearer {CLIENT_KEY}"},
        {"authorization": f"BEARER {CLIENT_KEY}"},
        {"authorization": f"Bearer   {CLIENT_KEY}  "},
        {"x-api-key": CLIENT_KEY},
        {"X-API-KEY": CLIENT_KEY},
        {"api-key": CLIENT_KEY},
        {"authorization": f"Bearer {CLIENT_KEY}", "x-api-key": CLIENT_KEY},
    ],
    ids=str,
)
async def test_a_key_is_read_wherever_clients_put_it(server: Gateway, headers: dict[str, str]) -> None:
    """Protects the clients of both dialects, whose libraries use different headers."""
    assert (await ask(server.url, "/v1/models", method="GET", key=None, headers=headers)).status == 200


@pytest.mark.parametrize("path", ["/", "/nothing", "/v1/nothing", "/admin/nothing", "/v1/messages/unknown"])
async def test_an_unknown_address_is_told_only_to_those_with_a_key(server: Gateway, path: str) -> None:
    """Protects the list of addresses from being found out by trying."""
    assert (await ask(server.url, path, method="GET", key=None)).status == 401
    for key in (CLIENT_KEY, ADMIN_KEY):
        answer = await ask(server.url, path, method="GET", key=key)
        assert answer.status == 404
        assert answer.error()["message"] == f"Unknown address: GET {path}"


@pytest.mark.parametrize("path", sorted(_PROBES))
async def test_public_routes_tell_nothing_about_credentials(server: Gateway, path: str) -> None:
    """Protects the pool's inside from those without a key."""
    answer = await ask(server.url, path, method="GET", key=None)
    assert answer.status == 200
    shown = msgspec.json.decode(answer.body, type=dict[str, object])
    assert set(shown) <= {"status", "version", "uptime_seconds", "claude_version", "active_sessions"}
    assert b"api-1" not in answer.body


async def test_the_public_list_is_the_one_written_down() -> None:
    """Protects against a route that becomes public by a slip in its entry."""
    assert {path for path, access in _ALL if access is Access.PUBLIC} == _PUBLIC


async def _application(data_dir: Path) -> tuple[web.Application, SqliteStore]:
    environ = {"DATA_DIR": str(data_dir), "API_KEY": CLIENT_KEY, "ADMIN_KEY": ADMIN_KEY}
    settings = await asyncio.to_thread(load_settings, {}, environ, data_dir)
    keys = await asyncio.to_thread(load_or_make_keys, settings, settings.data_dir)
    catalog = await asyncio.to_thread(Catalog.load, None)
    store = await SqliteStore.open(settings.database)
    parts = Parts(
        settings=settings,
        credentials=(),
        keys=keys,
        catalog=catalog,
        store=store,
        clock=SystemClock(),
        rng=random.Random(1),
    )
    return await build_app(parts), store


async def test_a_route_without_an_entry_in_the_table_cannot_exist(tmp_path: Path) -> None:
    """Protects against a handler that somebody adds past the table, where nobody asks for a key."""
    app, store = await _application(tmp_path / "data")
    try:
        declared = {(route.method, path) for route in ROUTES for path in _raw_paths(route)}
        declared |= {("HEAD", path) for method, path in declared if method == "GET"}
        assert {(route.method, _canonical(route)) for route in app.router.routes()} == declared
    finally:
        await store.close()


async def test_a_handler_added_past_the_table_is_treated_as_an_unknown_address() -> None:
    """Protects the gate's default: what has no entry has no access of its own."""

    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response()

    app = web.Application()
    table = RouteTable(app, (Route("GET", "/in", handler, Access.PUBLIC, OPENAI_CHAT),))
    app.router.add_get("/past", handler)
    routes = {_canonical(route): route for route in app.router.routes()}
    assert table.known.get(routes["/in"]) is not None
    assert table.known.get(routes["/past"]) is None


def _raw_paths(route: Route) -> Iterator[str]:
    for prefix in route.prefixes:
        yield prefix + route.path


def _canonical(route: web.AbstractRoute) -> str:
    assert route.resource is not None
    return route.resource.canonical
