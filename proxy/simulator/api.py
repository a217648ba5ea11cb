"""What each path of the simulated API answers, as values; nothing here touches a connection."""

from collections.abc import Callable, Mapping
from math import ceil
from urllib.parse import parse_qs

import msgspec

from proxy.clock import Clock
from proxy.errors import ErrorKind, GatewayError, InvalidRequest
from proxy.simulator import render
from proxy.simulator.chat import answer_chat, chat_error, is_chat, model_list
from proxy.simulator.chat_wire import ChatFault
from proxy.simulator.conversation import INVALID_SIGNATURE
from proxy.simulator.limits import AnswerHeaders
from proxy.simulator.messages import Answer, Text, Thought, Voice, compose, message_id
from proxy.simulator.models import describe, find_model, page_of_models
from proxy.simulator.objects import Asking, Objects, is_about_objects
from proxy.simulator.prefix import PromptCache, conversation_digest
from proxy.simulator.script import Step
from proxy.simulator.signatures import conversation_of, sign
from proxy.simulator.threads import Threads
from proxy.simulator.uploads import Upload
from proxy.simulator.validation import Checked, read_request
from proxy.simulator.web_calls import WebCall, session_key
from proxy.simulator.wire import MessagesRequest, TokenRequest

JSON = "application/json"
EVENT_STREAM = "text/event-stream; charset=utf-8"

_MAX_PAGE = 1000
_UNARY_SLICES = 8
_MAX_REMEMBERED = 256
_MAX_REMEMBERED_BYTES = 64 * 1024
_encoder = msgspec.json.Encoder()
_OTHER_CONVERSATION = "The block is bound to a different conversation."


