"""Everything that decides whether a request may begin, made in one place."""

from collections.abc import Callable
from dataclasses import dataclass

from proxy.access import Ask, Desk, Grant, Guesses, Keys, Limiter, Logins, Reservation, Rules, StoredKeys
from proxy.access.budgets import Budgets
from proxy.access.shared_limits import SharedLimiter
from proxy.clock import Clock
from proxy.model.pricing import Pricing
from proxy.server.addresses import Addresses
from proxy.server.cors import Cors
from proxy.settings import LimitSettings
from proxy.store.access import AccessStore
from proxy.store.shared import SharedCounters


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Who may come in, and how much they may.

    Attributes:
        desk: what an administrator orders about clients.
        admit: reserves for a request that is to begin: at once, or by asking all processes. Raises what `Limiter.admit`
            raises, or has it raised when that is confirmed.
        limiter: how much clients have asked here; nothing is counted for those whom nothing limits.
        budgets: what they have spent.
        guesses: who presents wrong keys.
        logins: of administrators at the dashboard.
        addresses: where requests come from.
        cors: which web pages may call; None where none may.
    """

    desk: Desk
    admit: Callable[[str, Rules, Ask], Grant | Reservation]
    limiter: Limiter
    budgets: Budgets
    guesses: Guesses
    logins: Logins
    addresses: Addresses
    cors: Cors | None

    async def restore(self) -> None:
        """Take over what was kept before the start. Raises StoreError."""
        await self.desk.stored.load()
        await self.budgets.restore()


def make_admission(
    keys: Keys,
    limits: LimitSettings,
    store: AccessStore,
    clock: Clock,
    pricing: Pricing,
    counters: SharedCounters | None = None,
) -> Admission:
    """All of it; to be restored before the first request. `counters` are those of all processes, if there are more."""
    budgets = Budgets(store, clock)
    alone = Limiter(clock, budgets, pricing, limits)
    admit: Callable[[str, Rules, Ask], Grant | Reservation] = alone.admit
    if counters is not None:
        admit = SharedLimiter(counters, alone, budgets=budgets, pricing=pricing, limits=limits).admit
    return Admission(
        desk=Desk(StoredKeys(store, keys.clients, clock, limits), store, clock, keys.secret_key),
        admit=admit,
        limiter=alone,
        budgets=budgets,
        guesses=Guesses(
            clock, per_minute=limits.wrong_keys_per_minute, longest_block_s=limits.wrong_keys_block_s
        ),
        logins=Logins(keys.login_key(), clock),
        addresses=Addresses(limits.trusted_proxies),
        cors=Cors(limits.cors_origins) if limits.cors_origins else None,
    )
