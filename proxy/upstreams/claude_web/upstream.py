"""claude.ai sessions as one kind of upstream: each question gets a conversation of its own, which is deleted after it.

To the rest of the house it speaks the Messages API: the request is planned anew for the site, and its answer told
in the API's events.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from proxy.clock import Clock
from proxy.credentials import Credential, Kind
from proxy.dialects.anthropic import AnthropicDialect
from proxy.dialects.claude_web import (
    FIRST_PARENT,
    LimitFacts,
    Organization,
    Plan,
    PromptOptions,
    TurnUuids,
    WebStreamDecoder,
    encode_completion,
    plan_request,
)
from proxy.dialects.common import Target
from proxy.errors import GatewayError
from proxy.exchange import Operation
from proxy.log import get_logger
from proxy.model.catalog import Catalog
from proxy.pool import Fault, UpstreamError
from proxy.settings import Policy
from proxy.store.base import DeletionLedger, OwedDeletion
from proxy.tasks import detach
from proxy.upstreams.base import ByteReply, Source, UpstreamCall, UpstreamFault, UpstreamRefused
from proxy.upstreams.claude_web.deletions import Deletions
from proxy.upstreams.claude_web.reply import WebReply, WholeReply
from proxy.upstreams.claude_web.session import WebSession
from proxy.upstreams.http import WaysOut
from proxy.watch import Watch

_log = get_logger("claude_web")
_DELETE_S: Final = 30.0
_LAST_DELETIONS_S: Final = 3.0
_dialect = AnthropicDialect()


class _Model(msgspec.Struct):
    model: str = ""


_model_decoder = msgspec.json.Decoder(_Model)


class WebOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How the operator wants sessions used.

    Attributes:
        prompts: how prompts are written.
        delete: whether conversations are deleted after use.
    """

    prompts: PromptOptions = PromptOptions()
    delete: bool = True


class WebMeans(msgspec.Struct, frozen=True, kw_only=True):
    """What sessions work with.

    Attributes:
        ways_out: connections.
        policy: the numbers.
        catalog: what models can do.
        clock: the time.
        ledger: where owed deletions are kept.
        fingerprint: the name of a credential in that ledger.
        new_uuid: makes the uuids of conversations and messages, version 4.
    """

    ways_out: WaysOut
    policy: Policy
    catalog: Catalog
    clock: Clock
    ledger: DeletionLedger
    fingerprint: Callable[[Credential], str]
    new_uuid: Callable[[], str]


class ClaudeWeb:
    """All credentials of kind ``claude_web``.

    Attributes:
        deletions: of the conversations it makes; whoever made this lets them work.
    """

    dialect = "anthropic"

    def __init__(
        self, means: WebMeans, options: WebOptions, credentials: tuple[Credential, ...] = ()
    ) -> None:
        """`credentials` are those whose earlier conversations may be deleted before they are used again."""
        self._means = means
        self._options = options
        self._sessions: dict[str, tuple[Credential, WebSession]] = {}
        self._owners: dict[str, Credential] = {}
        for credential in credentials:
            self._owners[means.fingerprint(credential)] = credential
        self.deletions = Deletions(means.ledger, means.clock, self._delete)

    async def open(
        self, call: UpstreamCall, credential: Credential, watch: Watch, limit_s: float
    ) -> ByteReply:
        """See `Upstream.open`. An answer that is not streamed is read whole here."""
        plan = self._plan(call)
        if call.operation is Operation.COUNT_TOKENS:
            return WholeReply(msgspec.json.encode({"input_tokens": plan.estimated_input_tokens}))
        question = _Question(self, plan, credential, watch, asyncio.get_running_loop().time() + limit_s)
        reply = await question.asked()
        if call.stream:
            return reply
        try:
            return WholeReply(await reply.read_all(watch, question.left_s()), reply.source)
        finally:
            reply.close()

    async def forget(self, credential: Credential) -> None:
        """See `Upstream.forget`. What it left behind at the site is tried once more before."""
        name = self._means.fingerprint(credential)
        await self.deletions.settle(within_s=_LAST_DELETIONS_S, fingerprint=name)
        self._owners.pop(name, None)
        made_for, session = self._sessions.get(credential.name, (None, None))
        if session is not None and made_for is not None and made_for.secret == credential.secret:
            del self._sessions[credential.name]
            await session.close()

    async def close(self) -> None:
        """Forget every session's cookies; the connections belong to whoever made them."""
        for _, session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    @property
    def means(self) -> WebMeans:
        """What it works with."""
        return self._means

    @property
    def options(self) -> WebOptions:
        """How sessions are used."""
        return self._options

    def session(self, credential: Credential) -> WebSession:
        """The session of a credential."""
        made_for, session = self._sessions.get(credential.name, (None, None))
        if session is None or made_for is not credential:
            if session is not None:
                detach(session.close(), name="close a replaced session")
            session = WebSession(credential, self._means.ways_out.via(credential.way_out))
            self._sessions[credential.name] = credential, session
        return session

    def owner(self, credential: Credential) -> str:
        """The name under which the ledger knows a credential."""
        name = self._means.fingerprint(credential)
        known = name in self._owners
        self._owners[name] = credential
        if not known:
            self.deletions.welcome(name)
        return name

    def _plan(self, call: UpstreamCall) -> Plan:
        try:
            model = _model_decoder.decode(call.body).model
            target = Target(facts=self._means.catalog.facts(model), model=model, stream=call.stream)
            translated = _dialect.decode_request(call.body, target)
            plan = plan_request(translated.request, self._options.prompts)
        except GatewayError as error:
            raise _refused(error.status, error.kind.value, error.message) from None
        except (msgspec.DecodeError, RecursionError):
            raise _refused(400, "invalid_request_error", "The request is no JSON object.") from None
        if plan.dropped:
            _log.info("not carried to claude.ai", fields=sorted({loss.field for loss in plan.dropped}))
        return plan

    async def _delete(self, owed: OwedDeletion) -> bool | None:
        credential = self._owners.get(owed.fingerprint)
        if credential is None:
            return None
        watch = Watch()
        try:
            await self.session(credential).delete(owed.organization, owed.conversation, watch, _DELETE_S)
        except (UpstreamRefused, UpstreamFault) as error:
            _log.warning("conversation not deleted yet", credential=credential.name, problem=str(error))
            return False
        finally:
            watch.close()
        return True


