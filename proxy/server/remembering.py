"""One request's part in a conversation and in a session: the history before it, and what is remembered after it."""

import re
from collections.abc import Mapping
from typing import Final
from uuid import uuid4

import msgspec
from aiohttp import web

from proxy.credentials import Kind
from proxy.dialects.anthropic.history import MessagesHistory
from proxy.dialects.claude_options import FIELD as OPTIONS
from proxy.dialects.common import Dialect, Envelope, Observed
from proxy.dialects.conversation import name_in
from proxy.dialects.decoding import Anything, decode_json, is_given
from proxy.dialects.history import OWN_FIELD, History, HistoryFormat, as_json, cropped, from_json
from proxy.dialects.openai_chat.extra_body import FIELD as EXTRA_BODY
from proxy.dialects.openai_chat.extra_body import lifted
from proxy.dialects.openai_chat.history import ChatHistory
from proxy.dispatch.attempt import StreamOpened, UnaryOpened
from proxy.dispatch.conversations import HISTORY_MAX_BYTES, Spoken, Turn, no_conversation
from proxy.dispatch.recording import Said
from proxy.dispatch.streams import Frames
from proxy.dispatch.trace import Trace
from proxy.errors import ErrorKind, GatewayError, InvalidRequest, NotFound
from proxy.exchange import Belonging, Exchange, Operation, turn_of_thread
from proxy.server.context import CALLER, Services
from proxy.server.headers import CONVERSATION
from proxy.server.object_request import tenant_of
from proxy.store.conversations import ConversationRow
from proxy.tasks import detach, off_loop
from proxy.watch import Watch

NEW: Final = "new"
"""What a request's header says instead of an id, to begin a conversation."""

HISTORIES: Final[Mapping[str, HistoryFormat]] = {
    "anthropic": MessagesHistory(),
    "openai_chat": ChatHistory(),
}
"""The dialects conversations are held in, by name."""

_BEGUN_UNASKED: Final = "openai_chat"
_CODE: Final = frozenset({Kind.CLAUDE_CODE})
_SESSION: Final = re.compile(r"[\x21-\x7e]{1,128}")
_LARGE_BYTES: Final = 2 * 1024 * 1024
_NO_MESSAGE_IS_TOO_MUCH: Final = 2**31
_REFUSED: Final = "refusal"


class _Named(msgspec.Struct):
    conversation_id: Anything = msgspec.UNSET
    session_id: Anything = msgspec.UNSET
    project_id: Anything = msgspec.UNSET


