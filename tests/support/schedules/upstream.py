"""An upstream that keeps to a plan, and remembers every call."""

import asyncio
import random
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import msgspec

from proxy.credentials import Credential, Kind
from proxy.pool import Fault, UpstreamError
from proxy.upstreams.base import Source, UpstreamCall, UpstreamFault, UpstreamRefused
from proxy.watch import Watch
from tests.support.schedules.plan import Account, Conduct, Interval, Plan
from tests.support.simulated_time import SimulatedClock

_NUMBER: Final = re.compile(rb"Question (\d+)\.")
_STATUSES: Final = {
    Conduct.REFUSED_KEY: 401,
    Conduct.OUT_OF_CREDIT: 402,
    Conduct.FORBIDDEN: 403,
    Conduct.LIMITED: 429,
    Conduct.LIMITED_FOR: 429,
    Conduct.BROKEN: 500,
    Conduct.UNAVAILABLE: 503,
    Conduct.OVERLOADED: 529,
}


class End(StrEnum):
    """What a call came to, in the words of the promises about it."""

    WHOLE = "whole"
    LEFT = "left"
    AUTH = "auth"
    BILLING = "billing"
    PERMISSION = "permission"
    RATE = "rate"
    SERVER = "server"
    OVERLOADED = "overloaded"
    ENDPOINT = "endpoint"
    CUT = "cut"


_ENDS: Final = {
    Conduct.REFUSED_KEY: End.AUTH,
    Conduct.OUT_OF_CREDIT: End.BILLING,
    Conduct.FORBIDDEN: End.PERMISSION,
    Conduct.LIMITED: End.RATE,
    Conduct.LIMITED_FOR: End.RATE,
    Conduct.BROKEN: End.SERVER,
    Conduct.UNAVAILABLE: End.SERVER,
    Conduct.OVERLOADED: End.OVERLOADED,
    Conduct.UNREACHABLE: End.ENDPOINT,
}


@dataclass(slots=True, eq=False)
class Call:
    """One call as the upstream saw it.

    Attributes:
        request: number of the client's request it was made for.
        account: whose credential it came with.
        interval: what held at that moment.
        began_s: monotonic seconds.
        end: what it came to; None while it runs.
        fault: which fault, where it was one; what is no fault has its end's name.
        ended_s: when that was.
        order: counts all ends from 1.
    """

    request: int
    account: Account
    interval: Interval
    began_s: float
    end: End | None = None
    fault: str = ""
    ended_s: float = float("inf")
    order: int = 0

    @property
    def name(self) -> str:
        """The alias of the credential."""
        return self.account.name


def answer_text(number: int) -> str:
    """What the upstream says to a question."""
    return f"The answer to question {number} is {number}, and that is all of it."


@dataclass(slots=True)
class PlannedUpstream:
    """See `proxy.upstreams.base.Upstream`.

    Attributes:
        plan: what happens.
        clock: the time.
        rng: of the paces.
        calls: all calls, in order.
    """

    plan: Plan
    clock: SimulatedClock
    rng: random.Random
    start_s: float
    calls: list[Call] = field(default_factory=list)
    ends: int = 0
    dialect: str = "anthropic"

    async def open(
        self, call: UpstreamCall, credential: Credential, watch: Watch, limit_s: float
    ) -> "PlannedReply":
        """See `Upstream.open`."""
        found = _NUMBER.search(call.body)
        account = next(one for one in self.plan.accounts if one.name == credential.name)
        now_s = self.clock.now_s
        interval = account.at(now_s - self.start_s)
        seen = Call(int(found[1]) if found else 0, account, interval, now_s)
        self.calls.append(seen)
        try:
            return await watch.within(limit_s, self._open(seen, call, account))
        except TimeoutError:
            self.ended(seen, End.SERVER, Fault.HEADERS_TIMEOUT)
            raise UpstreamFault(Fault.HEADERS_TIMEOUT) from None
        except asyncio.CancelledError:
            self.ended(seen, End.LEFT)
            raise

    async def forget(self, credential: Credential) -> None:
        """See `Upstream.forget`."""

    async def close(self) -> None:
        """See `Upstream.close`."""

    def ended(self, call: Call, end: End, fault: str = "") -> None:
        """Note what became of a call; only the first word counts."""
        if call.end is None:
            self.ends += 1
            call.end, call.fault, call.ended_s, call.order = end, fault or end, self.clock.now_s, self.ends

    async def _open(self, seen: Call, call: UpstreamCall, account: Account) -> "PlannedReply":
        conduct = seen.interval.conduct
        await asyncio.sleep(self.rng.uniform(0.01, 0.4))
        if (status := _STATUSES.get(conduct)) is not None:
            self.ended(seen, _ENDS[conduct])
            raise UpstreamRefused(_error(status, seen.interval), Source(None, account.organization))
        if conduct is Conduct.UNREACHABLE:
            self.ended(seen, End.ENDPOINT)
            raise UpstreamFault(Fault.CONNECT_REFUSED)
        if conduct is Conduct.CUT_BEFORE and self.rng.random() < 0.5:
            self.ended(seen, End.SERVER, Fault.RESET)
            raise UpstreamFault(Fault.RESET)
        if conduct is Conduct.SLOW and self.rng.random() < 0.5:
            await asyncio.get_running_loop().create_future()
        script = _script(conduct, seen.request, self.rng, stream=call.stream)
        source = Source(f"req_{len(self.calls)}", account.organization)
        content_type = "text/event-stream" if call.stream else "application/json"
        return PlannedReply(self, seen, script, source, content_type)


