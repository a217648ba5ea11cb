"""Usage on its way to the store: written behind, every few seconds and once more at the end."""

import asyncio
from typing import Final, Protocol

from proxy.clock import Clock
from proxy.log import get_logger
from proxy.model.tally import Dimension, Tally
from proxy.store.base import Store, StoreError
from proxy.telemetry.usage import HOUR_MS, UsageLedger

_log = get_logger("usage")
FLUSH_EVERY_S: Final = 2.0
KEPT_DAYS: Final = 90
_DAY_MS: Final = 86_400_000


class Sleep(Protocol):
    """How the bookkeeper waits."""

    async def __call__(self, delay: float) -> None:
        """Return after so many seconds."""
        ...


class Bookkeeper:
    """Writes down what a ledger has summed up, and drops what is older than 90 days.

    What was used within the last two seconds is lost when the process is killed. A store that cannot write is
    reported once, until it can again, and costs no client its answer; nothing is lost by it, or counted twice.

    Attributes:
        ledger: where requests are settled.
    """

    def __init__(self, ledger: UsageLedger, store: Store, clock: Clock, sleep: Sleep = asyncio.sleep) -> None:
        self.ledger = ledger
        self._store = store
        self._clock = clock
        self._sleep = sleep
        self._writing = asyncio.Lock()
        self._tidied_hour = -1
        self._in_trouble = False

    async def run(self) -> None:
        """Write for ever."""
        while True:
            await self._sleep(FLUSH_EVERY_S)
            await self.flush()

    async def flush(self) -> None:
        """Write what has not been written; a store that cannot is reported."""
        try:
            await self.save()
            await self._tidy()
        except StoreError as error:
            if not self._in_trouble:
                self._in_trouble = True
                _log.error("usage not saved", problem=str(error))
        else:
            self._in_trouble = False

    async def save(self) -> None:
        """Write what has not been written. Raises StoreError; it is written with the next call then."""
        async with self._writing:
            rows = self.ledger.take_unsaved()
            if rows:
                try:
                    await self._store.save_usage(rows)
                except BaseException:
                    # also where the wait was given up: nobody knows whether they were written
                    self.ledger.not_saved([row.key for row in rows])
                    raise
            self.ledger.forget_written_hours()

    async def sums(
        self, by: Dimension, from_unix_ms: int, to_unix_ms: int
    ) -> tuple[tuple[str | int, Tally], ...]:
        """What was used in these hours, up to this moment; see `Store.load_usage`. Raises StoreError."""
        await self.save()
        return await self._store.load_usage(by, from_unix_ms, to_unix_ms)

    async def _tidy(self) -> None:
        """Once an hour, drop what is too old."""
        now_ms = self._clock.unix_ms()
        if (hour := now_ms // HOUR_MS) != self._tidied_hour:
            await self._store.forget_usage(now_ms - KEPT_DAYS * _DAY_MS)
            self._tidied_hour = hour
