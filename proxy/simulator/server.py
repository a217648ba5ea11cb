"""The simulated Claude as a server: its listener, its scripts and its record."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence

from proxy.clock import Clock, SystemClock
from proxy.simulator import http
from proxy.simulator.api import Api, Reply, Request
from proxy.simulator.buckets import Limits
from proxy.simulator.call import Call, Services
from proxy.simulator.chat import is_chat
from proxy.simulator.connection import Connection
from proxy.simulator.control import control
from proxy.simulator.limits import AnswerHeaders, organization_of
from proxy.simulator.listener import Listener
from proxy.simulator.objects import FILES_PATH
from proxy.simulator.record import DEFAULT_RECORD_LIMIT, Record
from proxy.simulator.script import Pace, Scripts, Step
from proxy.simulator.sending import send_paced
from proxy.simulator.uploads import Upload
from proxy.simulator.web import WebSite
from proxy.simulator.web_behaviours import BEHAVIOURS
from proxy.tasks import spawn

_AT_ONCE = Pace()
_MOST_BURST_EVENTS = 10_000
_TURNS_TO_CLOSE = 100


class Simulator:
    """A Claude API that does what it is told.

    Without a script every key is served well; `script` changes that, key by key. It may be started again after
    it was stopped.

    Attributes:
        record: what was received, and how it ended.
        connections: those open now.
        site: the simulated claude.ai, with its ledger.
        services: what its connections share.
        objects: files and batches.
    """

    def __init__(
        self,
        *,
        prefix: str = "",
        pace: Pace = _AT_ONCE,
        seed: int = 0,
        time_scale: float = 1.0,
        clock: Clock | None = None,
        record_limit: int = DEFAULT_RECORD_LIMIT,
        organization: Callable[[str], str] = organization_of,
        strict_thinking: bool = False,
        keep_answers: bool = False,
    ) -> None:
        """Prepare a simulator; `start` opens it.

        Args:
            prefix: what every text it says begins with; answers that are JSON have none.
            pace: how fast it speaks where no step says otherwise.
            seed: of the signatures.
            time_scale: factor of every delay; at least 0.
            clock: of the record, of cache lifetimes and of reset times.
            record_limit: how many requests the record keeps.
            organization: the organization of a key that was not assigned one.
            strict_thinking: refuse a thinking block that was not made in exactly this conversation.
            keep_answers: record what was sent of every answer, for `proxy.simulator.ledger`; not with ``writes``.
        """
        clock = clock or SystemClock()
        self.record = Record(limit=record_limit)
        self.connections: set[Connection] = set()
        self._headers = AnswerHeaders(clock, organization)
        self._api = Api(self._headers, clock, prefix=prefix, seed=seed, strict_thinking=strict_thinking)
        self.site = WebSite(self._headers, clock, prefix=prefix)
        self.objects = self._api.objects
        self._scripts = Scripts()
        self._pace = pace
        self._at_once = _is_at_once(pace)
        self._answers = 0
        self._listener = Listener(lambda: Connection(self))
        self._reopening: asyncio.TimerHandle | None = None
        self.services = Services(
            clock=clock,
            headers=self._headers,
            time_scale=time_scale,
            pace=pace,
            reply=self._reply,
            refuse=self._refuse_for,
            keeps_answers=keep_answers,
        )

    @property
    def url(self) -> str:
        """Where it listens, ``http://host:port``; empty before the start."""
        return self._listener.url

    @property
    def site_url(self) -> str:
        """The same by a host name, for what keeps cookies; it has to listen on the loopback address."""
        return f"http://localhost:{self._listener.port}" if self._listener.port else ""

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen on every address of `host`; port 0 takes a free one. Raises `OSError`."""
        await self._listener.open(host, port)

    async def stop(self) -> None:
        """Close the listener and every connection, and end all work; safe to call twice."""
        self._keep_refusing()
        self._listener.close()
        tasks = [connection.task for connection in self.connections if connection.task is not None]
        for connection in list(self.connections):
            connection.abort()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _ in range(_TURNS_TO_CLOSE):
            if not self.connections:
                return
            await asyncio.sleep(0)

    async def refuse(self) -> None:
        """Refuse connections, and close those that are idle; answers under way go on."""
        self._keep_refusing()
        self._close()

    async def accept(self) -> None:
        """Take connections again, on the same port."""
        self._keep_refusing()
        await self._listener.reopen()

    def script(self, key: str, steps: Sequence[Step] = (), *, then: Step | None = None) -> None:
        """Say how the next requests of a key are answered, and with `then` all that follow.

        `ANY_KEY` stands for every key without a script. Raises `ValueError` for a behaviour there is not.
        """
        for step in (*steps, then):
            _check(step)
        self._scripts.set(key, steps, then=then)

    def assign(self, key: str, organization: str) -> None:
        """Put a key into an organization; keys of one share its name and its cache."""
        self._headers.assign(key, organization)

    def limit(self, organization: str, limits: Limits) -> None:
        """Give an organization limits that are counted, told in every answer and enforced."""
        self._headers.buckets.limit(organization, limits)

    def reset(self) -> None:
        """Forget scripts, records, organizations, limits, caches and conversations; connections stay."""
        self._scripts.clear()
        self.site.clear()
        self.record.clear()
        self._headers.clear()
        self._api.cache.clear()
        self._api.threads.clear()
        self.objects.clear()

    def next_request_id(self) -> str:
        """A new id for an answer."""
        self._answers += 1
        return f"req_sim_{self._answers:020d}"

    def begin_upload(self, head: http.Head, key: str) -> Upload | None:
        """Where the body of a request goes as it comes; None where it is kept."""
        if head.method != "POST" or head.target.partition("?")[0] != FILES_PATH:
            return None
        return self.objects.begin_upload(key, head.fields.get("content-type", ""))

    def serve(self, call: Call) -> Coroutine[None, None, None] | None:
        """Answer a call at once, or give the work that will."""
        request = call.request
        if request.path.startswith("/__"):
            call.send_whole(control(request, self))
            return None
        if request.call is not None:
            self.site.note(request)
        step = self._scripts.next(request.key, request.path, request.call) if request.key else None
        call.received.step = step.do if step is not None else _PLAIN.do
        if step is None and (self._at_once or not _paced(request)):
            reply = self._whole(request)
            if len(reply.frames) > 1 and not reply.streamed:
                return _sent_in_pieces(call, reply)
            if reply.streamed and self._pace.writes > 1:
                call.send_in_parts(reply, self._pace.writes)
            else:
                call.send_whole(reply)
            return None
        return _run(call, step or _PLAIN)

    def _whole(self, request: Request) -> Reply:
        if request.call is not None:
            return self.site.reply(request, events=self._pace.events, step=None)
        return self._api.reply(request, events=self._pace.events, step=None, whole=True)

    def _reply(self, request: Request, step: Step | None) -> Reply:
        pace = step.pace if step is not None and step.pace is not None else self._pace
        events = pace.events
        if request.call is not None:
            return self.site.reply(request, events=events, step=step)
        return self._api.reply(request, events=events, step=step, whole=False)

    def _close(self) -> None:
        self._listener.close()
        for connection in list(self.connections):
            if connection.idle:
                connection.abort()

    def _refuse_for(self, seconds: float) -> None:
        self._keep_refusing()
        self._close()
        if seconds > 0:
            loop = asyncio.get_running_loop()
            self._reopening = loop.call_later(seconds * self.services.time_scale, self._reopen)

    def _reopen(self) -> None:
        self._reopening = None
        _ = spawn(self._listener.reopen(), name="simulator reopens")

    def _keep_refusing(self) -> None:
        if self._reopening is not None:
            self._reopening.cancel()
            self._reopening = None


_PLAIN = Step()


def _is_at_once(pace: Pace) -> bool:
    """Whether answers at this pace are short and without a pause, so that they can be written in one go."""
    few = (pace.events or 0) <= _MOST_BURST_EVENTS
    return few and pace.first_token_delay_s == 0 and pace.tokens_per_s is None


def _paced(request: Request) -> bool:
    """Whether the answer is a model's speech."""
    return request.path.startswith("/v1/messages") or request.call == "complete" or is_chat(request.path)


def _check(step: Step | None) -> None:
    while step is not None:
        if step.do not in BEHAVIOURS:
            raise ValueError(f"no behaviour is named {step.do!r}; there are {', '.join(sorted(BEHAVIOURS))}")
        step = step.next


async def _sent_in_pieces(call: Call, reply: Reply) -> None:
    try:
        await send_paced(call, reply, _AT_ONCE, _PLAIN)
    finally:
        call.cut("reset")


async def _run(call: Call, step: Step) -> None:
    try:
        await BEHAVIOURS[step.do](call, step)
    finally:
        call.cut("reset")
