"""The simulated claude.ai: what each of its calls answers, as values; nothing here touches a connection.

It stands on the same port as the API and is told from it by its paths. A client that keeps cookies has to reach it
by a host name, since cookies of a bare address are thrown away and a mix-up of sessions would not show.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar

import msgspec

from proxy.clock import Clock
from proxy.errors import ErrorKind
from proxy.simulator import render
from proxy.simulator.api import EVENT_STREAM, JSON, Reply, Request
from proxy.simulator.limits import AnswerHeaders
from proxy.simulator.multipart import file_part
from proxy.simulator.script import Step
from proxy.simulator.web_answers import compose
from proxy.simulator.web_calls import (
    ACTIVITY_COOKIE,
    WebCall,
    activity_id,
    cookies_in,
    made_up_uuid,
    place_of,
)
from proxy.simulator.web_ledger import Conversation, Leak, Ledger, StoredFile, Turn
from proxy.simulator.web_render import WebAnswer, WebText, frames
from proxy.simulator.web_wire import (
    FIRST_PARENT,
    CompletionBody,
    CreateBody,
    CreateParameters,
    DeleteBody,
    SettingsBody,
)

MAX_PROMPT_CHARACTERS: Final = 200_000
_MODEL: Final = "claude-sonnet-4-6"
_PAID: Final = ("chat", "claude_pro")
_FREE: Final = ("chat",)
_encoder = msgspec.json.Encoder()
_PLAIN: Final = Step()
_Body = TypeVar("_Body")


class Refusal(Exception):
    """An answer other than success."""

    def __init__(self, status: int, kind: ErrorKind, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.code = code

    def reply(self, request_id: str) -> Reply:
        """The refusal in its envelope."""
        details: dict[str, object] | None = {"error_code": self.code} if self.code is not None else None
        body = render.error_body(self.kind, self.message, request_id=request_id, details=details)
        return Reply(self.status, JSON, [body])


def gone() -> Refusal:
    """A conversation that is not there."""
    return Refusal(404, ErrorKind.NOT_FOUND, "Conversation not found", "conversation_not_found")


class WebSite:
    """The site, with everything its accounts left there.

    Attributes:
        ledger: the conversations and files there were.
        free: sessions whose account may not choose a model.
    """

    def __init__(self, headers: AnswerHeaders, clock: Clock, *, prefix: str) -> None:
        self.ledger = Ledger()
        self.free: set[str] = set()
        self._headers = headers
        self._clock = clock
        self._prefix = prefix
        self._answers = 0
        self._calls: dict[WebCall, Callable[[Request, Step], Reply]] = {
            "organizations": self._organizations,
            "bootstrap": self._bootstrap,
            "account": self._account,
            "create": self._create,
            "settings": self._settings,
            "history": self._history,
            "delete": self._delete,
            "upload": self._upload,
            "convert_document": self._convert,
            "usage": self._usage,
        }

    def clear(self) -> None:
        """Forget everything."""
        self.ledger.clear()
        self.free.clear()

    def organization_of(self, key: str) -> str:
        """The uuid of the organization in which a session may chat; sessions assigned to one share it."""
        return made_up_uuid(self._headers.organization(key))

    def note(self, request: Request) -> None:
        """Look at what a request brought, whatever answers it."""
        if request.call is None:
            return
        for name, value in cookies_in(request.headers.get("cookie", "")):
            if name == ACTIVITY_COOKIE and value != activity_id(request.key):
                self.ledger.leaks.append(Leak(request.key, "cookie", request.call))
        for name in ("x-api-key", "authorization"):
            if name in request.headers:
                self.ledger.leaks.append(Leak(request.key, name, request.call))

    def reply(self, request: Request, *, events: int | None, step: Step | None) -> Reply:
        """Answer one of the site's calls."""
        try:
            self._check_place(request)
            if request.call is None or request.call == "complete":
                return self._complete(request, events, step or _PLAIN)
            return self._calls[request.call](request, step or _PLAIN)
        except Refusal as refusal:
            return refusal.reply(request.request_id)

    def _check_place(self, request: Request) -> None:
        if not request.key:
            raise Refusal(403, ErrorKind.PERMISSION, "Invalid authorization", "account_session_invalid")
        organization, _ = place_of(request.method, request.path)
        if organization not in {"", self.organization_of(request.key)}:
            raise Refusal(403, ErrorKind.PERMISSION, "Invalid authorization for organization")

    def _organizations(self, request: Request, step: Step) -> Reply:
        return _json(200, self._memberships(request.key, step.flags))

    def _memberships(self, key: str, flags: Sequence[str]) -> list[dict[str, object]]:
        chat = self.organization_of(key)
        return [
            {
                "uuid": made_up_uuid(f"api of {key}"),
                "name": "Simulated API",
                "capabilities": ["api", "api_individual"],
                "rate_limit_tier": "auto_api_evaluation",
                "active_flags": [],
            },
            {
                "uuid": chat,
                "name": "sim@example.com's Organization",
                "capabilities": list(_FREE if key in self.free else _PAID),
                "rate_limit_tier": "default_claude_ai",
                "active_flags": [{"type": flag, "expires_at": None} for flag in flags],
            },
        ]

    def _bootstrap(self, request: Request, step: Step) -> Reply:
        members = [{"organization": one} for one in self._memberships(request.key, step.flags)]
        return _json(200, {"account": {"email_address": "sim@example.com", "memberships": members}})

    def _account(self, request: Request, _step: Step) -> Reply:
        self.ledger.account_changes += 1
        return Reply(200, JSON, [request.body or b"{}"])

    def _create(self, request: Request, _step: Step) -> Reply:
        asked = _read(request.body, CreateBody)
        organization, _ = place_of(request.method, request.path)
        made = self._made(request.key, organization, asked.uuid, asked)
        return _json(201, _described(made))

    def _made(
        self, key: str, organization: str, uuid: str, asked: CreateBody | CreateParameters
    ) -> Conversation:
        if uuid in self.ledger.conversations:
            raise Refusal(409, ErrorKind.INVALID_REQUEST, "A conversation with this uuid exists")
        if asked.model is not None:
            self._check_model(key)
        made = Conversation(
            uuid=uuid,
            organization=organization,
            created_by=key,
            created_s=self._clock.monotonic_s(),
            temporary=asked.is_temporary,
            name=asked.name,
            model=asked.model,
            settings={} if asked.paprika_mode is None else {"paprika_mode": asked.paprika_mode},
        )
        self.ledger.conversations[uuid] = made
        return made

    def _check_model(self, key: str) -> None:
        if key in self.free:
            raise Refusal(
                403, ErrorKind.PERMISSION, "Model is not available for this account", "model_not_allowed"
            )

    def _found(self, request: Request) -> Conversation:
        organization, uuid = place_of(request.method, request.path)
        found = self.ledger.conversations.get(uuid)
        theirs = found is not None and (found.created_by, found.organization) == (request.key, organization)
        if found is None or not theirs or found.deleted_by:
            raise gone()
        return found

    def _settings(self, request: Request, _step: Step) -> Reply:
        asked = _read(request.body, SettingsBody)
        found = self._found(request)
        found.settings |= asked.settings
        found.name = found.name if asked.name is None else asked.name
        return _json(200, _described(found))

    def _history(self, request: Request, _step: Step) -> Reply:
        found = self._found(request)
        turns = [
            {
                "uuid": turn.uuid,
                "sender": turn.sender,
                "content": [{"type": "text", "text": turn.text}],
                "parent_message_uuid": turn.parent,
            }
            for turn in found.turns
        ]
        return _json(200, _described(found) | {"chat_messages": turns})

    def _delete(self, request: Request, _step: Step) -> Reply:
        _, uuid = place_of(request.method, request.path)
        if request.body and _read(request.body, DeleteBody).uuid != uuid:
            raise Refusal(400, ErrorKind.INVALID_REQUEST, "uuid: does not match the path")
        found = self._found(request)
        found.deleted_by = request.key
        found.deleted_s = self._clock.monotonic_s()
        return Reply(204, JSON, [])

    def _upload(self, request: Request, _step: Step) -> Reply:
        organization, uuid = place_of(request.method, request.path)
        if uuid:
            self._found(request)
        part = file_part(request.headers.get("content-type", ""), request.body)
        if part is None or not part.name:
            raise Refusal(400, ErrorKind.INVALID_REQUEST, "file: Field required")
        stored = StoredFile(
            uuid=made_up_uuid(f"file {request.request_id}"),
            name=part.name,
            media_type=part.media_type,
            size_bytes=len(part.content),
            organization=organization,
            uploaded_by=request.key,
            conversation=uuid,
        )
        self.ledger.files[stored.uuid] = stored
        self.ledger.uploaded_bytes += stored.size_bytes
        kind = "image" if part.media_type.startswith("image/") else "document"
        told = {"file_uuid": stored.uuid, "file_name": part.name, "file_kind": kind}
        return _json(200, {"success": True, "size_bytes": stored.size_bytes} | told if uuid else told)

    def _convert(self, request: Request, _step: Step) -> Reply:
        part = file_part(request.headers.get("content-type", ""), request.body)
        if part is None:
            raise Refusal(400, ErrorKind.INVALID_REQUEST, "file: Field required")
        self.ledger.uploaded_bytes += len(part.content)
        return _json(
            200,
            {
                "file_name": part.name,
                "file_type": part.media_type,
                "file_size": len(part.content),
                "extracted_content": part.content.decode("utf-8", "replace"),
            },
        )

    def _usage(self, _request: Request, step: Step) -> Reply:
        resets = datetime.fromtimestamp(self._clock.unix_ms() / 1000 + step.resets_in_s, UTC).isoformat()
        window = {"utilization": 1.0, "resets_at": resets}
        return _json(200, {"five_hour": window, "seven_day": window | {"utilization": 16.0}})

    def _complete(self, request: Request, events: int | None, step: Step) -> Reply:
        asked = _read(request.body, CompletionBody)
        conversation = self._place_to_answer(request, asked)
        self._check_completion(asked, conversation)
        for uuid in asked.files:
            self.ledger.files[uuid].used_in.append(conversation.uuid)
        self._answers += 1
        files = [self.ledger.files[uuid] for uuid in asked.files]
        uuids = asked.turn_message_uuids
        human = uuids.human_message_uuid if uuids else made_up_uuid(f"human {self._answers}")
        answer = WebAnswer(
            id=f"chatcompl_01sim{self._answers:019d}",
            model=asked.model or conversation.model or _MODEL,
            uuid=uuids.assistant_message_uuid if uuids else made_up_uuid(f"assistant {self._answers}"),
            parent=human,
            parts=compose(asked, conversation, files, prefix=self._prefix, events=events, text=step.text),
            stop_reason=step.stop_reason or "end_turn",
            limit=step.message_limit,
            resets_at_s=int(self._clock.unix_ms() // 1000 + step.resets_in_s),
            now_ms=self._clock.unix_ms(),
        )
        said = "".join(piece for part in answer.parts if isinstance(part, WebText) for piece in part.pieces)
        conversation.completions += 1
        conversation.turns += [
            Turn(uuid=human, sender="human", text=asked.prompt, parent=asked.parent_message_uuid),
            Turn(uuid=answer.uuid, sender="assistant", text=said, parent=human),
        ]
        return Reply(200, EVENT_STREAM, frames(answer), streamed=True, tokens=len(answer.parts))

    def _place_to_answer(self, request: Request, asked: CompletionBody) -> Conversation:
        organization, uuid = place_of(request.method, request.path)
        if (parameters := asked.create_conversation_params) is not None:
            return self._made(request.key, organization, uuid, parameters)
        return self._found(request)

    def _check_completion(self, asked: CompletionBody, conversation: Conversation) -> None:
        expected = conversation.turns[-1].uuid if conversation.turns else FIRST_PARENT
        if asked.parent_message_uuid != expected:
            raise Refusal(400, ErrorKind.INVALID_REQUEST, "parent_message_uuid: no such message")
        if asked.tools is not None and not asked.tools:
            raise Refusal(400, ErrorKind.INVALID_REQUEST, "tools: List should have at least 1 item")
        if not asked.prompt.strip():
            raise Refusal(400, ErrorKind.INVALID_REQUEST, "prompt: String should have at least 1 character")
        if len(asked.prompt) > MAX_PROMPT_CHARACTERS:
            raise Refusal(400, ErrorKind.INVALID_REQUEST, "prompt is too long")
        if asked.model is not None:
            self._check_model(conversation.created_by)
        for index, text in enumerate(asked.attachments):
            if text.file_size != len(text.extracted_content.encode()):
                raise Refusal(400, ErrorKind.INVALID_REQUEST, f"attachments.{index}.file_size: no such size")
        for index, uuid in enumerate(asked.files):
            stored = self.ledger.files.get(uuid)
            if stored is None or stored.organization != conversation.organization:
                raise Refusal(400, ErrorKind.INVALID_REQUEST, f"files.{index}: no such file")


def _read(body: bytes, kind: type[_Body]) -> _Body:
    try:
        return msgspec.json.decode(body, type=kind)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, ErrorKind.INVALID_REQUEST, str(error)[:200]) from None


def _json(status: int, value: object) -> Reply:
    return Reply(status, JSON, [_encoder.encode(value)])


def _described(conversation: Conversation) -> dict[str, object]:
    return {
        "uuid": conversation.uuid,
        "name": conversation.name,
        "model": conversation.model,
        "settings": conversation.settings,
        "is_temporary": conversation.temporary,
        "current_leaf_message_uuid": conversation.turns[-1].uuid if conversation.turns else None,
    }
