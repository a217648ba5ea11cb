"""Three gateways with a Redis between them, behind the real nginx: a client notices nothing of their number."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from proxy.server.dashboard.cookie import LOCAL_NAME
from tests.support.gateway import ADMIN_KEY, CLIENT_KEY
from tests.support.house import House, Spoken, body_of, client
from tests.support.nginx import Nginx, nginx
from tests.support.real_redis import PROGRAM, real_redis, replicas

pytestmark = pytest.mark.needs("nginx", PROGRAM)

_LIMIT: Final = 60
_OFF_BY_AT_MOST: Final = 1
_CALLS: Final = 200
_CLIENTS: Final = 20
_REPLICAS: Final = 3
_TRUST: Final = {"TRUSTED_PROXIES": "127.0.0.1/32"}


@asynccontextmanager
async def _standing(folder: Path, **settings: str) -> AsyncIterator[tuple[Nginx, list[House]]]:
    async with (
        real_redis(folder) as redis,
        replicas(folder, redis, _REPLICAS, {**_TRUST, **settings}) as running,
    ):
        addresses = [one.server.url.removeprefix("http://") for one in running]
        async with nginx(folder / "nginx", addresses) as front:
            yield front, running


async def _statuses(url: str, session: aiohttp.ClientSession, count: int, key: str) -> list[int]:
    """One client: its calls one after the other, in both dialects by turns, refused ones with a time to come back."""
    found = []
    for number in range(count):
        spoken = list(Spoken)[number % 2]
        headers = {"authorization": f"Bearer {key}"}
        async with session.post(url + spoken, data=body_of(spoken, stream=False), headers=headers) as answer:
            found.append(answer.status)
            assert answer.status == 200 or int(answer.headers["retry-after"]) <= _LIMIT
    return found


async def test_sixty_requests_a_minute_are_sixty_whichever_replica_is_hit(tmp_path: Path) -> None:
    """Protects a client key's limit from being multiplied by the replicas that nginx spreads its requests over."""
    settings = {"RATE_LIMIT_REQUESTS_PER_MINUTE": str(_LIMIT)}
    async with _standing(tmp_path, **settings) as (front, running), client() as session:
        # the first call of a replica connects it to Redis, which on a busy machine takes its time
        first = [(await one.ask(Spoken.MESSAGES)).status for one in running]
        calls = _CALLS // _CLIENTS
        asking = (_statuses(front.url, session, calls, CLIENT_KEY) for _ in range(_CLIENTS))
        statuses = Counter(first)
        for found in await asyncio.gather(*asking):
            statuses.update(found)
        asked = front.asked
    print(f"{statuses.total()} calls at once: {dict(statuses)}, by replica {dict(asked)}")  # noqa: T201 - the figure
    assert abs(statuses[200] - _LIMIT) <= _OFF_BY_AT_MOST
    assert statuses[429] == statuses.total() - statuses[200]
    assert len(asked) == _REPLICAS


async def test_a_login_at_the_dashboard_is_known_to_every_replica(tmp_path: Path) -> None:
    """Protects administrators: a page has to prove that nginx's own address served it, at whichever replica."""
    async with _standing(tmp_path) as (front, _), client() as session:
        origin = {"origin": front.url}
        login = f"{front.url}/dashboard/login"
        async with session.post(login, json={"key": ADMIN_KEY}, headers=origin) as answer:
            assert answer.status < 400, await answer.text()
            cookie = answer.cookies[LOCAL_NAME].value
        logged_in = {"cookie": f"{LOCAL_NAME}={cookie}"}
        statuses = []
        for _ in range(4 * _REPLICAS):
            async with session.get(f"{front.url}/dashboard/config", headers=logged_in) as answer:
                statuses.append(answer.status)
        asked = front.asked
    assert set(statuses) == {200}
    assert len(asked) == _REPLICAS
