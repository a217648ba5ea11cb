"""Everything that decides whether a request may begin, made in one place."""

from dataclasses import dataclass

from proxy.access import Desk, Guesses, Keys, Limiter, Logins, StoredKeys
from proxy.access.budgets import Budgets
from proxy.clock import Clock
from proxy.model.pricing import Pricing
from proxy.server.addresses import Addresses
from proxy.server.cors import Cors
from proxy.settings import LimitSettings
from proxy.store.access import AccessStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Who may come in, and how much they may.

    Attributes:
        desk: what an administrator orders about clients.
        limiter: how much clients have asked; nothing is counted for those whom nothing limits.
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

    async def restore(self) -> None:
        """Take over what was kept before the start. Raises StoreError."""
        await self.desk.stored.load()
        await self.budgets.restore()


def make_admission(
    keys: Keys, limits: LimitSettings, store: AccessStore, clock: Clock, pricing: Pricing
) -> Admission:
    """All of it; to be restored before the first request."""
    budgets = Budgets(store, clock)
    return Admission(
        desk=Desk(StoredKeys(store, keys.clients, clock, limits), store, clock, keys.secret_key),
        limiter=Limiter(clock, budgets, pricing, limits),
        budgets=budgets,
        guesses=Guesses(
            clock, per_minute=limits.wrong_keys_per_minute, longest_block_s=limits.wrong_keys_block_s
        ),
        logins=Logins(keys.login_key(), clock),
        addresses=Addresses(limits.trusted_proxies),
        cors=Cors(limits.cors_origins) if limits.cors_origins else None,
    )
