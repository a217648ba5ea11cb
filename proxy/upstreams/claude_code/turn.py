"""One question to a child and what becomes of it, told from two sides: by the child, and by the listener."""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final

import msgspec

from proxy.dialects.common import Observed
from proxy.dialects.splicing import splice
from proxy.dialects.sse import encode_frame
from proxy.pool import Fault
from proxy.upstreams.base import Source, UpstreamFault, UpstreamRefused
from proxy.upstreams.claude_code.client_tools import ClientTools
from proxy.upstreams.claude_code.environment import RESUME_PROMPT
from proxy.upstreams.reply import HttpReply

_WAITING_MAX_BYTES: Final = 256 * 1024


class _Part(msgspec.Struct):
    type: str = ""
    text: str = ""
    cache_control: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Said(msgspec.Struct):
    role: str
    content: str | list[msgspec.Raw]


class _Body(msgspec.Struct):
    messages: list[msgspec.Raw]


_said = msgspec.json.Decoder(_Said)
_body = msgspec.json.Decoder(_Body)
_part = msgspec.json.Decoder(_Part)
_encoder = msgspec.json.Encoder()
_RESUME_PROMPT: Final = _encoder.encode(RESUME_PROMPT)


class Edits(msgspec.Struct, frozen=True):
    """What becomes of a child's request before it goes out.

    Attributes:
        set: fields of the client's, as JSON.
        remove: fields of the program's own that the client did not ask for.
    """

    set: Mapping[str, bytes] = {}
    remove: frozenset[str] = frozenset()

    def apply(self, body: bytes, tools: ClientTools | None = None) -> bytes:
        """The request as it goes out, with the calls of `tools`. Raises InvalidRequest for a body that is no object."""
        changes = dict(self.set)
        called = tools is not None and tools.called
        if called or b'"role":"system"' in body or _RESUME_PROMPT in body:
            with suppress(ValueError, RecursionError):
                messages = _as_said(_body.decode(body).messages)
                if tools is not None and called:
                    messages = tools.to_upstream(messages)
                changes["messages"] = _encoder.encode(messages)
        return splice(body, set=changes, remove=self.remove)


def _as_said(messages: list[msgspec.Raw]) -> list[msgspec.Raw]:
    """Without what the program puts in: empty messages that set its own effort, and its word to go on."""
    kept: list[msgspec.Raw] = []
    for raw in messages:
        said = _said.decode(raw)
        if said.role == "system" and not said.content:
            continue
        if said.role == "user" and isinstance(said.content, list) and _RESUME_PROMPT in bytes(raw):
            parts = _without_prompt(said.content)
            if parts != said.content:
                raw = msgspec.Raw(_encoder.encode({"role": "user", "content": parts}))  # noqa: PLW2901 - the same
        kept.append(raw)
    return kept


def _without_prompt(parts: list[msgspec.Raw]) -> list[msgspec.Raw]:
    """What a user says but for the program's word to go on, whose mark for the prompt cache goes to what stays."""
    own = [part for part in map(_part.decode, parts) if part.text == RESUME_PROMPT]
    kept = [part for part in parts if _part.decode(part).text != RESUME_PROMPT]
    if not own or not kept:
        return parts
    if isinstance(mark := own[-1].cache_control, msgspec.Raw):
        marked = splice(kept[-1], set={"cache_control": bytes(mark)}, remove=())
        kept[-1] = msgspec.Raw(marked)
    return kept


class Ended(msgspec.Struct, frozen=True):
    """The child has ended its turn.

    Attributes:
        status: of the API's error it ran into; None where there was none, or it does not say.
        failed: whether it ended for an error of the API's.
        text: what it says about it.
    """

    failed: bool = False
    status: int | None = None
    text: str = ""