class Request(msgspec.Struct):
    """A request as the paths see it.

    Attributes:
        method: as sent.
        path: without the query.
        query: what follows the question mark.
        headers: by lower-case name.
        body: whole.
        key: what it authenticated with.
        request_id: of the answer.
        call: which of claude.ai's calls it is; None for the API's own.
        limits: headers of the answer that tell of its organization's limits, where those are on the ledger.
        upload: the file it brings, which is not in its body.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    key: str
    request_id: str
    call: WebCall | None = None
    limits: list[tuple[str, str]] | None = None
    upload: Upload | None = None


class Reply(msgspec.Struct):
    """An answer before a behaviour sends it.

    Attributes:
        status: 200, or that of the error.
        content_type: of the body.
        frames: the body in pieces: the events of a stream, or some slices of a JSON body.
        streamed: whether the frames are events.
        tokens: of the answer.
    """

    status: int
    content_type: str
    frames: list[bytes]
    streamed: bool = False
    tokens: int = 0


def key_of(headers: dict[str, str]) -> str:
    """What a request authenticates with; empty when it brings nothing."""
    if key := headers.get("x-api-key"):
        return key
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    return session_key(headers["cookie"]) if "cookie" in headers else ""


def error_reply(request_id: str, error: GatewayError) -> Reply:
    """An error in its envelope."""
    details = msgspec.json.decode(error.details, type=dict[str, object]) if error.details else None
    body = render.error_body(error.kind, error.message, request_id=request_id, details=details)
    return Reply(error.status, JSON, [body])


class _Remembered(msgspec.Struct, frozen=True):
    """An answer given before, around the place of its id."""

    before: bytes
    after: bytes
    content_type: str
    streamed: bool
    tokens: int

    def reply(self, answer_id: str) -> Reply:
        """The same answer under a new id."""
        body = b"%b%b%b" % (self.before, answer_id.encode(), self.after)
        return Reply(200, self.content_type, [body], self.streamed, self.tokens)


_Known = tuple[bytes, str | None, bool]


class Api:
    """The simulated API of one server: counts its answers and keeps its organizations' caches and limits."""

    def __init__(
        self, headers: AnswerHeaders, clock: Clock, *, prefix: str, seed: int, strict_thinking: bool
    ) -> None:
        self._headers = headers
        self._clock = clock
        self._prefix = prefix
        self._seed = seed
        self._strict_thinking = strict_thinking
        self._answers = 0
        self._remembered: dict[_Known, _Remembered] = {}
        self.cache = PromptCache()
        self.threads = Threads()
        self.buckets = headers.buckets
        self.objects = Objects(clock, self._batched)
        self._paths: dict[tuple[str, str], Callable[[Request], Reply]] = {
            ("POST", "/v1/messages/count_tokens"): self._count_tokens,
            ("GET", "/v1/models"): self._models,
        }

    def reply(self, request: Request, *, events: int | None, step: Step | None, whole: bool) -> Reply:
        """Answer a request; `whole` is for answers without a step: all in one piece, which is faster."""
        try:
            return self._reply(request, events, step, whole=whole)
        except GatewayError as error:
            return error_reply(request.request_id, error)

    def _reply(self, request: Request, events: int | None, step: Step | None, *, whole: bool) -> Reply:
        method = "GET" if request.method == "HEAD" else request.method
        if request.path == "/api/hello" and method == "GET":
            return Reply(200, JSON, [b"{}"])
        if not request.key and is_chat(request.path):
            return Reply(401, JSON, [chat_error(401, "You didn't provide an API key.")])
        if not request.key:
            raise GatewayError(401, ErrorKind.AUTHENTICATION, "x-api-key header is required")
        if is_chat(request.path) and method == "POST":
            return self._chat(request, events, step or _PLAIN)
        if request.path == "/v1/messages" and method == "POST":
            return self._messages(request, events, step or _PLAIN, whole=whole)
        if is_about_objects(request.path):
            return self._about_objects(request, method)
        if (answer := self._paths.get((method, request.path))) is not None:
            return answer(request)
        if method == "GET" and request.path.startswith("/v1/models/"):
            return self._model(request)
        raise GatewayError(404, ErrorKind.NOT_FOUND, "Not Found")

    def _messages(self, request: Request, events: int | None, step: Step, *, whole: bool) -> Reply:
        headers = request.headers
        known = (request.body, headers.get("anthropic-version"), "anthropic-beta" in headers)
        organization = self._headers.organization(request.key)
        limited = self.buckets.has(organization)
        if whole and not limited and (remembered := self._remembered.get(known)) is not None:
            self._answers += 1
            return remembered.reply(message_id(self._answers))
        asked, checked = read_request(
            request.body,
            MessagesRequest,
            request.headers,
            lambda asked: self.threads.unfold(asked, organization),
        )
        if limited:
            self._admit(request, organization, checked)
        if _names_files(request):
            self.objects.check_named(asked.messages, organization)
        self._check_thinking(asked)
        self._answers += 1
        voice = Voice(
            number=self._answers,
            prefix=self._prefix,
            events=events,
            text=step.text,
        )
        answer = compose(asked, checked.model, voice)
        self._sign(asked, answer)
        answer.prompt_tokens = checked.prompt_tokens
        if checked.marked:
            now_s = self._clock.monotonic_s()
            answer.caching = self.cache.serve(asked, checked.model, organization, now_s)
        if step.stop_reason is not None:
            answer.stop_reason = step.stop_reason
        self.threads.keep(asked, answer, organization)
        if limited:
            self.buckets.charge(organization, checked.model.id, answer.output_tokens)
            request.limits = self.buckets.headers(organization, checked.model.id)
        if whole:
            reply = _whole(answer, streamed=bool(asked.stream))
            if self._repeatable(request, asked, checked, answer):
                self._remember(known, reply, answer)
            return reply
        if not asked.stream:
            body = _altered_message(render.message(answer), step)
            return Reply(200, JSON, _slices(body), tokens=answer.output_tokens)
        frames = _altered_events(render.events(answer), step)
        return Reply(200, EVENT_STREAM, frames, streamed=True, tokens=answer.output_tokens)

    def _about_objects(self, request: Request, method: str) -> Reply:
        asking = Asking(
            method=method,
            path=request.path,
            query=request.query,
            headers=request.headers,
            body=request.body,
            upload=request.upload,
            key=request.key,
            organization=self._headers.organization(request.key),
            url=f"http://{request.headers.get('host', '')}",
        )
        found = self.objects.reply(asking)
        return Reply(200, found.content_type, found.pieces)

    def _batched(self, params: bytes, headers: Mapping[str, str]) -> bytes:
        """The answer to a request of a batch."""
        asked, checked = read_request(params, MessagesRequest, dict(headers))
        self._answers += 1
        voice = Voice(number=self._answers, prefix=self._prefix, events=None, text=None)
        answer = compose(asked, checked.model, voice)
        answer.prompt_tokens = checked.prompt_tokens
        return render.message(answer)

    def _admit(self, request: Request, organization: str, checked: Checked) -> None:
        model = checked.model.id
        try:
            self.buckets.admit(organization, model, checked.prompt_tokens)
        except GatewayError as refused:
            wait_s = ceil(refused.retry_after_s or 0)
            request.limits = [*self.buckets.headers(organization, model), ("retry-after", str(wait_s))]
            raise

    def _chat(self, request: Request, events: int | None, step: Step) -> Reply:
        self._answers += 1
        voice = Voice(number=self._answers, prefix=self._prefix, events=events, text=step.text)
        try:
            answer = answer_chat(request.body, voice, step, self._clock.unix_ms() // 1000)
        except ChatFault as fault:
            body = chat_error(fault.status, fault.message, param=fault.param, code=fault.code)
            return Reply(fault.status, JSON, [body])
        if answer.streamed:
            return Reply(200, EVENT_STREAM, answer.frames, streamed=True, tokens=answer.tokens)
        return Reply(200, JSON, _slices(answer.frames[0]), tokens=answer.tokens)

    def _repeatable(self, request: Request, asked: MessagesRequest, checked: Checked, answer: Answer) -> bool:
        """Whether the same body always gets the same answer but for its id, and is small enough to keep."""
        return (
            len(request.body) <= _MAX_REMEMBERED_BYTES
            and not checked.marked
            and not _names_files(request)
            and not self._strict_thinking
            and asked.thinking is None
            and not bytes(asked.thread)
            and all(isinstance(part, Text) for part in answer.parts)
        )

    def _remember(self, known: _Known, reply: Reply, answer: Answer) -> None:
        if len(self._remembered) >= _MAX_REMEMBERED:
            self._remembered.clear()
        before, _, after = reply.frames[0].partition(answer.id.encode())
        self._remembered[known] = _Remembered(before, after, reply.content_type, reply.streamed, reply.tokens)

    def _sign(self, asked: MessagesRequest, answer: Answer) -> None:
        for part in answer.parts:
            if isinstance(part, Thought):
                digest = conversation_digest(asked, asked.messages)
                part.signature = sign(digest, "".join(part.shown), self._seed)

    def _check_thinking(self, asked: TokenRequest) -> None:
        """Refuse thinking that is not ours or was changed, and when strict, what was thought elsewhere."""
        for index, message in enumerate(asked.messages):
            blocks = message.content if isinstance(message.content, list) else []
            for position, block in enumerate(blocks):
                if block.type != "thinking":
                    continue
                where = f"messages.{index}.content.{position}: {INVALID_SIGNATURE}"
                made_in = conversation_of(block.signature or "", block.thinking or "", self._seed)
                if made_in is None:
                    raise InvalidRequest(where)
                if self._strict_thinking and made_in != conversation_digest(asked, asked.messages[:index]):
                    raise InvalidRequest(f"{where}. {_OTHER_CONVERSATION}")

    def _count_tokens(self, request: Request) -> Reply:
        asked, checked = read_request(request.body, TokenRequest, request.headers)
        if _names_files(request):
            self.objects.check_named(asked.messages, self._headers.organization(request.key))
        self._check_thinking(asked)
        return Reply(200, JSON, [_encoder.encode({"input_tokens": checked.prompt_tokens})])

    def _models(self, request: Request) -> Reply:
        if "x-api-key" not in request.headers and "anthropic-version" not in request.headers:
            return Reply(200, JSON, [model_list(self._clock)])
        query = parse_qs(request.query)
        limit = query.get("limit", ["20"])[-1]
        if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit) <= _MAX_PAGE:
            raise InvalidRequest(f"limit: Input should be between 1 and {_MAX_PAGE}")
        page = page_of_models(
            limit=int(limit),
            after_id=query.get("after_id", [None])[-1],
            before_id=query.get("before_id", [None])[-1],
            lifecycles=frozenset(query.get("lifecycle", ["active", "deprecated"])),
        )
        return Reply(200, JSON, [_encoder.encode(page)])

    @staticmethod
    def _model(request: Request) -> Reply:
        name = request.path.removeprefix("/v1/models/")
        model = find_model(name)
        if model is None:
            raise GatewayError(404, ErrorKind.NOT_FOUND, f"model: {name}")
        return Reply(200, JSON, [_encoder.encode(describe(model))])


