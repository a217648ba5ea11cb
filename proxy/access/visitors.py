"""Callers who bring a claude.ai session of their own: whoever was told to stop stops, with another session too.

What is remembered of them are addresses and keyed digests of sessions, in the memory of this process alone; the key is
made at its start and kept nowhere.
"""

import asyncio
import re
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeVar

import msgspec

from proxy.access.guessing import ADDRESSES_MAX, site_of
from proxy.clock import Clock
from proxy.errors import ErrorKind, GatewayError, Unauthorized
from proxy.secrets import Secret
from proxy.settings import Policy

VISITOR: Final = "mirror"
"""The name all of them have where clients are named."""

_SESSION: Final = re.compile(r"(sk-ant-sid[A-Za-z0-9_-]{1,500})(?::([A-Za-z0-9-]{1,64}))?")
_DEAD_ADDRESS_S: Final = 3600.0
_DEAD_SESSION_S: Final = 86_400.0
_ONE_SESSION_FOR_S: Final = 600.0
_WAITING_MAX: Final = 8
_LONG_WAIT_S: Final = 60.0
_BUSY_RETRY_S: Final = 1.0

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Told(StrEnum):
    """What the site told a session."""

    LIMIT = "limit"
    DEAD = "dead"
    UNPAID = "unpaid"
    CHALLENGE = "challenge"


class Presented(msgspec.Struct, frozen=True):
    """A session as its owner presents it: the cookie, and the organization if one was named."""

    cookie: Secret
    organization: str | None


class Visit(msgspec.Struct, frozen=True):
    """A caller whose turn it is: where it comes from, and a keyed digest of its cookie."""

    site: str
    session: str


class _Answer(msgspec.Struct, frozen=True):
    """How a refusal looks."""

    status: int
    kind: ErrorKind
    message: str
    code: str


class _Stop(msgspec.Struct, frozen=True):
    """What was told, and until when it holds, monotonic."""

    told: Told
    until_s: float


class _Caller(msgspec.Struct):
    """Which session one address uses, in how many requests now, and when it did so last, monotonic."""

    session: str
    requests: int = 0
    used_s: float = 0.0


class _Turn(msgspec.Struct):
    """The one place of a session, and how many want it or have it."""

    place: asyncio.Lock
    users: int = 0


_ANSWERS: Final[Mapping[Told, _Answer]] = {
    Told.LIMIT: _Answer(
        429,
        ErrorKind.RATE_LIMIT,
        "claude.ai told a session from this address, or this session, that its limit is reached. No session is asked "
        "for you until that is over.",
        "rate_limit_exceeded",
    ),
    Told.DEAD: _Answer(
        401,
        ErrorKind.AUTHENTICATION,
        "claude.ai no longer accepts a session from this address, or this session: its login has ended, or the account "
        "was restricted. No session is asked for you for a while.",
        "invalid_api_key",
    ),
    Told.UNPAID: _Answer(
        503,
        ErrorKind.API,
        "claude.ai refuses a session from this address, or this session, until its account is paid for.",
        "no_usable_credential",
    ),
    Told.CHALLENGE: _Answer(
        503,
        ErrorKind.API,
        "claude.ai asks for a challenge that a gateway must not answer. No caller's session is asked for a while.",
        "no_usable_credential",
    ),
}


def presented_session(key: str) -> Presented | None:
    """What ``cookie`` or ``cookie:organization`` says; None for anything that is no cookie of claude.ai."""
    found = _SESSION.fullmatch(key)
    return None if found is None else Presented(Secret(found[1]), found[2])


def no_session() -> Unauthorized:
    """Whoever comes without a session is told what is wanted."""
    return Unauthorized(
        "This address needs a claude.ai session of your own: its cookie, or cookie:organization."
    )


