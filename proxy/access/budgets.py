"""What clients have spent of their budgets: in memory while it is asked for, written behind soon after it changes."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from proxy.access.rules import Period, Rules
from proxy.clock import Clock
from proxy.log import get_logger
from proxy.store.access import AccessStore, SpendingRow
from proxy.store.base import StoreError
from proxy.tasks import detach

_log = get_logger("budgets")
_NOTHING: Final = 0
_NEVER_UNIX_MS: Final = 1 << 62
_PAUSE_S: Final = 0.1


class Sleep(Protocol):
    """How a writer waits."""

    async def __call__(self, delay: float) -> None:
        """Return after so many seconds."""
        ...


@dataclass(slots=True)
class Account:
    """One client's spending in one period, in millionths of a US dollar.

    Attributes:
        period: the sort of period.
        began_unix_ms: when it began.
        ends_unix_ms: when the next one begins; beyond all time if there is none.
        spent: what was settled.
        reserved: what requests under way will probably cost.
        unwritten: the part of `spent` that is not on disk.
    """

    period: Period
    began_unix_ms: int
    ends_unix_ms: int
    spent: int = _NOTHING
    reserved: int = _NOTHING
    unwritten: int = _NOTHING

    @property
    def name(self) -> str:
        """The period, told from all others."""
        return f"{self.period}:{self.began_unix_ms}"

    def begin_anew(self, now_unix_ms: int) -> None:
        """Bring it up to a time of the wall clock that is not within its period."""
        began_ms, ends_ms = self.began_unix_ms, self.ends_unix_ms
        if now_unix_ms >= ends_ms:
            # what is still under way is paid for in the period it ends in
            self.began_unix_ms, self.ends_unix_ms = _bounds(self.period, now_unix_ms)
            self.spent = self.unwritten = _NOTHING
        elif now_unix_ms < 2 * began_ms - ends_ms:
            # the wall clock was ahead by more than a period: the budget need not wait for a time that far off
            self.began_unix_ms, self.ends_unix_ms = _bounds(self.period, now_unix_ms)


class Budgets:
    """The accounts of all clients with a budget.

    A request is let in while less than the budget is spent and reserved, so that it is overspent by no more than what
    the requests under way cost above their reservations, and the last one above what was left.

    What is spent after a quiet moment is written at once; under load everything of a tenth of a second is written
    together, which is what a killed process loses at most.

    Attributes:
        tell: is told what the store knows a client to have spent, with the period's name, each time that changes; None
            where nobody wants to know.
    """

    def __init__(self, store: AccessStore, clock: Clock, sleep: Sleep = asyncio.sleep) -> None:
        self._store = store
        self._clock = clock
        self._sleep = sleep
        self._written_s = -_PAUSE_S
        self._accounts: dict[str, Account] = {}
        self._writing = False
        self.tell: Callable[[str, str, int], None] | None = None

    async def restore(self) -> None:
        """Take over what was spent before the start. Raises StoreError."""
        now_ms = self._clock.unix_ms()
        for row in await self._store.load_spending():
            try:
                period = Period(row.period)
            except ValueError:
                continue
            began_ms, ends_ms = _bounds(period, now_ms)
            if row.began_unix_ms == began_ms:
                self._accounts[row.client] = Account(period, began_ms, ends_ms, spent=row.micro_usd)
                self._told(row.client, self._accounts[row.client], row.micro_usd)

    def account(self, client: str, rules: Rules) -> Account:
        """A client's account of the present period, to be used before anything else runs.

        What is to be set apart for a request is added to its `reserved`, and taken off by `settle`.
        """
        account, period, now_ms = self._accounts.get(client), rules.period, self._clock.unix_ms()
        if account is None or account.period is not period:
            account = self._accounts[client] = Account(period, *_bounds(period, now_ms))
        elif not account.began_unix_ms <= now_ms < account.ends_unix_ms:
            account.begin_anew(now_ms)
        return account

    def spent(self, client: str, rules: Rules) -> int:
        """What a client has spent in the present period, in millionths of a US dollar."""
        return self.account(client, rules).spent

    def next_period_s(self, client: str, rules: Rules) -> float | None:
        """Seconds until the budget is whole again; None if it never will be."""
        ends_ms = self.account(client, rules).ends_unix_ms
        return None if ends_ms == _NEVER_UNIX_MS else max(ends_ms - self._clock.unix_ms(), 0) / 1000

    def period_name(self, client: str, rules: Rules) -> str:
        """The present period of a client's budget, told from all others."""
        return self.account(client, rules).name

    def settle(self, client: str, rules: Rules, reserved: int, micro_usd: int) -> None:
        """A request has ended: what was set apart for it is free, what it cost is spent."""
        self.pay(self.account(client, rules), reserved, micro_usd, self._clock.unix_ms())

    def pay(self, account: Account, reserved: int, micro_usd: int, now_unix_ms: int) -> None:
        """The same for an account, whatever its period was."""
        if not account.began_unix_ms <= now_unix_ms < account.ends_unix_ms:
            account.begin_anew(now_unix_ms)
        # one that was opened meanwhile, for another sort of period, has set nothing apart for it
        left = account.reserved - reserved
        account.reserved = left if left > 0 else _NOTHING
        if micro_usd <= 0:
            return
        account.spent += micro_usd
        account.unwritten += micro_usd
        if not self._writing:
            self._writing = True
            detach(self._write(), name="write spending")

    async def _write(self) -> None:
        """Write until nothing is left to be written. What cannot be is tried again with the next settlement."""
        try:
            while waiting := [name for name, each in self._accounts.items() if each.unwritten]:
                if (wait_s := self._written_s + _PAUSE_S - self._clock.monotonic_s()) > 0:
                    await self._sleep(wait_s)
                for client in waiting:
                    await self._write_one(client, self._accounts[client])
                self._written_s = self._clock.monotonic_s()
        except StoreError as error:
            self._written_s = self._clock.monotonic_s()
            _log.error("spending not written", problem=str(error))
        finally:
            self._writing = False

    async def _write_one(self, client: str, account: Account) -> None:
        adding, began_ms = account.unwritten, account.began_unix_ms
        row = SpendingRow(client=client, period=account.period, began_unix_ms=began_ms, micro_usd=adding)
        account.unwritten = _NOTHING
        try:
            total = await self._store.add_spending(row)
        except StoreError:
            if account.began_unix_ms == began_ms:
                account.unwritten += adding
            raise
        if total is not None and account.began_unix_ms == began_ms:
            # other processes of the same folder spend from the same budget
            account.spent = total + account.unwritten
            self._told(client, account, total)

    def _told(self, client: str, account: Account, total: int) -> None:
        if self.tell is not None:
            self.tell(client, account.name, total)


def _bounds(period: Period, now_unix_ms: int) -> tuple[int, int]:
    began_ms, ends_ms = period.bounds(now_unix_ms)
    return began_ms, _NEVER_UNIX_MS if ends_ms is None else ends_ms