class Turn:
    """One question under way. The child tells its end; the listener tells what the wire says.

    Where a listener reads the wire and there is one request, the answer is what the wire says, before the child has
    read it. Where nobody does, or many answers become one, the answer is what the child tells.

    Attributes:
        edits: what becomes of the child's request.
        wired: whether the answer is what the wire says.
        tools: the client's tools as the child knows them; None where it does not.
        source: who answered.
        observed: what the wire has shown; None where no listener reads it, or before it answers.
        ended: how it ended; None before.
        over: set when it has ended, or waits for the client.
        waits: whether the child waits for what the client's tools give.
        resets_unix_s: when a login's limit ends, as far as the program says; None otherwise.
    """

    def __init__(self, edits: Edits | None = None, *, wired: bool = True) -> None:
        self.edits = edits or Edits()
        self.wired = wired
        self.tools: ClientTools | None = None
        self.waits = False
        self.source = Source()
        self.observed: Observed | None = None
        self.ended: Ended | None = None
        self.resets_unix_s: int | None = None
        self._begun = False
        self._aborted = False
        self._problem: UpstreamRefused | UpstreamFault | None = None
        self._reply: HttpReply | None = None
        self._frames: deque[bytes] = deque()
        self._waiting_bytes = 0
        self.over = asyncio.Event()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    @property
    def broken(self) -> bool:
        """Whether it has come to nothing, or to something that was cut."""
        return self._problem is not None or self._aborted

    @property
    def acted(self) -> bool:
        """Whether anything was done on the way, so that asking again would do it twice."""
        return False

    def begin(self) -> bool:
        """Whether a request of it may pass: the first one, while anybody waits for its answer."""
        allowed = not self._begun and not self._aborted
        self._begun = True
        return allowed

    def answer(self, reply: HttpReply, observed: Observed) -> None:
        """The upstream answers; `observed` goes on to show what."""
        self._reply = reply
        self.source = reply.source
        self.observed = observed
        if self._aborted:
            reply.close()

    def refuse(self, refused: UpstreamRefused) -> None:
        """The upstream refused."""
        self._settle(refused)

    def fail(self, fault: Fault) -> None:
        """The upstream, or the child, failed; what is known first counts."""
        self._settle(UpstreamFault(fault))

    def abort(self) -> None:
        """Nobody waits any more: stop the upstream's work at once."""
        self._aborted = True
        self._room.set()
        if self._reply is not None:
            self._reply.close()

    def _settle(self, problem: UpstreamRefused | UpstreamFault) -> None:
        if self._problem is None:
            self._problem = problem
        self._room.set()
        self._news.set()

    async def pass_on(self, events: bytes) -> None:
        """The wire says whole events of the answer. Waits while too many are unread."""
        if self.wired:
            await self._room.wait()
            if not self._aborted:
                self._put(events)

    async def tell(self, event: dict[str, object]) -> None:
        """The child tells an event of the answer. Waits while too many are unread.

        What it tells after the wire has broken is its own invention, and left out.
        """
        if self.wired:
            return
        await self._room.wait()
        if not (self.broken or (self.observed is not None and self.observed.error is not None)):
            self._add((event,))

    def _add(self, events: Iterable[dict[str, object]]) -> None:
        for event in events:
            if isinstance(kind := event.get("type"), str):
                self._put(encode_frame(_encoder.encode(event), kind))

    def _put(self, frames: bytes) -> None:
        self._frames.append(frames)
        self._news.set()
        self._waiting_bytes += len(frames)
        if self._waiting_bytes >= _WAITING_MAX_BYTES:
            self._room.clear()

    def saw(self, message: Mapping[str, object]) -> None:
        """The child has sent a message, of whatever sort, as it came. Nothing is made of it here."""

    def wait_for_client(self) -> None:
        """The child has called a tool of the client's, and goes on when it has the result."""
        self.waits = True
        self.over.set()

    def end(self, ended: Ended) -> None:
        """It has ended, as the child tells it, or for an error event on the wire; what is known first counts."""
        if self.ended is None:
            self.ended = ended
        self.waits = False
        self._news.set()
        self.over.set()

    async def told(self) -> list[bytes]:
        """The whole events since the last call; none at the end of the turn. Safe to cancel.

        Raises UpstreamRefused and UpstreamFault, as soon as what came before was read.
        """
        while not self._frames:
            if self._problem is not None:
                raise self._problem
            if self.ended is not None:
                return []
            self._news.clear()
            await self._news.wait()
        found = list(self._frames)
        self._frames.clear()
        self._waiting_bytes = 0
        self._room.set()
        return found