_PLAIN = Step()


def _names_files(request: Request) -> bool:
    return b'"file_id"' in request.body


def _whole(answer: Answer, *, streamed: bool) -> Reply:
    if streamed:
        return Reply(200, EVENT_STREAM, [render.burst(answer)], streamed=True, tokens=answer.output_tokens)
    return Reply(200, JSON, [render.message(answer)], tokens=answer.output_tokens)


def replayed(recording: bytes) -> Reply:
    """A recorded stream, cut after each blank line."""
    frames = [part + b"\n\n" for part in recording.split(b"\n\n")]
    frames[-1] = frames[-1].removesuffix(b"\n\n")
    return Reply(200, EVENT_STREAM, [frame for frame in frames if frame], streamed=True)


def _slices(body: bytes) -> list[bytes]:
    size = -(-len(body) // _UNARY_SLICES)
    return [body[start : start + size] for start in range(0, len(body), size)]


def _altered_message(body: bytes, step: Step) -> bytes:
    if step.usage is not None:
        body = render.merged(body, {"usage": step.usage})
    if step.fields is not None and "message" in step.fields:
        body = render.merged(body, step.fields["message"])
    return body


def _altered_events(frames: list[bytes], step: Step) -> list[bytes]:
    if step.usage is not None:
        input_only = {name: value for name, value in step.usage.items() if not name.startswith("output_")}
        changes: dict[str, dict[str, object]] = {
            "message_start": {"message": {"usage": input_only}},
            "message_delta": {"usage": step.usage},
        }
        frames = [render.with_fields(frame, changes) for frame in frames]
    if step.fields is not None:
        frames = [render.with_fields(frame, step.fields) for frame in frames]
    for insert in sorted(step.insert, key=lambda insert: insert.before, reverse=True):
        frames.insert(insert.before, insert.text.encode())
    return frames
