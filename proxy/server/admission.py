"""Everything that decides whether a request may begin, made in one place."""

from collections.abc import Coroutine
from dataclasses import dataclass

from proxy.access import Ask, Desk, Grant, Guesses, Keys, Limiter, Logins, Rules, StoredKeys
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
        limiter: how much clients have asked; nothing is counted for those whom nothing limits.
        shared_limiter: the same over all processes, in place of the other; None where there is but one.
        budgets: what they have spent.
        guesses: who presents wrong keys.
        logins: of administrators at the dashboard.
        addresses: where requests come from.
        cors: which web pages may call; None where none may.
    """

    desk: Desk
    limiter: Limiter
    budgets: Budgets
    guesses: Guesses
    logins: Logins
    addresses: Addresses
    cors: Cors | None
    shared_limiter: SharedLimiter | None = None

    def admit(self, client: str, rules: Rules, ask: Ask) -> Grant | Coroutine[None, None, Grant]:
        """Reserve for a request that is to begin: at once, or by what is to be awaited where other processes are asked.

        Raises what `Limiter.admit` raises, or has it raised by what is awaited.
        """
        if self.shared_limiter is not None:
            return self.shared_limiter.admit(client, rules, ask)
        return self.limiter.admit(client, rules, ask)

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
    shared = None
    if counters is not None:
        shared = SharedLimiter(counters, alone, budgets=budgets, pricing=pricing, limits=limits)
    return Admission(
        desk=Desk(StoredKeys(store, keys.clients, clock, limits), store, clock, keys.secret_key),
        limiter=alone,
        shared_limiter=shared,
        budgets=budgets,
        guesses=Guesses(
            clock, per_minute=limits.wrong_keys_per_minute, longest_block_s=limits.wrong_keys_block_s
        ),
        logins=Logins(keys.login_key(), clock),
        addresses=Addresses(limits.trusted_proxies),
        cors=Cors(limits.cors_origins) if limits.cors_origins else None,
    )
