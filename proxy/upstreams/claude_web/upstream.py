"""claude.ai sessions as one kind of upstream: each question gets a conversation, which is deleted or kept after it.

A call's body is the plan of a request; the answer is told in the events of the Messages API.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from proxy.clock import Clock
from proxy.credentials import Credential
from proxy.dialects.claude_web import (
    FIRST_PARENT,
    Organization,
    Plan,
    Prompt,
    TurnUuids,
    WebStreamDecoder,
    decode_plan,
    encode_completion,
)
from proxy.exchange import Operation
from proxy.log import get_logger
from proxy.pool import Fault
from proxy.settings import Policy
from proxy.store.base import DeletionLedger, HeldConversation, HeldLedger, OwedDeletion
from proxy.tasks import detach
from proxy.upstreams.base import ByteReply, UpstreamCall, UpstreamFault, UpstreamRefused
from proxy.upstreams.claude_web.deletions import Deletions
from proxy.upstreams.claude_web.holding import Held
from proxy.upstreams.claude_web.reply import Ended, WebReply
from proxy.upstreams.claude_web.session import RefusedAgain, WebSession
from proxy.upstreams.http import WaysOut
from proxy.upstreams.whole import WholeReply
from proxy.watch import Watch

_log = get_logger("claude_web")
_DELETE_S: Final = 30.0
_LAST_DELETIONS_S: Final = 3.0
_NO_SUCH_PARENT: Final = "parent_message_uuid"


class WebLedger(DeletionLedger, HeldLedger, Protocol):
    """What of a store this upstream needs."""


class WebMeans(msgspec.Struct, frozen=True, kw_only=True):
    """What sessions work with.

    Attributes:
        ways_out: connections.
        policy: the numbers.
        clock: the time.
        ledger: where owed deletions and kept conversations are written down.
        fingerprint: the name of a credential in that ledger.
        new_uuid: makes the uuids of conversations and messages, version 4.
    """

    ways_out: WaysOut
    policy: Policy
    clock: Clock
    ledger: WebLedger
    fingerprint: Callable[[Credential], str]
    new_uuid: Callable[[], str]


class ClaudeWeb:
    """All credentials of kind ``claude_web``.

    Attributes:
        deletions: of the conversations it makes; whoever made this lets them work.
        held: the conversations it keeps.
        means: what it works with.
        deletes: whether conversations are deleted after use.
    """

    dialect = "anthropic"

    def __init__(
        self, means: WebMeans, *, delete: bool = True, credentials: tuple[Credential, ...] = ()
    ) -> None:
        """`credentials` are those whose earlier conversations may be deleted before they are used again."""
        self.means = means
        self.deletes = delete
        self._sessions: dict[str, tuple[Credential, WebSession]] = {}
        self._owners: dict[str, Credential] = {}
        for credential in credentials:
            self._owners[means.fingerprint(credential)] = credential
        self.deletions = Deletions(means.ledger, means.clock, self._delete)
        self.held = Held(means.ledger)

    async def restore(self, before_unix_ms: int | None = None) -> None:
        """Take up what was left at the site before a moment, or ever. Raises StoreError."""
        await self.deletions.restore(before_unix_ms)
        await self.held.restore(before_unix_ms)

    async def open(
        self, call: UpstreamCall, credential: Credential, watch: Watch, limit_s: float
    ) -> ByteReply:
        """See `Upstream.open`. An answer that is not streamed is read whole here."""
        plan = decode_plan(call.body)
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
        name = self.means.fingerprint(credential)
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

    def session(self, credential: Credential) -> WebSession:
        """The session of a credential."""
        made_for, session = self._sessions.get(credential.name, (None, None))
        if session is None or made_for is not credential:
            if session is not None:
                detach(session.close(), name="close a replaced session")
            session = WebSession(credential, self.means.ways_out.via(credential.way_out))
            self._sessions[credential.name] = credential, session
        return session

    def owner(self, credential: Credential) -> str:
        """The name under which the ledger knows a credential."""
        name = self.means.fingerprint(credential)
        known = name in self._owners
        self._owners[name] = credential
        if not known:
            self.deletions.welcome(name)
        return name

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
    """One request on its way through a conversation: one the site holds, or a new one."""

    def __init__(
        self, upstream: ClaudeWeb, plan: Plan, credential: Credential, watch: Watch, due_s: float
    ) -> None:
        self._upstream = upstream
        self._plan = plan
        self._credential = credential
        self._session = upstream.session(credential)
        self._owner = upstream.owner(credential)
        self._watch = watch
        self._due_s = due_s
        self._conversation = ""
        self._organization = ""
        self._answer = ""

    def left_s(self) -> float:
        """Seconds until its time is over."""
        return max(self._due_s - asyncio.get_running_loop().time(), 0.0)

    async def asked(self) -> WebReply:
        """Ask. What was made for it is released again when that fails or is cancelled."""
        organization = await self._session.organization(self._watch, self.left_s())
        self._organization = organization.uuid
        if (reply := await self._gone_on(organization)) is not None:
            return reply
        self._conversation = self._upstream.means.new_uuid()
        try:
            await self._create(organization)
            return await self._begun(organization)
        except BaseException:
            self._upstream.deletions.release(self._conversation)
            raise

    async def _begun(self, organization: Organization) -> WebReply:
        try:
            return await self._complete(organization, self._plan.prompt, FIRST_PARENT)
        except UpstreamRefused as refused:
            if refused.error.status == 404 or (isinstance(refused, RefusedAgain) and _is_behind(refused)):
                # It vanished under the question, or holds it already: no mistake of the client's, worth a new one.
                raise UpstreamFault(Fault.RESET) from None
            raise

    async def _gone_on(self, organization: Organization) -> WebReply | None:
        """Ask what is new in the conversation that holds the rest; None where there is none any more."""
        plan = self._plan
        if plan.latest is None or plan.history is None:
            return None
        held = await self._upstream.held.take(self._owner, plan.history.before)
        if held is None or held.organization != organization.uuid:
            return None
        self._conversation = held.conversation
        try:
            return await self._complete(organization, plan.latest, held.parent)
        except UpstreamRefused as refused:
            if refused.error.status != 404 and not _is_behind(refused):
                raise
        _log.info("a kept conversation is gone, a new one begins", credential=self._credential.name)
        return None

    async def _create(self, organization: Organization) -> None:
        upstream, deletions = self._upstream, self._upstream.deletions
        if upstream.deletes:
            await deletions.owe(
                OwedDeletion(
                    conversation=self._conversation,
                    fingerprint=self._owner,
                    organization=organization.uuid,
                    since_unix_ms=upstream.means.clock.unix_ms(),
                )
            )
        try:
            await self._session.create(
                organization.uuid,
                self._conversation,
                temporary=upstream.deletes,
                model=self._model(organization),
                watch=self._watch,
                limit_s=self.left_s(),
            )
        except UpstreamRefused as refused:
            # A refusal made nothing, and a dead cookie or a challenge is not to be asked again for nothing.
            if refused.error.status < 500 and not isinstance(refused, RefusedAgain):
                await deletions.forgive(self._conversation)
            raise

    async def _complete(self, organization: Organization, prompt: Prompt, parent: str) -> WebReply:
        upstream, plan = self._upstream, self._plan
        files = [
            await self._session.upload(organization.uuid, upload, self._watch, self.left_s())
            for upload in prompt.uploads
        ]
        self._answer = upstream.means.new_uuid()
        turn = TurnUuids(parent, upstream.means.new_uuid(), self._answer)
        body = encode_completion(plan, prompt, turn, files, model=self._model(organization))
        reply = await self._session.complete(
            organization.uuid, self._conversation, body, self._watch, self.left_s()
        )
        decoder = WebStreamDecoder(
            upstream.means.policy.event_max_bytes,
            input_tokens=plan.estimated_input_tokens,
            stop_sequences=plan.stop_sequences,
            max_tokens=plan.max_tokens,
        )
        return WebReply(reply, decoder, self._closed, listens=plan.history is not None)

    def _model(self, organization: Organization) -> str | None:
        return self._plan.model if organization.chooses_model else None

    def _closed(self, ended: Ended) -> None:
        upstream, history, limit = self._upstream, self._plan.history, ended.limit
        upstream.deletions.release(self._conversation)
        if history is not None and ended.text is not None:
            held = HeldConversation(
                conversation=self._conversation,
                fingerprint=self._owner,
                organization=self._organization,
                history=history.answered(ended.text),
                parent=self._answer,
                used_unix_ms=upstream.means.clock.unix_ms(),
            )
            detach(upstream.held.keep(held), name="keep a conversation")
        if limit is not None and (limit.approaching or limit.exceeded):
            _log.warning(
                "session near its limit",
                credential=self._credential.name,
                limit=limit.type,
                until_unix_ms=limit.until_unix_ms,
            )


def _is_behind(refused: UpstreamRefused) -> bool:
    """Whether the conversation holds more than the question says."""
    return refused.error.status == 400 and refused.error.message.startswith(_NO_SUCH_PARENT)
