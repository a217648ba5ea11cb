"""One call about files or batches: one place at one credential, one attempt, and what its end means.

Nothing is tried again here: an upload's bytes are gone once they were sent, and whatever else is asked belongs to one
credential alone.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from proxy.clock import Clock
from proxy.dispatch import answers
from proxy.dispatch.places import Places
from proxy.dispatch.trace import FailedAttempt, Trace
from proxy.errors import GatewayError
from proxy.pool import (
    Abandoned,
    Exhausted,
    Failed,
    Failure,
    FailureClass,
    Fault,
    Lease,
    Outcome,
    Pool,
    RetryBudget,
    Success,
    Walk,
    Want,
    about_object,
    after_commit,
    classify,
    classify_fault,
)
from proxy.settings import Policy
from proxy.upstreams.anthropic_objects import AnthropicObjects, ObjectCall
from proxy.upstreams.base import Source, UpstreamFault, UpstreamRefused
from proxy.upstreams.reply import HttpReply
from proxy.watch import Watch

_ANOTHER_MAY_TAKE_IT: Final = frozenset(
    {
        FailureClass.RATE,
        FailureClass.BILLING,
        FailureClass.AUTH,
        FailureClass.AUTH_DEAD,
        FailureClass.PERMISSION,
        FailureClass.CHALLENGE,
        FailureClass.ENDPOINT,
    }
)


class Body(Protocol):
    """What a client sends, on its way through."""

    @property
    def problem(self) -> GatewayError | None:
        """Why it cannot go on, where that is the client's doing."""
        ...

    def pieces(self, credential: str, taken: asyncio.Timeout) -> AsyncIterator[bytes]:
        """The body as it comes, for the credential of this alias. Raises where it cannot go on.

        `taken` is put off with each piece: it ends the call when the upstream takes none for long.
        """
        ...


