"""The real nginx between the clients of a soak and the gateway, configured as it is shipped."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from tests.soak.ground import Front
from tests.support.nginx import nginx


def behind_nginx(folder: Path, shortened: Mapping[str, str] | None = None) -> Front:
    """A front whose files lie in `folder`; `shortened` see `tests.support.nginx.nginx`."""

    @asynccontextmanager
    async def front(url: str) -> AsyncIterator[str]:
        async with nginx(folder, [url.removeprefix("http://")], shortened) as running:
            yield running.url

    return front
