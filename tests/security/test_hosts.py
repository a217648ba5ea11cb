"""What a client says about where it is, or whom it asks, decides nothing."""

import pytest

from tests.security.wire import ask, converse, request
from tests.support.gateway import ADMIN_KEY, CLIENT_KEY, Gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")

_HOSTS = (
    "gateway/v1/models?#",
    "gateway/?",
    "gateway/#",
    "gateway/v1/models?x=",
    "gateway/live?",
    "gateway#/live",
    "gateway?/live",
    "gateway\\live",
    "gateway@live",
    "user:password@gateway",
    "gateway live",
    "gateway%2flive",
    "gateway,live",
    "gateway;live",
    "<gateway>",
    "gateway'",
    '"gateway"',
    "g\u00e4teway",
    "{gateway}",
)
_FORWARDED = (
    {"x-forwarded-for": "127.0.0.1"},
    {"x-forwarded-host": "localhost"},
    {"x-forwarded-proto": "https"},
    {"x-forwarded-prefix": "/v1"},
    {"x-forwarded-uri": "/live"},
    {"x-forwarded-user": "admin"},
    {"x-forwarded-scheme": "https"},
    {"forwarded": "for=127.0.0.1;host=localhost;proto=https"},
    {"x-original-url": "/live"},
    {"x-rewrite-url": "/live"},
    {"x-original-uri": "/live"},
    {"x-real-ip": "127.0.0.1"},
    {"x-client-ip": "127.0.0.1"},
    {"true-client-ip": "127.0.0.1"},
    {"x-remote-user": "admin"},
    {"x-authenticated-user": "admin"},
    {"x-http-method-override": "OPTIONS"},
    {"x-method-override": "OPTIONS"},
    {"x-host": "localhost"},
    {"host": "localhost"},
    {"host": "127.0.0.1"},
    {"host": "[::1]:8080"},
    {"host": ""},
    {"origin": "http://localhost"},
    {"referer": "http://localhost/dashboard"},
    {"proxy-authorization": f"Bearer {ADMIN_KEY}"},
    {"cookie": f"session={ADMIN_KEY}"},
)


@pytest.mark.parametrize("host", _HOSTS)
@pytest.mark.parametrize("path", ["/admin/pool", "/v1/models", "/live"])
@pytest.mark.parametrize("key", [None, CLIENT_KEY, ADMIN_KEY], ids=["no key", "client key", "admin key"])
async def test_a_host_that_is_no_host_name_is_refused_whatever_the_key(
    server: Gateway, host: str, path: str, key: str | None
) -> None:
    """Protects against an address put together from the Host header that names another route."""
    data = request(path, method="GET", key=key, headers={"host": host.encode()})
    talk = await converse(server.url, data)
    assert [answer.status for answer in talk.answers] == [400]


@pytest.mark.parametrize("headers", _FORWARDED, ids=lambda headers: " ".join(next(iter(headers.items()))))
@pytest.mark.parametrize("path", ["/admin/pool", "/v1/models"])
async def test_headers_of_proxies_give_no_access(server: Gateway, headers: dict[str, str], path: str) -> None:
    """Protects routes from callers who say that somebody else has let them in."""
    assert (await ask(server.url, path, method="GET", key=None, headers=headers)).status == 401


@pytest.mark.parametrize("headers", _FORWARDED, ids=lambda headers: " ".join(next(iter(headers.items()))))
async def test_headers_of_proxies_do_not_make_a_client_the_administrator(
    server: Gateway, headers: dict[str, str]
) -> None:
    """Protects administration from a client key with a helpful header."""
    assert (await ask(server.url, "/admin/pool", method="GET", headers=headers)).status == 401


async def test_two_hosts_are_refused(server: Gateway) -> None:
    """Protects against a second Host header that another reader would believe."""
    data = b"GET /v1/models HTTP/1.1\r\nhost: gateway\r\nhost: other\r\nconnection: close\r\n"
    data += f"authorization: Bearer {CLIENT_KEY}\r\n\r\n".encode()
    talk = await converse(server.url, data)
    assert talk.status == 400


@pytest.mark.parametrize("host", ["gateway", "gateway:8080", "[::1]:8080", "10.0.0.1", "my_host.local"])
async def test_ordinary_hosts_are_served(server: Gateway, host: str) -> None:
    """Protects clients from a check that is too strict."""
    assert (await ask(server.url, "/v1/models", method="GET", headers={"host": host})).status == 200
