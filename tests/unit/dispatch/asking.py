"""Clients that ask a dispatcher on its bench."""

from dataclasses import dataclass, field

import pytest

from proxy.dispatch.attempt import StreamOpened, UnaryOpened
from proxy.dispatch.trace import Trace
from proxy.errors import GatewayError
from proxy.exchange import Exchange
from proxy.watch import Watch
from tests.unit.dispatch.building import Bench, exchange


@dataclass(slots=True)
class Client:
    """The client's side.

    Attributes:
        committed: whether it has been sent something.
        moments: what it was told, in order.
        commit_at: the attempt with which it is committed; 0 for never.
    """

    committed: bool = False
    moments: list[str] = field(default_factory=list)
    commit_at: int = 0

    def attempt_started(self) -> None:
        """See `Hold.attempt_started`."""
        self.moments.append("started")
        self.committed = self.commit_at == self.moments.count("started")

    def attempt_ended(self) -> None:
        """See `Hold.attempt_ended`."""
        self.moments.append("ended")


async def ask(
    house: Bench, call: Exchange | None = None, *, client: Client | None = None, trace: Trace | None = None
) -> UnaryOpened | StreamOpened:
    """What the dispatcher finds for a client."""
    watch = Watch()
    try:
        return await house.dispatcher.open(call or exchange(), trace or Trace(), client or Client(), watch)
    finally:
        watch.close()


async def turned_away(
    house: Bench, call: Exchange | None = None, *, client: Client | None = None, trace: Trace | None = None
) -> GatewayError:
    """What a client is told that gets no answer; every place has been given back."""
    with pytest.raises(GatewayError) as caught:
        await ask(house, call, client=client, trace=trace)
    assert house.pool.in_flight == 0
    return caught.value


def asked(house: Bench) -> list[str]:
    """The aliases that were asked, in order."""
    return [name for name, _ in house.upstream.calls]
