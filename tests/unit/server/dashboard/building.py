"""An administrator's browser, as far as the tests of the dashboard need one."""

from dataclasses import dataclass

import msgspec
from aiohttp.client import ClientResponse

from proxy.server.dashboard.cookie import LOCAL_NAME
from tests.support.gateway import ADMIN_KEY
from tests.unit.server.building import Client


class Configuration(msgspec.Struct):
    """What ``/dashboard/config`` says."""

    version: str
    demo: bool
    token: str | None
    until_unix_ms: int | None
    features: dict[str, bool]


def origin_of(client: Client) -> str:
    """What a browser calls a page of this server."""
    return str(client.make_url("/")).rstrip("/")


async def log_in(client: Client, key: str = ADMIN_KEY, **headers: str) -> ClientResponse:
    """Present a key as the page of the login does."""
    sent = {"origin": origin_of(client), **headers}
    return await client.post("/dashboard/login", json={"key": key}, headers=sent)


@dataclass(frozen=True, slots=True)
class Browser:
    """A logged in browser; it sends no cookie but this one."""

    client: Client
    cookie: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        """What its own page's requests carry."""
        return {"cookie": self.cookie, "origin": origin_of(self.client), "x-csrf-token": self.token}


async def browser(client: Client) -> Browser:
    """Log in, on the machine itself."""
    answer = await log_in(client)
    assert answer.status == 200, await answer.text()
    cookie = f"{LOCAL_NAME}={answer.cookies[LOCAL_NAME].value}"
    told = await client.get("/dashboard/config", headers={"cookie": cookie})
    found = msgspec.json.decode(await told.read(), type=Configuration)
    assert found.token is not None
    return Browser(client, cookie, found.token)
