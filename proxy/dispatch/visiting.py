"""Sessions that callers bring themselves: each request gets a pool of its own, with its caller's session alone in it.

Nothing of it is kept, and nothing of it meets the operator's pool: not its credentials, not what it remembers, not
the files and addresses it may read.
"""

import datetime
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final
from uuid import uuid4

from proxy.access import VISITOR, Presented, Told
from proxy.clock import Clock
from proxy.credentials import Credential, Kind
from proxy.dispatch.dispatcher import Dispatcher, Tools
from proxy.dispatch.journal import Journal
from proxy.dispatch.places import Places
from proxy.dispatch.thinking import ThinkingMemory
from proxy.log import get_logger
from proxy.model.catalog import Catalog
from proxy.model.names import ModelNames
from proxy.pool import Pool, Reason
from proxy.secrets import Secret
from proxy.settings import Policy, RequestDefaults
from proxy.store.passing import PassingStore
from proxy.upstreams.claude_web.upstream import ClaudeWeb, WebMeans
from proxy.upstreams.http import WaysOut

_log = get_logger("visiting")
_DELETE_WITHIN_S: Final = 10.0
_TOLD: Final[Mapping[Reason, Told]] = {
    Reason.BLOCKED: Told.CHALLENGE,
    Reason.AUTH: Told.DEAD,
    Reason.BILLING: Told.UNPAID,
    Reason.RATE_LIMIT: Told.LIMIT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Visiting:
    """How callers' own sessions are asked.

    Attributes:
        ways_out: connections, of these sessions alone.
        policy: the numbers.
        clock: the time.
        rng: jitter.
        catalog: what models can do.
        names: what model names mean; none stands in for another here.
        defaults: what the operator fills in where a client is silent.
        base_url: where the sessions are used.
        proxy: the way out to there; None for the direct one.
    """

    ways_out: WaysOut
    policy: Policy
    clock: Clock
    rng: random.Random
    catalog: Catalog
    names: ModelNames
    defaults: RequestDefaults
    base_url: str
    proxy: Secret | None

    def session_of(self, session: Presented) -> "VisitedSession":
        """A session, for one request."""
        return VisitedSession(self, session)

    def models(self) -> tuple[str, ...]:
        """Ids of the models a session may be asked for."""
        today = datetime.datetime.fromtimestamp(self.clock.unix_ms() / 1000, datetime.UTC).date()
        return tuple(self.catalog.known_ids(today))

    async def close(self) -> None:
        """Close every connection."""
        await self.ways_out.close()


class VisitedSession:
    """A caller's session for the time of one request.

    A plain fault is its answer: nothing is tried again but a connection that could not be made.

    Attributes:
        dispatcher: finds the answer.
    """

    def __init__(self, means: Visiting, session: Presented) -> None:
        credential = Credential(
            name=VISITOR,
            kind=Kind.CLAUDE_WEB,
            secret=session.cookie,
            base_url=means.base_url,
            max_concurrency=1,
            way_out=means.proxy,
            organization=session.organization,
        )
        policy, clock = replace(means.policy, retry_count=0), means.clock
        self._clock = clock
        self._kept = PassingStore()
        self._pool = Pool((credential,), policy=policy, clock=clock, rng=means.rng)
        self._web = ClaudeWeb(
            WebMeans(
                ways_out=means.ways_out,
                policy=policy,
                clock=clock,
                ledger=self._kept,
                fingerprint=lambda _: VISITOR,
                new_uuid=lambda: str(uuid4()),
            ),
            delete=True,
            credentials=(credential,),
        )
        journal = Journal(self._kept, clock, {VISITOR: VISITOR})
        self.dispatcher = Dispatcher(
            Tools(
                pool=self._pool,
                places=Places(self._pool, policy, journal),
                journal=journal,
                upstreams={Kind.CLAUDE_WEB: self._web},
                catalog=means.catalog,
                names=means.names,
                policy=policy,
                clock=clock,
                rng=means.rng,
                defaults=replace(means.defaults, web=replace(means.defaults.web, delete=True)),
                memory=ThinkingMemory(clock),
            )
        )

    def told_to_stop(self) -> tuple[Told, float | None] | None:
        """What the site told it that is to be minded, and for how many seconds; None where it told nothing."""
        (view,) = self._pool.snapshot()
        for state in (view.state, *view.classes.values()):
            if state.reason is not None and (told := _TOLD.get(state.reason)) is not None:
                if state.until_unix_ms is None:
                    return told, None
                return told, (state.until_unix_ms - self._clock.unix_ms()) / 1000
        return None

    async def end(self, request_id: str) -> None:
        """Delete what was made for the request, and forget the session. What cannot be deleted is its owner's to do."""
        try:
            await self._web.deletions.settle(within_s=_DELETE_WITHIN_S)
            for conversation in self._kept.owed:
                _log.warning(
                    "a conversation in a caller's own account was not deleted, and stays its owner's to delete",
                    request_id=request_id,
                    conversation=conversation,
                )
        finally:
            await self._web.close()
            await self.dispatcher.close()
