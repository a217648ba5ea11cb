"""Waiting for a place at a credential: the pool decides who is next, the waiting itself happens here."""

import asyncio

from proxy.dispatch import answers
from proxy.dispatch.homes import SharedHomes
from proxy.dispatch.journal import Journal
from proxy.dispatch.permission import Permission
from proxy.exchange import Conversation
from proxy.pool import Abandoned, Exhausted, Lease, Outcome, Pool, Saturated, Settled, Ticket, Walk, Want
from proxy.settings import Policy
from proxy.tasks import detach
from proxy.watch import Watch

_SWEEP_EVERY_S = 1.0
_LOOK_EVERY_S = 0.025
_LOOKS_FOR_A_PLACE = 10


# nothing at all is for who had to make room for another client
_Place = asyncio.Future[Lease | Exhausted | None]


class Places:
    """The pool's leases, for callers that can wait.

    Attributes:
        shared: whether there may be other processes, so that `permitted` and `home` are to be asked.
    """

    def __init__(
        self,
        pool: Pool,
        policy: Policy,
        journal: Journal,
        permission: Permission | None = None,
        homes: SharedHomes | None = None,
    ) -> None:
        """`permission` and `homes` are asked where other processes use the same credentials; None where none do."""
        self._permission = permission
        self._homes = homes
        self.shared = permission is not None
        self._pool = pool
        self._policy = policy
        self._journal = journal
        self._waiting: dict[Ticket, _Place] = {}

    def take(self, want: Want, walk: Walk) -> Lease | Exhausted | None:
        """A lease, or why there will be none; None when one has to be waited for."""
        found = self._pool.pick(want, walk)
        return None if isinstance(found, Saturated) else found

    async def take_at(self, name: str, want: Want, walk: Walk) -> Lease | Saturated | None:
        """A place at one credential, waited for a quarter of a second where it is full; None where it cannot serve."""
        for _ in range(_LOOKS_FOR_A_PLACE):
            found = self._pool.pick_at(name, want, walk)
            if not isinstance(found, Saturated):
                return found
            await asyncio.sleep(_LOOK_EVERY_S)
        return self._pool.pick_at(name, want, walk)

    async def home(self, conversation: Conversation) -> str | None:
        """The alias of the credential a conversation belongs to, as far as other processes know."""
        return None if self._homes is None else await self._homes.home(conversation)

    async def permitted(self, lease: Lease, walk: Walk) -> bool:
        """Whether other processes leave this lease to us; else it has been taken back, and another may be had."""
        if self._permission is None:
            return True
        try:
            settled = await self._permission.given(lease, walk)
        except BaseException:
            self.end(lease, Abandoned())
            raise
        if settled is not None:
            self.carry_out(settled)
        return settled is None

    async def give_back(self, lease: Lease, outcome: Outcome) -> None:
        """End a lease, wake whoever gets its place, and have what changed written down before anyone is told."""
        settled = self._pool.settle(lease, outcome)
        if self._permission is not None:
            self._permission.ended(lease)
        self._grant(settled)
        if settled.changes:
            await self._journal.write(settled.changes)

    def answered(self, lease: Lease) -> None:
        """The first real event came: a trial has passed, long before its answer ends."""
        if lease.trial:
            self.carry_out(self._pool.answered(lease))

    def end(self, lease: Lease, outcome: Outcome) -> None:
        """End a lease when nobody is left to wait for its record to be written."""
        settled = self._pool.settle(lease, outcome)
        if self._permission is not None:
            self._permission.ended(lease)
        self.carry_out(settled)

    async def hear(self) -> None:
        """Know all that other processes have told so far, as an order goes by what is so, and not by what was.

        Raises StoreError where that cannot be known.
        """
        await self._journal.hear()

    async def order(self, settled: Settled) -> None:
        """Carry out what an operator changed: whoever waits is served, and the change is on disk when this returns.

        Raises StoreError where it cannot be kept.
        """
        self._grant(settled)
        await self._journal.keep(settled.changes)

    async def sweep_for_ever(self) -> None:
        """Once a second, let passed deadlines take effect."""
        while True:
            await asyncio.sleep(_SWEEP_EVERY_S)
            settled = self._pool.sweep()
            self._grant(settled)
            if settled.changes:
                await self._journal.write(settled.changes)

    def carry_out(self, settled: Settled) -> None:
        """Wake whoever got a place by a change of the pool, and have it written down soon."""
        self._grant(settled)
        if settled.changes:
            detach(self._journal.write(settled.changes), name="write health")

    def _grant(self, settled: Settled) -> None:
        for ticket, lease in settled.grants:
            future = self._waiting.pop(ticket, None)
            if future is None or future.done():
                self.end(lease, Abandoned())
            else:
                future.set_result(lease)
        for ticket, exhausted in settled.hopeless:
            future = self._waiting.pop(ticket, None)
            if future is not None and not future.done():
                future.set_result(exhausted)

    async def wait(self, want: Want, walk: Walk, watch: Watch) -> Lease | Exhausted:
        """A lease after a bounded wait, or why none can come any more.

        Raises GatewayError when the queue or its time is full.
        """
        ticket = self._join(want, walk)
        if ticket is None:
            return self._last_chance(want, walk)
        future: _Place = asyncio.get_running_loop().create_future()
        self._waiting[ticket] = future
        try:
            found = await watch.within(self._policy.queue_wait_s, future)
            return self._last_chance(want, walk) if found is None else found
        except TimeoutError:
            return self._last_look(ticket, future)
        except asyncio.CancelledError:
            self._leave(ticket, future)
            raise

    def _join(self, want: Want, walk: Walk) -> Ticket | None:
        """A place in the queue. None where it is full, even of those who should make room."""
        ticket = self._pool.enqueue(want, walk)
        if ticket is None:
            # a deadline that has passed since the last sweep may have made room
            self.carry_out(self._pool.sweep())
            ticket = self._pool.enqueue(want, walk)
        if ticket is None and (crowded_out := self._pool.crowd_out(want.client)) is not None:
            future = self._waiting.pop(crowded_out, None)
            if future is not None and not future.done():
                future.set_result(None)
            ticket = self._pool.enqueue(want, walk)
        return ticket

    def _last_look(self, ticket: Ticket, future: _Place) -> Lease | Exhausted:
        """The longest wait is over. Raises GatewayError when there is no place even now.

        A deadline that passed since the last sweep may have made one, which belongs to whoever waits longest.
        """
        if future.cancelled():
            future = self._waiting[ticket] = asyncio.get_running_loop().create_future()
            self.carry_out(self._pool.sweep())
        if future.done() and (found := future.result()) is not None:
            return found
        self._leave(ticket, future)
        return self._last_chance(ticket.want, ticket.walk)

    def _last_chance(self, want: Want, walk: Walk) -> Lease | Exhausted:
        """Where waiting was in vain, or there is no room for it, a place that is not the best will do.

        It may be in a later tier, or at a credential that failed this request before. Raises GatewayError when there
        is none.
        """
        found = self._pool.pick(want, walk, spill=True)
        if isinstance(found, Saturated):
            raise answers.queue_full()
        return found

    def _leave(self, ticket: Ticket, future: _Place) -> None:
        """Give up waiting; a place granted in the same moment goes to the next."""
        self._waiting.pop(ticket, None)
        if future.done() and not future.cancelled():
            if isinstance(found := future.result(), Lease):
                self.end(found, Abandoned())
        else:
            self._pool.withdraw(ticket)
