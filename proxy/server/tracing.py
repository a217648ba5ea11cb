"""Traces of requests, for as long as the application runs. What makes them is imported only where they are wanted."""

import asyncio
from collections.abc import AsyncIterator
from random import SystemRandom

from proxy.server.context import Services


async def tracing_of(services: Services) -> AsyncIterator[None]:
    """Begin to make traces, hand over, and send what is left."""
    if services.settings.tracing is None:
        raise ValueError("no traces are wanted")
    from proxy.telemetry.tracing import Tracing  # noqa: PLC0415 - see above

    tracing = await asyncio.to_thread(Tracing.exporting, services.settings.tracing, SystemRandom())
    services.tracing = tracing
    services.traces.subscribe(tracing.count)
    yield
    services.traces.settle()
    await asyncio.to_thread(tracing.close)
