"""Changes of health, written down before anyone is told of them."""

import asyncio
from collections.abc import Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace

from proxy.clock import Clock
from proxy.log import get_logger
from proxy.pool import HealthChange, Reason, State
from proxy.store.base import HealthLedger, HealthRow, StoreError
from proxy.store.shared import SharedHealth
from proxy.tasks import detach

_log = get_logger("journal")
_SHORT_COOLING_MS = 30_000


class Journal:
    """Saves what must survive a restart, and tells the log of every change.

    Attributes:
        share: where other processes are told; None where there are none.
    """

    def __init__(self, store: HealthLedger, clock: Clock, fingerprints: Mapping[str, str]) -> None:
        """`fingerprints` are those of the credentials, by alias: health follows the key, not the name."""
        self.share: SharedHealth | None = None
        self._store = store
        self._clock = clock
        self._fingerprints = fingerprints
        self._noted: dict[tuple[str, str, str], HealthRow] = {}
        self._saving = asyncio.Lock()

    async def restored(self, fingerprints: Mapping[str, str] | None = None) -> tuple[HealthChange, ...]:
        """What was saved about the credentials there are now, or about others; rows in unknown words are left out.

        Raises StoreError.
        """
        followed = self._fingerprints if fingerprints is None else fingerprints
        names = {fingerprint: name for name, fingerprint in followed.items()}
        rows = list(await self._store.load_health())
        if self.share is not None:
            told = {
                (row.fingerprint, row.limit_class, row.model) for row in self.share.rows if not row.way_out
            }
            rows = [row for row in rows if (row.fingerprint, row.limit_class, row.model) not in told]
            rows += self.share.rows
        found = (_change(row, names[row.fingerprint]) for row in rows if row.fingerprint in names)
        return tuple(change for change in found if change is not None)

    @property
    def fingerprints(self) -> Mapping[str, str]:
        """Those of the credentials there are now, by alias."""
        return self._fingerprints

    def follow(self, fingerprints: Mapping[str, str]) -> frozenset[str]:
        """Write under these fingerprints from now on. Returns those that are no longer anybody's."""
        gone = frozenset(self._fingerprints.values()) - frozenset(fingerprints.values())
        self._fingerprints = fingerprints
        return gone

    async def forget(self, fingerprints: Collection[str]) -> None:
        """Drop what was saved about these. A store that cannot is reported."""
        if not fingerprints:
            return
        try:
            await self._store.forget_health(fingerprints)
        except StoreError as error:
            _log.error("health not forgotten", problem=str(error))

    def write(self, changes: Sequence[HealthChange]) -> Coroutine[None, None, None]:
        """Record changes; those that last are on disk when this has been awaited, short ones soon after.

        Whose they are, and their order, is settled by the call itself: an alias may be another key a moment later.
        A store that cannot write is reported and costs no client its answer.
        """
        self._note(changes)
        return self._written(lasting=any(change.durable and self._lasts(change) for change in changes))

    async def keep(self, changes: Sequence[HealthChange]) -> None:
        """Record what an operator ordered: it and all before it are on disk when this returns.

        Raises StoreError where that fails; the next call tries again, though it may bring no changes of its own.
        """
        self._note(changes)
        await self._save_noted()
        if self.share is not None:
            await self.share.flush()

    async def hear(self) -> None:
        """Have taken over what other processes have told so far. Raises StoreError."""
        if self.share is not None:
            await self.share.sync()

    def heard(self, rows: Iterable[HealthRow]) -> tuple[HealthChange, ...]:
        """Record what other processes tell of the credentials there are here; gives it as changes.

        It is saved like a change of our own, so that it outlives their end.
        """
        names = {fingerprint: name for name, fingerprint in self._fingerprints.items()}
        found = (_change(row, names[row.fingerprint]) for row in rows if row.fingerprint in names)
        changes = tuple(
            replace(change, durable=change.model is None and not change.way_out)
            for change in found
            if change is not None
        )
        self._note(changes, shared=False)
        if self._noted:
            detach(self._save(), name="save health of others")
        return changes

    def _note(self, changes: Sequence[HealthChange], *, shared: bool = True) -> None:
        """Tell the log, and put the rows down for the next save, in which only the latest of a thing counts.

        `shared` says that other processes are to be told too.
        """
        for change in changes:
            _log.warning(
                "credential changed state",
                credential=change.name,
                limit_class=change.limit_class or None,
                model=change.model,
                state=change.state.value,
                reason=change.reason.value if change.reason is not None else None,
                cause=change.cause or None,
                until_unix_ms=change.until_unix_ms,
            )
            if change.durable:
                row = self._row(change)
                self._noted[row.fingerprint, row.limit_class, row.model] = row
            if self.share is not None and shared and change.shared:
                self.share.put(self._row(change))

    def _lasts(self, change: HealthChange) -> bool:
        until_ms = change.until_unix_ms
        return change.state is State.DISABLED or (
            until_ms is not None and until_ms - self._clock.unix_ms() > _SHORT_COOLING_MS
        )

    async def _written(self, *, lasting: bool) -> None:
        if lasting:
            await self._save()
        elif self._noted:
            detach(self._save(), name="save passing health")

    async def _save(self) -> None:
        try:
            await self._save_noted()
        except StoreError as error:
            _log.error("health not saved", problem=str(error))

    async def _save_noted(self) -> None:
        # one at a time, so that what another one has taken is on disk before anybody goes on without it
        async with self._saving:
            if not self._noted:
                return
            noted, self._noted = self._noted, {}
            # what was forgotten meanwhile stays forgotten
            known = frozenset(self._fingerprints.values())
            try:
                await self._store.save_health(
                    tuple(row for row in noted.values() if row.fingerprint in known)
                )
            except StoreError:
                self._noted = noted | self._noted
                raise

    def _row(self, change: HealthChange) -> HealthRow:
        return HealthRow(
            fingerprint=self._fingerprints[change.name],
            limit_class=change.limit_class,
            model=change.model or "",
            state=change.state.value,
            reason=change.reason.value if change.reason is not None else "",
            cause=change.cause,
            since_unix_ms=change.since_unix_ms,
            until_unix_ms=change.until_unix_ms,
            rung=change.rung,
            way_out=change.way_out,
        )


def _change(row: HealthRow, name: str) -> HealthChange | None:
    try:
        state, reason = State(row.state), Reason(row.reason) if row.reason else None
    except ValueError:
        return None
    return HealthChange(
        name=name,
        limit_class=row.limit_class,
        model=row.model or None,
        state=state,
        reason=reason,
        cause=row.cause,
        since_unix_ms=row.since_unix_ms,
        until_unix_ms=row.until_unix_ms,
        rung=row.rung,
        way_out=row.way_out,
    )