class Visitors:
    """Who may ask with a session of their own now.

    A caller is an address, of IPv6 a network of 64 bits. It uses one session; another one only when the first was not
    used for ten minutes. A session answers one request at a time. What a session was told holds for its caller and for
    itself, a challenge for everybody. 10,000 of each are remembered, the oldest are forgotten first.
    """

    def __init__(self, policy: Policy, clock: Clock) -> None:
        self._policy = policy
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._stops: OrderedDict[tuple[str, str], _Stop] = OrderedDict()
        self._callers: OrderedDict[str, _Caller] = OrderedDict()
        self._turns: dict[str, _Turn] = {}
        self._way_out = _Stop(Told.CHALLENGE, 0.0)
        self._challenges = 0
        self._trying: Visit | None = None

    def __repr__(self) -> str:
        return f"<Visitors {len(self._callers)} callers, {len(self._stops)} stops, {len(self._turns)} turns>"

    async def let_in(self, address: str, cookie: Secret) -> Visit:
        """Wait for the turn of a caller; it ends with `leave`.

        Raises GatewayError 401, 429 or 503 where the caller, the session or the way out was told to stop, where the
        caller uses another session, and where its session is busy for too long.
        """
        visit = Visit(site_of(address), cookie.fingerprint(self._key, "visitor"))
        self._demand_leave(visit)
        caller = self._caller_of(visit)
        caller.requests += 1
        turn = self._turns.setdefault(visit.session, _Turn(asyncio.Lock()))
        turn.users += 1
        try:
            await self._place(turn)
            try:
                # what the request before this one was told holds for this one too
                self._demand_leave(visit)
                self._demand_way_out(visit)
            except BaseException:
                turn.place.release()
                raise
        except BaseException:
            self._gone(visit, turn)
            raise
        return visit

    def leave(self, visit: Visit) -> None:
        """The request and all that belongs to it have ended."""
        turn = self._turns[visit.session]
        turn.place.release()
        if self._trying is visit:
            self._trying = None
        self._gone(visit, turn)

    def heard_stop(self, visit: Visit, told: Told, for_s: float | None) -> GatewayError:
        """The site told a session something that holds for so many seconds; gives how its caller is told.

        `for_s` is not needed for what is dead and for a challenge.
        """
        now_s = self._clock.monotonic_s()
        if told is Told.CHALLENGE:
            self._challenged(now_s)
            return self._refusal_of(self._way_out, now_s)
        address_s, session_s = (
            (_DEAD_ADDRESS_S, _DEAD_SESSION_S) if told is Told.DEAD else (for_s or 0.0, for_s or 0.0)
        )
        stop = self._stop(("address", visit.site), _Stop(told, now_s + address_s))
        self._stop(("session", visit.session), _Stop(told, now_s + session_s))
        return self._refusal_of(stop, now_s)

    def answered(self, visit: Visit) -> None:
        """The site answered without a challenge: the way out is open to all again."""
        if self._trying is None or self._trying is visit:
            self._challenges = 0

    def _demand_leave(self, visit: Visit) -> None:
        """Raises GatewayError for whoever may not ask now."""
        now_s = self._clock.monotonic_s()
        stops = (
            self._way_out,
            self._stops.get(("address", visit.site)),
            self._stops.get(("session", visit.session)),
        )
        for stop in stops:
            if stop is not None and now_s < stop.until_s:
                raise self._refusal_of(stop, now_s)

    def _demand_way_out(self, visit: Visit) -> None:
        """After a challenge one request at a time finds out whether it is over. Raises GatewayError for the others."""
        if not self._challenges:
            return
        if self._trying is not None:
            now_s = self._clock.monotonic_s()
            raise self._refusal_of(_Stop(Told.CHALLENGE, now_s + self._policy.blocked_cooling_s), now_s)
        self._trying = visit

    def _caller_of(self, visit: Visit) -> _Caller:
        """The caller, with this session as its one. Raises GatewayError while it uses another."""
        now_s = self._clock.monotonic_s()
        caller = self._callers.get(visit.site)
        if caller is not None and caller.session != visit.session:
            left_s = caller.used_s + _ONE_SESSION_FOR_S - now_s
            if caller.requests:
                left_s = _ONE_SESSION_FOR_S
            if left_s > 0:
                raise _another(left_s)
            caller = None
        if caller is None:
            caller = _Caller(visit.session)
        caller.used_s = now_s
        _remember(self._callers, visit.site, caller)
        return caller

    async def _place(self, turn: _Turn) -> None:
        if turn.users > _WAITING_MAX:
            raise _busy()
        try:
            async with asyncio.timeout(self._policy.queue_wait_s):
                await turn.place.acquire()
        except TimeoutError:
            raise _busy() from None

    def _gone(self, visit: Visit, turn: _Turn) -> None:
        turn.users -= 1
        if not turn.users:
            self._turns.pop(visit.session, None)
        caller = self._callers.get(visit.site)
        if caller is not None and caller.session == visit.session:
            caller.requests = max(caller.requests - 1, 0)
            caller.used_s = self._clock.monotonic_s()

    def _challenged(self, now_s: float) -> None:
        if now_s < self._way_out.until_s:
            return
        rest_s = self._policy.blocked_cooling_s * 2.0 ** min(self._challenges, 16)
        self._challenges += 1
        self._way_out = _Stop(Told.CHALLENGE, now_s + min(rest_s, self._policy.blocked_max_s))

    def _stop(self, whom: tuple[str, str], stop: _Stop) -> _Stop:
        """Note a stop; one that lasts longer stays."""
        known = self._stops.get(whom)
        if known is not None and known.until_s >= stop.until_s:
            return known
        _remember(self._stops, whom, stop)
        return stop

    def _refusal_of(self, stop: _Stop, now_s: float) -> GatewayError:
        answer, left_s = _ANSWERS[stop.told], max(stop.until_s - now_s, 1.0)
        return GatewayError(
            answer.status,
            answer.kind,
            answer.message,
            code=answer.code,
            retry_after_s=left_s,
            should_retry=False if left_s > _LONG_WAIT_S or answer.status == 401 else None,
        )


def _remember(known: OrderedDict[_Key, _Value], key: _Key, value: _Value) -> None:
    known[key] = value
    known.move_to_end(key)
    if len(known) > ADDRESSES_MAX:
        known.popitem(last=False)


def _another(left_s: float) -> GatewayError:
    return GatewayError(
        429,
        ErrorKind.RATE_LIMIT,
        "Another claude.ai session was used from this address a short while ago. One caller uses one session.",
        code="another_session_in_use",
        retry_after_s=left_s,
        should_retry=False,
    )


def _busy() -> GatewayError:
    return GatewayError(
        429,
        ErrorKind.RATE_LIMIT,
        "This session answers another request. It is asked one question at a time.",
        code="session_busy",
        retry_after_s=_BUSY_RETRY_S,
    )