class Part:
    """A request's part in a conversation and in a session; closed by `end`.

    Attributes:
        belonging: what it belongs to; None before `joined`, and where it belongs to nothing.
    """

    def __init__(self, request: web.Request, dialect: Dialect, operation: Operation, watch: Watch) -> None:
        caller = request[CALLER]
        self._request = request
        self._services: Services = caller.services
        self._client = caller.client
        self._owner = tenant_of(request, caller)
        self._dialect = dialect
        self._operation = operation
        self._watch = watch
        self._turn: Turn | None = None
        self._fresh = False
        self._history = History()
        self._added = 0
        self._project: str | None = None
        self.belonging: Belonging | None = None

    async def joined(self, body: bytes, envelope: Envelope) -> tuple[bytes, Envelope]:
        """The request with the history of its conversation, and what a peek tells of it then.

        Raises NotFound for a conversation that is not the client's, InvalidRequest, and GatewayError: 409 where its
        last turn is still being answered, 413 where it would become too large, 503 where it cannot be read.
        """
        if EXTRA_BODY in envelope.own_fields:
            body, envelope = await self._lifted(body)
        named = decode_json(_Named, body) if envelope.own_fields else _Named()
        session = self._session(named)
        conversation, kinds = "", None
        wording = HISTORIES.get(self._dialect.name)
        if wording is not None:
            wanted = self._wanted(named)
            if wanted not in {"", NEW}:
                conversation = wanted
                body, envelope = await self._continued(wanted, wording, body, envelope)
            elif wanted == NEW or self._begins_unasked:
                kinds = None if wanted == NEW or self._services.settings.conversations.mode == "on" else _CODE
                conversation = await self._begun(wording, body)
        options = OPTIONS in envelope.own_fields
        if conversation or session or options:
            self.belonging = Belonging(
                conversation=conversation,
                kinds=kinds,
                session=session,
                owner=self._owner,
                folder=await self._folder() if options else "",
            )
        return body, envelope

    async def _lifted(self, body: bytes) -> tuple[bytes, Envelope]:
        def lift() -> tuple[bytes, Envelope]:
            sent = lifted(body)
            return sent, self._dialect.peek(sent)

        return await off_loop(lift) if len(body) >= _LARGE_BYTES else lift()

    def kept_frames(self, opened: StreamOpened) -> Frames:
        """The frames of a streamed answer, the last of which wait until the turn is remembered."""
        return _KeptFrames(opened, self) if opened.recorded is not None else opened.stream

    async def remember(self, opened: UnaryOpened | StreamOpened, said: Said | None) -> None:
        """The answer is whole: remember the turn. One that was refused is not: the refusal would come again."""
        turn, wording = self._turn, HISTORIES.get(self._dialect.name)
        if turn is None or wording is None or said is None or said.message.stop_reason == _REFUSED:
            return
        settings = self._services.settings.conversations
        answer = wording.answer(said.message, said.form)
        added = () if answer is None else (answer,)
        history = cropped(
            History(self._history.system, self._history.messages + added),
            wording,
            most_messages=settings.most_messages,
            most_bytes=HISTORY_MAX_BYTES,
        )
        if history is None:
            await turn.forget()
            return
        spoken = Spoken(
            dialect=self._dialect.name,
            system=as_json(history.system),
            messages=as_json(history.messages),
            count=self._added + len(added),
        )
        await turn.keep(spoken)
        member = opened.lease.member
        if self._fresh and not (member.fallback or member.retired):
            # nobody could know the name before, so the answer itself was bound to how it began
            self._services.pool.affinity.answered(
                turn_of_thread(self._client, turn.row.id), opened.lease.name
            )

    def end(self, exchange: Exchange | None, trace: Trace) -> None:
        """The request has ended, however it did: the next turn may begin, and the session counts what was used."""
        if self._turn is not None:
            self._turn.close()
        belonging = self.belonging
        if (
            exchange is None
            or belonging is None
            or not belonging.session
            or trace.first_event_s is None
            or self._operation is not Operation.MESSAGES
        ):
            return
        counting = self._services.projects.count_in(
            self._owner,
            belonging.session,
            project_id=self._project,
            model=trace.model or exchange.model,
            usage=trace.usage,
        )
        detach(counting, name="count what a session used")

    @property
    def _begins_unasked(self) -> bool:
        """Whether a conversation begins that nobody has named; never one of Messages, whose answers stay untouched."""
        return (
            self._services.conversations.begins
            and self._dialect.name == _BEGUN_UNASKED
            and self._operation is Operation.MESSAGES
        )

    def _session(self, named: _Named) -> str:
        """The session the request names, or a new one of the project it names; empty for none."""
        session, project = name_in(named.session_id), name_in(named.project_id)
        self._project = project if _SESSION.fullmatch(project) else None
        if _SESSION.fullmatch(session):
            return session
        return str(uuid4()) if self._project is not None else ""

    async def _folder(self) -> str:
        """The folder of the project the request names; empty for none. Raises NotFound, and GatewayError 503."""
        if self._project is None:
            return ""
        return await self._services.projects.folder(self._owner, self._project)

    def _wanted(self, named: _Named) -> str:
        """The conversation the request names, ``new``, or nothing. Raises InvalidRequest and NotFound."""
        field = named.conversation_id
        in_body = name_in(field)
        if is_given(field) and not in_body and bytes(field or b"") != b'""':
            raise InvalidRequest(f"{OWN_FIELD} must be a string.", param=OWN_FIELD)
        in_header = self._request.headers.get(CONVERSATION, "")
        if in_body and in_header and in_body != in_header:
            raise InvalidRequest(
                f"{OWN_FIELD} and the header {CONVERSATION} name two conversations.", param=OWN_FIELD
            )
        wanted = in_body or in_header
        if wanted and self._services.settings.conversations.mode == "off":
            raise NotFound(
                "No conversations are remembered here: the operator has turned that off.",
                code="conversation_not_found",
                param=OWN_FIELD,
            )
        if in_body == NEW:
            raise no_conversation(in_body)
        return wanted

    async def _begun(self, wording: HistoryFormat, body: bytes) -> str:
        """A new conversation's id; empty where its first turn is too large to be remembered."""
        if self._operation is not Operation.MESSAGES:
            return ""
        large = len(body) >= _LARGE_BYTES
        history = await off_loop(lambda: wording.read(body)) if large else wording.read(body)
        if _too_large(history, wording):
            return ""
        self._fresh = True
        self._history, self._added = history, len(history.messages)
        self._turn = await self._services.conversations.first_turn(self._owner)
        return self._turn.row.id

    async def _continued(
        self, name: str, wording: HistoryFormat, body: bytes, envelope: Envelope
    ) -> tuple[bytes, Envelope]:
        conversations = self._services.conversations
        if self._operation is Operation.MESSAGES:
            limit_s = self._services.settings.policy.queue_wait_s
            self._turn = await conversations.next_turn(self._owner, name, self._watch, within_s=limit_s)
            row = self._turn.row
        else:
            row = await conversations.found(self._owner, name)
        if row.dialect not in {"", self._dialect.name}:
            raise InvalidRequest(
                "This conversation was begun in the other of the two dialects, and goes on only there.",
                param=OWN_FIELD,
                code="conversation_dialect",
            )

        def written() -> tuple[bytes, Envelope]:
            sent = self._written(row, wording, body, envelope)
            return sent, self._dialect.peek(sent)

        body, envelope = await off_loop(written) if len(body) >= _LARGE_BYTES else written()
        envelope.conversation, envelope.opening = name, b""
        return body, envelope

    def _written(
        self, row: ConversationRow, wording: HistoryFormat, body: bytes, envelope: Envelope
    ) -> bytes:
        """The body with all that was said before. Raises InvalidRequest and GatewayError 413."""
        new = wording.read(body)
        if not new.messages:
            raise InvalidRequest("messages has to hold at least one message.", param="messages")
        history = from_json(row.system, row.messages).then(new)
        if self._turn is not None and _too_large(history, wording):
            raise GatewayError(
                413,
                ErrorKind.REQUEST_TOO_LARGE,
                f"A turn of a conversation may take {HISTORY_MAX_BYTES} bytes. Send a larger one without "
                f"{OWN_FIELD}, with all that was said before.",
                param="messages",
                code="request_too_large",
            )
        self._history, self._added = history, len(new.messages)
        model = {"model": msgspec.json.encode(row.model)} if row.model and not envelope.model else {}
        return wording.written(body, history, model)


class _KeptFrames:
    """See `Part.kept_frames`."""

    def __init__(self, opened: StreamOpened, part: Part) -> None:
        self._opened = opened
        self._frames = opened.stream
        self._part: Part | None = part
        self.observed: Observed = opened.stream.observed

    @property
    def over(self) -> bool:
        """See `Frames.over`."""
        return self._frames.over

    async def frames(self, silence_s: float) -> bytes | None:
        """See `Frames.frames`."""
        found = await self._frames.frames(silence_s)
        part, recorded = self._part, self._opened.recorded
        if part is not None and recorded is not None and self.observed.complete:
            self._part = None
            await part.remember(self._opened, recorded.said())
        return found


def _too_large(history: History, wording: HistoryFormat) -> bool:
    """Whether even the last turn alone is more than is remembered."""
    return (
        cropped(history, wording, most_messages=_NO_MESSAGE_IS_TOO_MUCH, most_bytes=HISTORY_MAX_BYTES) is None
    )
