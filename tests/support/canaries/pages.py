"""Everything there is to look at for whoever administrates a server, asked for before the server ends."""

import asyncio
from contextlib import suppress
from typing import Final

import aiohttp

PAGES: Final = (
    *("/metrics", "/stats", "/openapi.json", "/health", "/ready", "/v1/models", "/v1/capabilities"),
    *("/admin/pool", "/admin/requests?limit=1000", "/admin/usage", "/admin/usage?format=csv", "/admin/audit"),
    *("/admin/keys", "/dashboard", "/dashboard/config", "/dashboard/history", "/dashboard/login"),
)
_PATIENCE_S: Final = 10.0


async def visit(url: str, admin_key: str) -> None:
    """Ask for each of them, whatever the answer; what is in them is heard at the edge of the server."""
    headers = {"authorization": f"Bearer {admin_key}"}
    with suppress(aiohttp.ClientError, OSError, TimeoutError):
        async with asyncio.timeout(_PATIENCE_S), aiohttp.ClientSession(headers=headers) as session:
            for page in PAGES:
                async with session.get(url + page, allow_redirects=False) as answer:
                    await answer.read()
