"""Limits that several processes keep together; while they cannot, each keeps to its share of them."""

import asyncio
import itertools
import math
import secrets
from operator import itemgetter
from typing import Final, assert_never

import msgspec

from proxy.access.budgets import Budgets
from proxy.access.limits import Ask, Grant, Limiter, counted_tokens, reserved_micro_usd, settled_before
from proxy.access.meters import Limits, limits_of
from proxy.access.refusals import (
    budget_reserved,
    budget_spent,
    concurrency_reached,
    fields_begin,
    fields_end,
    requests_reached,
    tokens_reached,
    too_many_tokens,
)
from proxy.access.rules import Rules
from proxy.access.windows import WINDOW_S, wait_s
from proxy.errors import GatewayError
from proxy.model.message import Usage
from proxy.model.pricing import Pricing
from proxy.settings import LimitSettings
from proxy.store.base import StoreError
from proxy.store.shared import Counted, Refusal, SharedCounters, Taken, WindowCount

_NAME_BYTES: Final = 9
_LEFT: Final = itemgetter(0)
_NOTHING_USED: Final = Usage()


class SharedLimiter:
    """The counters of all processes together."""

    def __init__(
        self,
        counters: SharedCounters,
        alone: Limiter,
        *,
        budgets: Budgets,
        pricing: Pricing,
        limits: LimitSettings,
    ) -> None:
        """`alone` counts while nobody can tell what the others let in."""
        self._counters = counters
        self._alone = alone
        self._budgets = budgets
        self._pricing = pricing
        self._server = limits
        self._left: dict[str, int] = {}
        self._limits: dict[str, tuple[Rules, Limits]] = {}
        # no other process gives a request the same name
        self._name = secrets.token_urlsafe(_NAME_BYTES)
        self._numbers = itertools.count()
        budgets.tell = counters.spent

    def admit(self, client: str, rules: Rules, ask: Ask) -> "Grant | Reservation":
        """Begin to reserve for a request that is to begin, from all limits or from none.

        Raises what `Limiter.admit` raises, or has it raised by what is returned.
        """
        counted = self._counted(client, rules, ask)
        try:
            taking = self._counters.take(counted)
        except StoreError:
            return self.admit_alone(client, rules, ask)
        return Reservation(self, taking, counted, rules, ask)

    def admit_alone(self, client: str, rules: Rules, ask: Ask) -> Grant:
        """See `Limiter.admit`; for who cannot be told what all processes let in."""
        share = self._alone.share = self._counters.share
        return self._alone.admit(client, self._rules_alone(client, rules, share), ask)

    def confirm(self, counted: Counted, rules: Rules, ask: Ask, taken: Taken) -> Grant:
        """Leave for what all processes together have let in. Raises what `Limiter.admit` raises."""
        client = counted.client
        self._alone.share = self._counters.share
        if rules.budget_micro_usd is not None:
            self._left[client] = taken.left_micro_usd
        if (refusal := self._refusal(counted, rules, taken)) is not None:
            raise refusal
        grant = _SharedGrant(True, self, counted, rules, taken)
        asyncio.get_running_loop().call_soon(self._afterwards, client, rules, ask, grant)
        return grant

    def _afterwards(self, client: str, rules: Rules, ask: Ask, grant: "_SharedGrant") -> None:
        """What else there is to do for a request that was let in, in a moment when its upstream is waited for."""
        self._alone.note(client, rules, ask)
        grant.spell()

    def _counted(self, client: str, rules: Rules, ask: Ask) -> Counted:
        known = self._limits.get(client)
        if known is None or known[0] is not rules:
            known = self._limits[client] = rules, limits_of(client, rules, self._server)
        limits, budget = known[1], rules.budget_micro_usd
        return Counted(
            nonce=f"{self._name}{next(self._numbers):x}",
            client=client,
            requests=limits.requests,
            tokens=limits.tokens if ask.tokens else (),
            asked_tokens=ask.tokens,
            concurrency=rules.concurrency,
            budget_micro_usd=budget,
            period="" if budget is None else self._budgets.period_name(client, rules),
            reserved_micro_usd=reserved_micro_usd(self._pricing, rules, ask),
        )

    def _rules_alone(self, client: str, rules: Rules, share: int) -> Rules:
        """The same with as much of the budget as this process may spend of what was left when that was last known."""
        budget = rules.budget_micro_usd
        if budget is None:
            return rules
        own = self._budgets.spent(client, rules)
        known = self._left.get(client, max(budget - own, 0))
        return msgspec.structs.replace(rules, budget_micro_usd=min(own + known // share, budget))

    def _refusal(self, counted: Counted, rules: Rules, taken: Taken) -> GatewayError | None:
        refusal, position = taken.refusal, taken.position
        match refusal:
            case Refusal.NONE:
                return None
            case Refusal.CONCURRENCY:
                return concurrency_reached(counted.concurrency or 0, _fields(counted, taken))
            case Refusal.RESERVED:
                return budget_reserved()
            case Refusal.BUDGET:
                return budget_spent(rules, self._budgets.next_period_s(counted.client, rules))
            case Refusal.TOO_LARGE:
                return too_many_tokens(counted.asked_tokens, *counted.tokens[position])
            case Refusal.TOKENS:
                (name, limit), bucket = counted.tokens[position], taken.tokens[position]
                room = max(limit - counted.asked_tokens, 0)
                after_s = wait_s(bucket.current, bucket.previous, taken.fraction, room)
                return tokens_reached(name, limit, after_s, _fields(counted, taken))
            case Refusal.REQUESTS:
                name, limit = counted.requests[position]
                whole_in_s = _whole_in_s(taken.requests[position])
                return requests_reached(name, limit, whole_in_s, _fields(counted, taken))
            case _:
                assert_never(refusal)

    def settle(
        self, counted: Counted, rules: Rules, taken: Taken, model: str, used: Usage, *, partial: bool
    ) -> None:
        """A request has ended that all processes together have let in."""
        least = counted.asked_tokens if partial else 0
        more = max(counted_tokens(used), least) - counted.asked_tokens
        if rules.budget_micro_usd is not None:
            cost = self._pricing.assumed_micro_usd(model, used)
            least = counted.reserved_micro_usd if partial else 0
            self._budgets.settle(counted.client, rules, 0, max(cost, least))
            account = self._budgets.account(counted.client, rules)
            self._counters.spent(counted.client, account.name, account.spent)
        self._counters.settle(counted, taken.bucket, more)

    def give_back(self, counted: Counted, taken: Taken) -> None:
        """A request that all processes together have let in will not run."""
        if taken.refusal is Refusal.NONE:
            self._counters.settle(counted, taken.bucket, -counted.asked_tokens)


class Reservation:
    """What all processes together are being asked for, for one request.

    Who gets one either has it confirmed, once, or abandons it.
    """

    __slots__ = ("_ask", "_counted", "_limiter", "_rules", "_taking")

    def __init__(
        self,
        limiter: SharedLimiter,
        taking: "asyncio.Future[Taken]",
        counted: Counted,
        rules: Rules,
        ask: Ask,
    ) -> None:
        self._limiter = limiter
        self._taking: asyncio.Future[Taken] | None = taking
        self._counted = counted
        self._rules = rules
        self._ask = ask

    async def confirmed(self) -> Grant:
        """Wait for the answer. Raises what `Limiter.admit` raises; a wait that is cancelled abandons it."""
        if self._taking is None:
            raise RuntimeError("a reservation was confirmed or abandoned before")
        try:
            taken = await self._taking
        except StoreError:
            self._taking = None
            return self._limiter.admit_alone(self._counted.client, self._rules, self._ask)
        except asyncio.CancelledError:
            # it may have come in the same moment
            self.abandon()
            raise
        self._taking = None
        return self._limiter.confirm(self._counted, self._rules, self._ask, taken)

    def abandon(self) -> None:
        """Give back what was reserved and not confirmed, whether the answer has come or not; safe at any time."""
        taking, self._taking = self._taking, None
        if taking is None or taking.cancel() or taking.cancelled() or taking.exception() is not None:
            return
        self._limiter.give_back(self._counted, taking.result())


class _SharedGrant(Grant, gc=False):
    """Leave by the counters of all processes."""

    _limiter: SharedLimiter
    _counted: Counted
    _rules: Rules
    _taken: Taken
    _spelled: str | None = None

    @property
    def fields(self) -> str:
        """See `Grant.fields`."""
        return self.spell() if self._spelled is None else self._spelled

    def spell(self) -> str:
        """Put `fields` into words."""
        spelled = self._spelled = _fields(self._counted, self._taken)
        return spelled

    def settle(
        self,
        model: str,
        usage: Usage | None,
        partial: bool,
        at_unix_ms: int | None = None,  # noqa: ARG002 - what is shared goes by the clock of Redis
    ) -> None:
        """See `Grant.settle`."""
        if not self.unsettled:
            raise settled_before()
        self.unsettled = False
        used = usage or _NOTHING_USED
        self._limiter.settle(self._counted, self._rules, self._taken, model, used, partial=partial)


def _fields(counted: Counted, taken: Taken) -> str:
    """Of each sort the limit with the least left, as lines of an answer's head."""
    fields = ""
    if counted.requests:
        windows = zip(counted.requests, taken.requests, strict=True)
        left, limit, window = min(
            [(limit - each.count, limit, each) for (_, limit), each in windows], key=_LEFT
        )
        end = fields_end(_whole_in_s(window), "requests")
        fields = f"{fields_begin(limit, 'requests')}{max(left, 0)}{end}"
    if counted.tokens:
        buckets = zip(counted.tokens, taken.tokens, strict=True)
        unspent, limit, bucket = min(
            [(limit - each.used(taken.fraction), limit, each) for (_, limit), each in buckets], key=_LEFT
        )
        whole_in_s = wait_s(bucket.current, bucket.previous, taken.fraction, 0) if unspent < limit else 0.0
        end = fields_end(whole_in_s, "tokens")
        fields += f"{fields_begin(limit, 'tokens')}{max(math.floor(unspent), 0)}{end}"
    return fields


def _whole_in_s(window: WindowCount) -> float:
    return max(WINDOW_S - window.oldest_s, 0.0) if window.count else 0.0
