"""The one loop that decides whether something is tried again: pick, open, wait for something real, classify."""

import asyncio
import datetime
import random
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec

from proxy.clock import Clock
from proxy.credentials import Kind
from proxy.dialects.common import Demand
from proxy.dialects.conversation import short
from proxy.dialects.files import may_name_files
from proxy.dispatch import answers
from proxy.dispatch.attempt import Attempt, AttemptFailed, StreamOpened, UnaryOpened, judged
from proxy.dispatch.fitting import fitted
from proxy.dispatch.hold import Hold
from proxy.dispatch.journal import Journal
from proxy.dispatch.places import Places
from proxy.dispatch.preparations import NEEDS_BYTES, Preparations
from proxy.dispatch.prepare import Prepared
from proxy.dispatch.thinking import ThinkingMemory
from proxy.dispatch.trace import MODEL_MAX, FailedAttempt, Trace
from proxy.errors import GatewayError
from proxy.exchange import Exchange, Operation, turn_of_thread
from proxy.log import get_logger
from proxy.model.catalog import CLAUDE_CODE, Catalog
from proxy.model.names import ModelNames
from proxy.pool import (
    Abandoned,
    Again,
    Breakers,
    Exhausted,
    Failed,
    Failure,
    FailureClass,
    Lease,
    Outcome,
    Pool,
    RetryBudget,
    Stop,
    StopReason,
    Success,
    Walk,
    Want,
    about_object,
)
from proxy.settings import Policy, RequestDefaults
from proxy.upstreams.base import Source, Upstream
from proxy.upstreams.media import Media
from proxy.watch import Watch

