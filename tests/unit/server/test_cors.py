"""Which web pages may call the API."""

import pytest
from aiohttp import web

from proxy.server.routes import Access, Route
from tests.unit.server.building import ADMINISTRATOR, AUTHORIZED, Client, client, services, settings

_CHAT = "https://chat.example.com"
_OTHER = "https://evil.example.com"
_CONFIGURED = {origins: settings(CORS_ORIGINS=origins) for origins in (_CHAT, "*")}
_ASKING = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,x-a"}


async def _answer(_: web.Request) -> web.StreamResponse:
    return web.Response()


def _client(origins: str) -> Client:
    routes = [
        Route("POST", "/v1/messages", _answer, Access.CLIENT),
        Route("GET", "/admin/pool", _answer, Access.ADMIN),
    ]
    return client(services(configured=_CONFIGURED[origins]) if origins else services(), routes)


@pytest.mark.parametrize(
    ("origins", "origin", "path", "allowed"),
    [
        (_CHAT, _CHAT, "/v1/messages", _CHAT),
        (_CHAT, _CHAT, "/hf/v1/anything", _CHAT),
        ("*", _OTHER, "/v1/messages", "*"),
        (_CHAT, _OTHER, "/v1/messages", None),
        (_CHAT, _CHAT + ".evil.example", "/v1/messages", None),
        (_CHAT, "null", "/v1/messages", None),
        (_CHAT, _CHAT, "/admin/pool", None),
        ("*", _CHAT, "/admin/pool", None),
        ("*", _CHAT, "/health", None),
        ("", _CHAT, "/v1/messages", None),
    ],
)
async def test_a_browser_may_ask_without_a_key_only_for_the_api_and_an_allowed_page(
    origins: str, origin: str, path: str, allowed: str | None
) -> None:
    """Protects everything else from being told to anybody without a key."""
    async with _client(origins) as asked:
        answer = await asked.options(path, headers={"origin": origin, **_ASKING})
        assert answer.status == (401 if allowed is None else 204)
        assert answer.headers.get("access-control-allow-origin") == allowed
        assert "access-control-allow-credentials" not in answer.headers
        if allowed is not None:
            assert answer.headers["access-control-allow-headers"] == "authorization,x-a"
            assert "POST" in answer.headers["access-control-allow-methods"]


async def test_a_preflight_opens_nothing() -> None:
    """Protects the routes themselves: the browser may ask, and then still needs a key."""
    async with _client("*") as asked:
        answer = await asked.post("/v1/messages", headers={"origin": _CHAT})
        assert answer.status == 401
        assert answer.headers["access-control-allow-origin"] == "*"
        assert (await asked.options("/v1/messages", headers={"origin": _CHAT})).status == 401


async def test_a_page_reads_our_headers() -> None:
    """Protects web clients, which cannot read a header that is not exposed."""
    async with _client(_CHAT) as asked:
        answer = await asked.post("/v1/messages", headers={"origin": _CHAT, **AUTHORIZED})
        assert answer.headers["access-control-allow-origin"] == _CHAT
        for name in ("x-request-id", "x-carousel-credential", "x-ratelimit-remaining-tokens", "retry-after"):
            assert name in answer.headers["access-control-expose-headers"]
        assert answer.headers["vary"] == "Origin"
        other = await asked.post("/v1/messages", headers={"origin": _OTHER, **AUTHORIZED})
        assert "access-control-allow-origin" not in other.headers
        assert other.headers["vary"] == "Origin"
        admin = await asked.get("/admin/pool", headers={"origin": _CHAT, **ADMINISTRATOR})
        assert "access-control-allow-origin" not in admin.headers


async def test_what_a_browser_asks_for_is_only_repeated_where_it_is_a_list_of_names() -> None:
    """Protects the answer's headers from what a page wrote."""
    async with _client("*") as asked:
        hostile = {"access-control-request-method": "POST", "access-control-request-headers": "a;b<c"}
        answer = await asked.options("/v1/messages", headers={"origin": _CHAT, **hostile})
        assert answer.headers["access-control-allow-headers"].startswith("authorization, content-type")
