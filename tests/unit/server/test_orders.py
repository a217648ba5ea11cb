"""Any order may be sent twice."""

from aiohttp import web

from proxy.access import Rules
from proxy.access.keys import random_key
from proxy.errors import ErrorKind, GatewayError
from proxy.server.body import kept_body
from proxy.server.context import CALLER
from proxy.server.extras import json_response
from proxy.server.orders import once
from proxy.server.routes import Access, Route
from tests.unit.server.building import ADMINISTRATOR, AUTHORIZED, client, services

_ORDER = {"idempotency-key": "o-1", **ADMINISTRATOR}


async def test_an_order_with_a_key_is_carried_out_once_by_address_and_body() -> None:
    """Protects against an order that is carried out again after its effect was taken back."""
    count = 0

    async def handler(request: web.Request) -> web.Response:
        nonlocal count
        count += 1
        return json_response(request, {"count": count, "body": (await kept_body(request)).decode()})

    routes = [Route("POST", f"/admin/{name}", once(handler), Access.ADMIN) for name in ("a", "b")]
    async with client(services(), routes) as asked:
        first = await asked.post("/admin/a", data=b"x", headers=_ORDER)
        again = await asked.post("/admin/a", data=b"x", headers=_ORDER)
        assert await first.read() == await again.read() == b'{"count":1,"body":"x"}'
        assert "idempotent-replayed" not in first.headers
        assert again.headers["idempotent-replayed"] == "true"
        assert again.headers["cache-control"] == "no-store"
        assert first.headers["x-request-id"] != again.headers["x-request-id"]
        for path, body in (("/admin/a", b"y"), ("/admin/b", b"x"), ("/admin/a?q=1", b"x")):
            assert (await asked.post(path, data=body, headers=_ORDER)).status == 409
        for _ in range(2):
            await asked.post("/admin/a", data=b"x", headers=ADMINISTRATOR)
        assert count == 3


async def test_clients_do_not_read_the_answers_to_each_others_orders() -> None:
    """Protects what one client ordered from another that chose the same key."""
    shared, other = services(), random_key()
    await shared.admission.desk.stored.add("other", Rules(), other)
    seen = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request[CALLER].client)
        return json_response(request, {"for": request[CALLER].client})

    async with client(shared, [Route("POST", "/v1/things", once(handler), Access.CLIENT)]) as asked:
        for headers, name in ((AUTHORIZED, "env-1"), ({"x-api-key": other.reveal()}, "other")):
            for _ in range(2):
                answer = await asked.post("/v1/things", headers={"idempotency-key": "o-1", **headers})
                assert await answer.json() == {"for": name}
    assert seen == ["env-1", "other"]


async def test_an_order_that_failed_is_not_remembered() -> None:
    """Protects against an error that is repeated for a day."""
    problems = [GatewayError(503, ErrorKind.API, "not now")]

    async def handler(request: web.Request) -> web.Response:
        if problems:
            raise problems.pop()
        return json_response(request, {})

    async with client(services(), [Route("POST", "/admin/a", once(handler), Access.ADMIN)]) as asked:
        assert (await asked.post("/admin/a", headers=_ORDER)).status == 503
        assert (await asked.post("/admin/a", headers=_ORDER)).status == 200