_log = get_logger("dispatch")
# every look-up of a member in its class is a call
_MESSAGES: Final = Operation.MESSAGES
_OPENAI: Final = Kind.OPENAI
_SAME_UNDER_ANY_MODEL: Final = frozenset({FailureClass.REQUEST, FailureClass.CUT, FailureClass.UNKNOWN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What the dispatcher works with.

    Attributes:
        pool: who is asked.
        places: how its leases are waited for.
        journal: where changes of health are written.
        upstreams: how each kind is asked.
        catalog: what models can do.
        names: what model names mean, and which model stands in for which.
        policy: the numbers.
        clock: the time.
        rng: jitter.
        defaults: what the operator fills in where a client is silent.
        memory: the thinking of turns that called tools.
        media: images and documents that requests only name.
        policies: the numbers of kinds that have their own.
    """

    pool: Pool
    places: Places
    journal: Journal
    upstreams: Mapping[Kind, Upstream]
    catalog: Catalog
    names: ModelNames
    policy: Policy
    clock: Clock
    rng: random.Random
    defaults: RequestDefaults
    memory: ThinkingMemory
    media: Media = field(default_factory=Media)
    policies: Mapping[Kind, Policy] = field(default_factory=dict)


class _Question(msgspec.Struct, frozen=True):
    """One exchange on its way through the pool, with the memory of its attempts."""

    exchange: Exchange
    prepared: Preparations
    want: Want
    walk: Walk
    trace: Trace
    hold: Hold
    watch: Watch
    home: str | None
    spared_s: float


class _Unanswered(Exception):
    """No credential could answer for the model, and another model may.

    Attributes:
        shown: what the client is told where none does.
        walk: who was asked; None where nobody was.
    """

    def __init__(self, shown: GatewayError, walk: Walk | None) -> None:
        super().__init__(shown.message)
        self.shown = shown
        self.walk = walk


class Dispatcher:
    """Finds an answer for an exchange."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._budget = RetryBudget(tools.policy, tools.clock)
        self._breakers = Breakers(tools.policy, tools.clock, tools.rng)

    @property
    def budget(self) -> RetryBudget:
        """The retry budget of the process."""
        return self._budget

    async def open(
        self, exchange: Exchange, trace: Trace, hold: Hold, watch: Watch
    ) -> UnaryOpened | StreamOpened:
        """Ask credentials until one answers; the lease that comes with the answer is the caller's to end.

        Raises GatewayError when nobody can answer; every lease has been given back then, as on cancellation.
        """
        media = self._tools.media
        if media.reads_files and exchange.dialect.name != "anthropic":
            exchange.body = await media.inlined(exchange.body)
        try:
            return await self._ask(exchange, trace, hold, watch)
        except _Unanswered as nobody:
            return await self._instead(nobody, exchange, trace, hold, watch)

    async def _instead(
        self, nobody: _Unanswered, exchange: Exchange, trace: Trace, hold: Hold, watch: Watch
    ) -> UnaryOpened | StreamOpened:
        """Ask the models that stand in for the one nobody could answer for; its own story is told where none can."""
        tools, walk = self._tools, nobody.walk
        counting = exchange.operation is Operation.COUNT_TOKENS
        for model in () if counting else tools.names.instead_of(exchange.model):
            left_s = exchange.deadline_s - tools.clock.monotonic_s()
            if hold.committed or left_s < tools.policy.min_attempt_s:
                break
            if exchange.permits is not None and not exchange.permits(model):
                continue
            exchange.model, exchange.limit_class = model, tools.catalog.limit_class(model)
            try:
                return await self._ask(exchange, trace, hold, watch, earlier=walk)
            except _Unanswered as further:
                walk = further.walk or walk
            except GatewayError as error:
                _log.info("a model that was to stand in did not answer", model=model, problem=error.code)
        raise nobody.shown from None

    async def _ask(
        self, exchange: Exchange, trace: Trace, hold: Hold, watch: Watch, *, earlier: Walk | None = None
    ) -> UnaryOpened | StreamOpened:
        """Ask for one model. Raises _Unanswered where no credential could answer."""
        tools = self._tools
        want = Want(
            exchange.model, exchange.limit_class, exchange.client, exchange.owner, exchange.credentials
        )
        sorts = tools.pool.sorts(want)
        if sorts.kinds:
            want = await fitted(want, sorts.kinds, exchange, tools.catalog, tools.defaults, tools.media)
        prepared = Preparations(exchange, tools.catalog, tools.names, tools.defaults, tools.memory)
        made = prepared.first() if sorts.ordinary else None
        if exchange.leave is not None:
            await exchange.leave()
        if sorts.ordinary:
            trace.dropped = (made or await prepared.first_off_loop()).dropped
        spared_s = self._breakers.turned_away_s(exchange.limit_class)
        if spared_s > 0 and not sorts.fallback:
            raise _Unanswered(answers.overloaded(spared_s), earlier)
        if earlier is None:
            self._budget.on_request()
            walk = Walk(tools.policy, tools.clock, self._budget, exchange.deadline_s, tools.rng)
        else:
            walk = earlier.for_next_model()
        home = None
        if spared_s > 0:
            walk.spare_the_provider()
        elif exchange.continuing:
            home = tools.pool.affinity.preferred(exchange.conversation)
            if home is None and tools.places.shared:
                home = await tools.places.home(exchange.conversation)
        question = _Question(exchange, prepared, want, walk, trace, hold, watch, home, spared_s)
        opened = await self._answered(question)
        if isinstance(opened, UnaryOpened) and opened.lacks and self._may_ask_again(opened, question):
            return await self._ask_once_more(opened, opened.lacks, question)
        return opened

    def _may_ask_again(self, opened: UnaryOpened, question: "_Question") -> bool:
        """Whether the answer came to its end without what was demanded, and attempts, time and budget allow another."""
        if opened.stop_reason != "end_turn":
            return False
        policy = self._tools.policy
        left_s = question.exchange.deadline_s - self._tools.clock.monotonic_s()
        if question.trace.attempts > policy.retry_count or left_s < policy.min_attempt_s:
            return False
        return self._budget.try_spend()

    async def _ask_once_more(
        self, first: UnaryOpened, lacks: Demand, question: "_Question"
    ) -> UnaryOpened | StreamOpened:
        """Ask again for what is lacking; the first answer stands where there is no second one."""
        trace = question.trace
        self.end(first, Success())
        first.place_free = True
        answered = trace.credential, trace.model, trace.dropped, trace.observed
        trace.usage = first.usage
        self._remember(trace, lacks.value, 200)
        asked_once = len(trace.failed)
        try:
            return await self._answered(question)
        except (GatewayError, _Unanswered):
            trace.credential, trace.model, trace.dropped, trace.observed = answered
            # it is the answer after all, and is counted as that
            trace.failed[asked_once - 1] = replace(trace.failed[asked_once - 1], charge=None)
            return first

    async def _answered(self, question: "_Question") -> UnaryOpened | StreamOpened:
        tools = self._tools
        want, walk, hold, trace = question.want, question.walk, question.hold, question.trace
        while True:
            at_home = question.home is not None and not trace.attempts
            lease = None if at_home else tools.places.take(want, walk)
            if not isinstance(lease, Lease) or lease.credential.kind in NEEDS_BYTES or tools.places.shared:
                lease = await self._place(question, lease, at_home=at_home)
            if not isinstance(lease, Lease):
                raise _Unanswered(self._nobody(lease, question), walk)
            try:
                prepared = question.prepared.at_hand(lease) or await question.prepared.chosen(lease)
                try:
                    opened = await self._calling(question, lease, prepared)
                except AttemptFailed as failed:
                    opened = await self._called_plainly(failed, question, lease)
            except AttemptFailed as failed:
                failure = self._heard(failed, question, lease)
                # after the commit there is no retry, so none is paid for
                decision = None if hold.committed else walk.after(failure, lease)
            except BaseException:
                trace.left_s = tools.clock.monotonic_s()
                tools.places.end(lease, Abandoned())
                raise
            else:
                self._came(opened, question)
                return opened
            hold.attempt_ended()
            if failure.cls is not FailureClass.ENDPOINT:
                self._judge(lease, overloaded=failure.cls is FailureClass.OVERLOADED)
            self._remember(trace, failure.cls.value, failure.status)
            await tools.places.give_back(lease, Failed(failure))
            if decision is None:
                before = walk.last_failure if lease.member.fallback else None
                raise answers.failed(before or failure, model=want.model)
            await self._again(decision, failure, question)

    async def _place(
        self, question: "_Question", found: Lease | Exhausted | None, *, at_home: bool
    ) -> Lease | Exhausted:
        """A place for the next attempt. What a kind that fetches nothing cannot carry is taken to the others alone.

        `found` is what there was in turn; None where that has to be waited for, or is looked for `at_home` first.
        """
        places, want, walk = self._tools.places, question.want, question.walk
        while True:
            if at_home and question.home is not None:
                lease = await self._at_home(question.home, question)
            else:
                lease = found or await places.wait(want, walk, question.watch)
            if places.shared and isinstance(lease, Lease) and not await places.permitted(lease, walk):
                found = None if at_home else places.take(want, walk)
                continue
            if not isinstance(lease, Lease) or lease.credential.kind not in NEEDS_BYTES:
                return lease
            try:
                if await question.prepared.fits(lease, self._tools.media):
                    return lease
            except BaseException:
                places.end(lease, Abandoned())
                raise
            places.end(lease, Abandoned())
            walk.pass_over(lease)
            walk.leave_out(lease.credential.kind)
            found = None if at_home else places.take(want, walk)

    def _nobody(self, found: Exhausted, question: "_Question") -> GatewayError:
        """What the client is told when nobody is left to ask."""
        last = question.walk.last_failure
        unfit = question.prepared.unfit
        if unfit is not None and last is None:
            # whoever could have served it is not there, or rests
            return unfit if found.retry_after_s is None else answers.resting(found.retry_after_s)
        if question.spared_s > 0 and last is None:
            return answers.overloaded(question.spared_s)
        want, pool = question.want, self._tools.pool
        anyones = msgspec.structs.replace(want, only=frozenset())
        if want.only and not pool.sorts(want).anybody and pool.sorts(anyones).anybody:
            return answers.no_credential_allowed(want.model)
        if want.credential is not None:
            return answers.owner_out(found, last, model=want.model)
        return answers.exhausted(found, last, model=question.want.model, available=self.models())

    def _heard(self, failed: AttemptFailed, question: "_Question", lease: Lease) -> Failure:
        """What a failed call tells about its credential, and what it means."""
        self._learn(lease, failed.source)
        failure = answers.scrubbed(failed.failure, failed.source)
        if failure.cls is FailureClass.UNKNOWN and may_name_files(question.exchange.body):
            return about_object(failure)
        return failure

    def _learn(self, lease: Lease, source: Source) -> None:
        self._tools.pool.learn(lease, source.organization, source.workspace, source.limits)

    def _calling(
        self, question: "_Question", lease: Lease, prepared: Prepared
    ) -> Coroutine[None, None, UnaryOpened | StreamOpened]:
        """One call, to be awaited at once: it is in the trace as begun."""
        tools, trace = self._tools, question.trace
        trace.credential = lease.name
        trace.model = prepared.model[:MODEL_MAX]
        trace.dropped = prepared.dropped
        trace.attempts += 1
        trace.began_s = tools.clock.monotonic_s()
        kind, watch = lease.credential.kind, question.watch
        if (belongs := question.exchange.belongs) is not None:
            belongs.asks(kind)
        question.hold.attempt_started()
        upstream, policy = tools.upstreams[kind], tools.policies.get(kind, tools.policy)
        return Attempt(question.exchange, prepared, lease, upstream, policy, tools.clock, watch, trace).run()

    async def _called_plainly(
        self, failed: AttemptFailed, question: "_Question", lease: Lease
    ) -> UnaryOpened | StreamOpened:
        """Should the upstream have refused the thinking we put back into the history: once more without it.

        The place is kept: such a refusal did no work and says nothing about the credential. Raises `failed` where
        that is not why it failed, or where there is no time or leave to ask again, and AttemptFailed.
        """
        plain = await self._without_thinking(failed.failure, question, lease)
        if plain is None:
            raise failed
        self._learn(lease, failed.source)
        self._remember(question.trace, "thinking", failed.failure.status)
        _log.info("the upstream refused earlier thinking, asked again without it", credential=lease.name)
        return await self._calling(question, lease, plain)

    async def _without_thinking(
        self, failure: Failure, question: "_Question", lease: Lease
    ) -> Prepared | None:
        """What to ask instead, where leaving thinking out can help and there is time and leave to ask again."""
        left_s = question.exchange.deadline_s - self._tools.clock.monotonic_s()
        if (
            not failure.refuses_thinking
            or question.hold.committed
            or left_s < self._tools.policy.min_attempt_s
        ):
            return None
        return await question.prepared.without_thinking(lease)

    def _remember(self, trace: Trace, outcome: str, status: int) -> None:
        """Put the attempt that has just ended among those that failed."""
        took_ms = round((self._tools.clock.monotonic_s() - trace.began_s) * 1000, 1)
        charge = trace.charged()
        trace.failed.append(FailedAttempt(trace.credential, outcome, status, trace.began_s, took_ms, charge))
        trace.usage = trace.observed = None

    async def _at_home(self, home: str, question: "_Question") -> Lease | Exhausted:
        """A place at the conversation's own credential; at any other where that one is full or cannot serve."""
        places, want, walk = self._tools.places, question.want, question.walk
        found = await places.take_at(home, want, walk)
        if isinstance(found, Lease):
            question.trace.spilled = False
            return found
        question.trace.spilled = found is not None
        return places.take(want, walk) or await places.wait(want, walk, question.watch)

    def _came(self, opened: UnaryOpened | StreamOpened, question: "_Question") -> None:
        """An upstream has answered: what that tells about it, the provider, and where the conversation belongs."""
        pool, lease = self._tools.pool, opened.lease
        self._learn(lease, opened.source)
        self._tools.places.answered(lease)
        exchange = question.exchange
        self._judge(lease, overloaded=False)
        # no conversation stays with who only stands in, or with who is about to leave
        if exchange.operation is _MESSAGES and not (lease.member.fallback or lease.member.retired):
            pool.affinity.heard(lease.name, self._tools.clock.monotonic_s() - question.trace.began_s)
            pool.affinity.answered(exchange.conversation, lease.name, spilled=question.trace.spilled)
            if exchange.envelope.thread is not None and opened.message_id:
                turn = turn_of_thread(exchange.client, short(opened.message_id))
                pool.affinity.answered(turn, lease.name)

    async def _again(self, decision: Again | Stop, failure: Failure, question: "_Question") -> None:
        match decision:
            case Again(wait_s=wait_s):
                if wait_s > 0:
                    await asyncio.sleep(wait_s)
            case Stop(reason=reason):
                shown = answers.failed(question.walk.last_failure or failure, model=question.want.model)
                if reason is StopReason.DEADLINE or failure.cls in _SAME_UNDER_ANY_MODEL:
                    raise shown
                raise _Unanswered(shown, question.walk)

    def end(self, opened: UnaryOpened | StreamOpened, outcome: Outcome) -> None:
        """End the lease of an answer, and the upstream call behind it where one is still open."""
        if isinstance(opened, StreamOpened):
            opened.reply.close()
        elif opened.place_free:
            return
        self._tools.places.end(opened.lease, judged(opened, outcome))

    async def close(self) -> None:
        """Close what requests' images and documents were got with. Nothing may be asked any more."""
        await self._tools.media.close()

    def models(self) -> tuple[str, ...]:
        """Ids of the models the pool can be asked for now."""
        tools = self._tools
        today = datetime.datetime.fromtimestamp(tools.clock.unix_ms() / 1000, datetime.UTC).date()
        return tools.pool.servable((*tools.catalog.known_ids(today), CLAUDE_CODE))

    def _judge(self, lease: Lease, *, overloaded: bool) -> None:
        if lease.credential.kind is _OPENAI:
            return
        limit_class = lease.limit_class
        if self._breakers.record(limit_class, overloaded=overloaded):
            _log.warning("the provider is overloaded, most calls are turned away", limit_class=limit_class)
