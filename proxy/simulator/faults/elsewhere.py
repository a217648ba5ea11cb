"""Addresses at which no simulated Claude answers."""

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from proxy.simulator.faults.fault import Address
from proxy.simulator.faults.tls import speaking_plainly, speaking_tls


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Addresses at which no simulated Claude answers."""

    closed: str
    swallowing: str
    no_tls: str
    self_signed: str

    def url(self, address: Address, url: str, number: int) -> str:
        """The base URL of a credential, where the simulated Claude has `url` and the place is number `number`."""
        match address:
            case Address.SHARED:
                return url
            case Address.OWN:
                return f"{url}/{number}"
            case Address.CLOSED:
                return self.closed
            case Address.SWALLOWING:
                return self.swallowing
            case Address.NAMELESS:
                # too long for a name, so that nobody is asked for it
                return f"http://{'.'.join(['n' * 60] * 5)}.invalid"
            case Address.NO_TLS:
                return self.no_tls
            case Address.SELF_SIGNED:
                return self.self_signed
            case _:
                assert_never(address)


@asynccontextmanager
async def elsewhere_made(folder: Path) -> AsyncIterator[Elsewhere]:
    """Have them listen; a certificate is made in `folder` by ``openssl``. Raises RuntimeError where it makes none."""
    async with AsyncExitStack() as held:
        no_tls = await held.enter_async_context(speaking_plainly())
        self_signed = await held.enter_async_context(speaking_tls(folder))
        closed, full = (
            held.enter_context(closing(socket.socket())),
            held.enter_context(closing(socket.socket())),
        )
        for one in (closed, full):
            one.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):
            filler = held.enter_context(closing(socket.socket()))
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        yield Elsewhere(_url(closed), _url(full), no_tls, self_signed)


def _url(bound: socket.socket) -> str:
    return f"http://127.0.0.1:{bound.getsockname()[1]}"