class ObjectOpened(msgspec.Struct, frozen=True):
    """An answer whose head has come; to be ended by `ObjectCalls.end` or `ObjectCalls.read`."""

    lease: Lease
    reply: HttpReply


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks for what.

    Attributes:
        call: what goes out.
        client: the name of the client key.
        owner: alias of the credential that holds the object; None where any may be asked.
        rather: alias of a credential that is to be asked rather than others; None for none.
        only: aliases of the credentials the client key may use; empty for all.
        body: what the client sends along.
    """

    call: ObjectCall
    client: str
    owner: str | None = None
    rather: str | None = None
    only: frozenset[str] = frozenset()
    body: Body | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectCalls:
    """Calls about objects, by way of the pool.

    Attributes:
        pool: who is asked.
        places: how its leases are waited for.
        upstream: how they are asked.
        policy: the numbers.
        clock: the time.
        rng: jitter.
        budget: the retry budget of the process, which nothing here draws on.
    """

    pool: Pool
    places: Places
    upstream: AnthropicObjects
    policy: Policy
    clock: Clock
    rng: random.Random
    budget: RetryBudget

    async def open(self, asked: Asked, trace: Trace, watch: Watch) -> ObjectOpened:
        """Make the call. Raises GatewayError; the lease has been given back then, as on cancellation."""
        lease = await self._lease(asked, watch)
        trace.credential = lease.name
        trace.attempts += 1
        trace.began_s = self.clock.monotonic_s()
        try:
            reply = await self._opened(asked, lease, watch)
        except UpstreamRefused as refused:
            failure = about_object(classify(refused.error, now_unix_ms=self.clock.unix_ms()))
            source = refused.source
        except UpstreamFault as fault:
            failure, source = classify_fault(fault.fault), Source()
        except BaseException:
            self.places.end(lease, Abandoned())
            raise
        else:
            self._learn(lease, reply.source)
            self.places.answered(lease)
            trace.upstream_request_id = reply.source.request_id
            trace.first_event_s = self.clock.monotonic_s()
            return ObjectOpened(lease, reply)
        if asked.body is not None and failure.status == 0 and (problem := asked.body.problem) is not None:
            # it was the client who broke off
            self.places.end(lease, Abandoned())
            raise problem
        failure = answers.scrubbed(failure, source)
        self._learn(lease, source)
        trace.upstream_request_id = source.request_id
        self._remember(trace, failure)
        await self.places.give_back(lease, Failed(failure))
        raise _shown(failure, asked)

    async def read(self, opened: ObjectOpened, trace: Trace, watch: Watch) -> bytes:
        """The whole of a JSON answer; ends the call. Raises GatewayError."""
        outcome: Outcome = Abandoned()
        try:
            body = await opened.reply.read_all(watch, self.policy.unary_timeout_s)
        except UpstreamFault as fault:
            failure = classify_fault(fault.fault)
            outcome = Failed(failure)
            self._remember(trace, failure)
            raise answers.failed(failure, model="") from None
        else:
            outcome = Success()
            return body
        finally:
            self.end(opened, outcome)

    def end(self, opened: ObjectOpened, outcome: Outcome) -> None:
        """Close the call behind an answer, and give its place back."""
        opened.reply.close()
        if isinstance(outcome, Failed):
            outcome = Failed(after_commit(outcome.failure))
        self.places.end(opened.lease, outcome)

    async def _lease(self, asked: Asked, watch: Watch) -> Lease:
        kind = asked.call.operation
        want = Want(kind, kind, asked.client, asked.owner, asked.only)
        due_s = self.clock.monotonic_s() + self.policy.deadline_s
        walk = Walk(self.policy, self.clock, self.budget, due_s, self.rng)
        if asked.rather is not None:
            preferred = await self.places.take_at(asked.rather, want, walk)
            if isinstance(preferred, Lease) and await self.places.permitted(preferred, walk):
                return preferred
        found = self.places.take(want, walk) or await self.places.wait(want, walk, watch)
        while isinstance(found, Lease) and not await self.places.permitted(found, walk):
            found = self.places.take(want, walk) or await self.places.wait(want, walk, watch)
        if isinstance(found, Exhausted):
            if not self.pool.sorts(want).anybody:
                self._check_anybody(asked, want)
            raise answers.owner_out(found, None, model="") if asked.owner else _nobody(found)
        return found

    def _check_anybody(self, asked: Asked, want: Want) -> None:
        """Raises GatewayError where it is not for the moment that nobody can be asked."""
        anyones = msgspec.structs.replace(want, only=frozenset())
        if asked.only and self.pool.sorts(anyones).anybody:
            raise answers.no_credential_allowed()
        if asked.owner is None:
            raise answers.nobody_keeps(f"/{asked.call.path}")

    async def _opened(self, asked: Asked, lease: Lease, watch: Watch) -> HttpReply:
        """Send the call. There is a limit on each piece of a body, and one on the whole of it."""
        call, body, policy = asked.call, asked.body, self.policy
        if body is None:
            return await self.upstream.open(call, lease.credential, watch, policy.unary_timeout_s)
        try:
            async with asyncio.timeout(policy.unary_timeout_s) as taken:
                pieces = body.pieces(lease.name, taken)
                return await self.upstream.open(call, lease.credential, watch, policy.stream_wall_s, pieces)
        except TimeoutError:
            raise UpstreamFault(Fault.HEADERS_TIMEOUT) from None

    def _learn(self, lease: Lease, source: Source) -> None:
        self.pool.learn(lease, source.organization, source.workspace, source.limits)

    def _remember(self, trace: Trace, failure: Failure) -> None:
        took_ms = round((self.clock.monotonic_s() - trace.began_s) * 1000, 1)
        trace.failed.append(
            FailedAttempt(trace.credential, failure.cls.value, failure.status, trace.began_s, took_ms)
        )


def _nobody(found: Exhausted) -> GatewayError:
    error = answers.owner_out(found, None, model="")
    return answers.replace_message(error, "No credential can take this now.")


def _shown(failure: Failure, asked: Asked) -> GatewayError:
    if failure.cls not in _ANOTHER_MAY_TAKE_IT:
        return answers.failed(failure, model="")
    if asked.owner is None:
        return answers.send_again()
    return answers.owner_failed(failure)