class _Question:
    """One request on its way through a conversation of its own."""

    def __init__(
        self, upstream: ClaudeWeb, plan: Plan, credential: Credential, watch: Watch, due_s: float
    ) -> None:
        self._upstream = upstream
        self._plan = plan
        self._credential = credential
        self._session = upstream.session(credential)
        self._watch = watch
        self._due_s = due_s
        self._conversation = upstream.means.new_uuid()

    def left_s(self) -> float:
        """Seconds until its time is over."""
        return max(self._due_s - asyncio.get_running_loop().time(), 0.0)

    async def asked(self) -> WebReply:
        """Make the conversation, upload, ask. What was made is released again when that fails or is cancelled."""
        organization = await self._session.organization(self._watch, self.left_s())
        try:
            await self._create(organization)
            return await self._complete(organization)
        except BaseException:
            self._upstream.deletions.release(self._conversation)
            raise

    async def _create(self, organization: Organization) -> None:
        upstream, deletions = self._upstream, self._upstream.deletions
        delete = upstream.options.delete
        if delete:
            await deletions.owe(
                OwedDeletion(
                    conversation=self._conversation,
                    fingerprint=upstream.owner(self._credential),
                    organization=organization.uuid,
                    since_unix_ms=upstream.means.clock.unix_ms(),
                )
            )
        try:
            await self._session.create(
                organization.uuid,
                self._conversation,
                temporary=delete,
                model=self._model(organization),
                watch=self._watch,
                limit_s=self.left_s(),
            )
        except UpstreamRefused as refused:
            # A refusal made nothing, and a dead cookie or a challenge is not to be asked again for nothing.
            if refused.error.status < 500:
                await deletions.forgive(self._conversation)
            raise

    async def _complete(self, organization: Organization) -> WebReply:
        upstream, plan = self._upstream, self._plan
        files = [
            await self._session.upload(organization.uuid, upload, self._watch, self.left_s())
            for upload in plan.uploads
        ]
        turn = TurnUuids(FIRST_PARENT, upstream.means.new_uuid(), upstream.means.new_uuid())
        body = encode_completion(plan, turn, files, model=self._model(organization))
        try:
            reply = await self._session.complete(
                organization.uuid, self._conversation, body, self._watch, self.left_s()
            )
        except UpstreamRefused as refused:
            if refused.error.status == 404:
                # The conversation vanished under the question: not the client's mistake, and worth another one.
                raise UpstreamFault(Fault.RESET) from None
            raise
        decoder = WebStreamDecoder(
            upstream.means.policy.event_max_bytes,
            input_tokens=plan.estimated_input_tokens,
            stop_sequences=plan.stop_sequences,
            max_tokens=plan.max_tokens,
        )
        return WebReply(reply, decoder, self._closed)

    def _model(self, organization: Organization) -> str | None:
        return self._plan.model if organization.chooses_model else None

    def _closed(self, limit: LimitFacts | None) -> None:
        self._upstream.deletions.release(self._conversation)
        if limit is not None and (limit.approaching or limit.exceeded):
            _log.warning(
                "session near its limit",
                credential=self._credential.name,
                limit=limit.type,
                until_unix_ms=limit.until_unix_ms,
            )


def _refused(status: int, kind: str, message: str) -> UpstreamRefused:
    error = UpstreamError(
        status=status, type=kind, message=message, code=None, headers={}, kind=Kind.CLAUDE_WEB
    )
    return UpstreamRefused(error, Source())