def _error(status: int, interval: Interval) -> UpstreamError:
    headers = {}
    if interval.conduct is Conduct.LIMITED_FOR:
        headers["retry-after"] = str(interval.retry_after_s)
    return UpstreamError(
        status=status, type="error", message="no", code=None, headers=headers, kind=Kind.ANTHROPIC
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """One thing a read brings: bytes, a fault, or nothing for ever."""

    after_s: float
    brings: bytes | Fault | None


def _script(conduct: Conduct, number: int, rng: random.Random, *, stream: bool) -> list[_Part]:
    frames = _frames(number) if stream else [_message(number)]
    parts = [_Part(rng.uniform(0.01, 0.6), frame) for frame in frames]
    cut = _Part(0.05, rng.choice([Fault.RESET, Fault.TRUNCATED]) if stream else Fault.TRUNCATED)
    match conduct:
        case Conduct.EMPTY:
            return []
        case Conduct.CUT_BEFORE:
            return [cut]
        case Conduct.SLOW:
            return [_Part(0, None)]
        case Conduct.CUT_AFTER if stream:
            at = rng.randint(1, len(parts) - 1)
            return parts[:at] + rng.choice([[cut], [], [_Part(0, None)]])
        case Conduct.CUT_AFTER:
            return [_Part(0.1, frames[0][:20]), cut]
        case _:
            return parts


def _frame(kind: str, **fields: object) -> bytes:
    return f"event: {kind}\ndata: ".encode() + msgspec.json.encode({"type": kind, **fields}) + b"\n\n"


def _frames(number: int) -> list[bytes]:
    text = answer_text(number)
    head, middle, tail = text[:10], text[10:20], text[20:]
    message = msgspec.json.decode(_message(number))
    message |= {"content": [], "stop_reason": None}
    deltas = [
        _frame("content_block_delta", index=0, delta={"type": "text_delta", "text": part})
        for part in (head, middle, tail)
    ]
    return [
        _frame("message_start", message=message),
        _frame("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        *deltas,
        _frame("content_block_stop", index=0),
        _frame(
            "message_delta",
            delta={"stop_reason": "end_turn", "stop_sequence": None},
            usage={"output_tokens": 7},
        ),
        _frame("message_stop"),
    ]


def _message(number: int) -> bytes:
    return msgspec.json.encode(
        {
            "id": f"msg_{number}",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-5-5",
            "content": [{"type": "text", "text": answer_text(number)}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 3, "output_tokens": 7},
        }
    )


@dataclass(slots=True)
class PlannedReply:
    """See `proxy.upstreams.base.ByteReply`."""

    upstream: PlannedUpstream
    call: Call
    script: list[_Part]
    source: Source
    content_type: str
    begun: bool = False
    fault: str = ""
    at_end: bool = False

    @property
    def ended(self) -> bool:
        """See `ByteReply.ended`."""
        return self.at_end

    async def read(self) -> bytes:
        """See `ByteReply.read`."""
        if not self.script:
            self.at_end = True
            return b""
        part = self.script[0]
        await asyncio.sleep(part.after_s)
        if part.brings is None:
            await asyncio.get_running_loop().create_future()
        if isinstance(part.brings, Fault):
            self.fault = part.brings
            raise UpstreamFault(part.brings)
        del self.script[0]
        self.begun = True
        return part.brings or b""

    async def read_all(self, watch: Watch, limit_s: float) -> bytes:
        """See `ByteReply.read_all`."""
        due_s = self.upstream.clock.now_s + limit_s
        found = []
        try:
            while chunk := await watch.within(due_s - self.upstream.clock.now_s, self.read()):
                found.append(chunk)
        except TimeoutError:
            self.fault = Fault.HEADERS_TIMEOUT
            raise UpstreamFault(Fault.HEADERS_TIMEOUT) from None
        return b"".join(found)

    def close(self) -> None:
        """See `ByteReply.close`; what it came to follows from what was given out until then."""
        conduct = self.call.interval.conduct
        whole = conduct not in {Conduct.EMPTY, Conduct.CUT_BEFORE, Conduct.CUT_AFTER, Conduct.SLOW}
        stream = self.content_type == "text/event-stream"
        if whole:
            self.upstream.ended(self.call, End.LEFT if self.script else End.WHOLE)
        elif stream and self.begun:
            self.upstream.ended(self.call, End.CUT)
        elif conduct is Conduct.EMPTY:
            self.upstream.ended(self.call, End.SERVER, Fault.EMPTY_STREAM if stream else Fault.GARBAGE)
        else:
            self.upstream.ended(self.call, End.SERVER, self.fault or Fault.FIRST_EVENT_TIMEOUT)
