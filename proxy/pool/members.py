"""What the pool is made of: members, their seats for each limit class, and the leases on them."""

import sys
from collections.abc import Hashable, Iterator
from enum import Enum
from fnmatch import fnmatchcase
from typing import Final

from proxy.credentials import Credential, Kind
from proxy.exchange import Operation
from proxy.pool.headroom import Allowance
from proxy.pool.health import Ladder, Standing
from proxy.pool.minute import quota_of

CLAUDE_CODE_MODEL: Final = "claude-code"
_CLOSED_MODELS_MAX: Final = 128
_OBJECTS: Final = (Operation.FILES, Operation.BATCHES)


class WayOut:
    """One network path to one upstream. A challenge puts it out of use for all credentials that take it.

    Attributes:
        standing: out of use for a challenge.
        ladder: how far up the times for that it is.
        unreached: failures to connect in a row.
        avoided_until_s: monotonic seconds until which others are asked rather, for want of a connection.
        probe: serial of the lease that tries to connect again, 0 for none.
    """

    __slots__ = ("avoided_until_s", "ladder", "probe", "standing", "unreached")

    def __init__(self) -> None:
        self.standing = Standing()
        self.ladder = Ladder()
        self.unreached = 0
        self.avoided_until_s = 0.0
        self.probe = 0


class SlowStart:
    """The places of a seat that has come back after faults: one more with each whole answer.

    As long as all places are in use that doubles them in the time of one answer: 1, 2, 4.

    Attributes:
        places: how many are open.
        taken: how many of them are in use.
        until_s: monotonic seconds at which it ends by itself.
    """

    __slots__ = ("places", "taken", "until_s")

    def __init__(self, until_s: float) -> None:
        self.places = 1
        self.taken = 0
        self.until_s = until_s


class CallWindow:
    """Calls and faults of about the last `length_s` seconds, in six parts that are forgotten one at a time."""

    __slots__ = ("_calls", "_faults", "_part", "_part_s", "length_s")

    def __init__(self, length_s: float) -> None:
        self.length_s = length_s
        self._part_s = length_s / 6
        self._part = -1
        self._calls = [0] * 6
        self._faults = [0] * 6

    def record(self, now_s: float, *, fault: bool) -> None:
        """Count one call."""
        part = int(now_s / self._part_s)
        if part != self._part:
            self._forget(part)
        self._calls[part % 6] += 1
        if fault:
            self._faults[part % 6] += 1

    def share(self, *, calls_min: int) -> float:
        """The faults' share, 0 to 1; 0 while fewer than `calls_min` calls are remembered."""
        calls = sum(self._calls)
        return sum(self._faults) / calls if calls >= max(calls_min, 1) else 0.0

    def clear(self) -> None:
        """Forget everything."""
        self._calls = [0] * 6
        self._faults = [0] * 6

    def _forget(self, part: int) -> None:
        for passed in range(max(self._part + 1, part - 5), part + 1):
            self._calls[passed % 6] = self._faults[passed % 6] = 0
        self._part = part


class Seat:
    """A member's part in one limit class: its health there and its turn in the rotation.

    Attributes:
        member: whose it is.
        limit_class: which class.
        standing: out of use for faults or a rate limit.
        weight: its share of the rotation.
        current: its turn in the rotation at the moment; the greatest is next.
        serves: whether the member serves a model of the class, as far as anybody asked.
        strikes: faults in a row.
        struck_at_s: when the last one was, monotonic.
        held: whether only the half rule keeps it in use.
        window: its calls of the last minute.
        fault_ladder, rate_ladder: how far up it is.
        recovered_at_s: when it last came back from faults, monotonic.
        allowance: what is left of its limits, as far as known; one object for all who share them.
        slow_start: while it takes its share of traffic bit by bit after faults; else None.
    """

    __slots__ = (
        "allowance",
        "current",
        "fault_ladder",
        "held",
        "limit_class",
        "member",
        "rate_ladder",
        "recovered_at_s",
        "serves",
        "slow_start",
        "standing",
        "strikes",
        "struck_at_s",
        "weight",
        "window",
    )

    def __init__(self, member: "Member", limit_class: str, *, window_s: float) -> None:
        self.member = member
        self.limit_class = limit_class
        self.standing = Standing()
        self.weight = member.weight
        self.current = 0
        self.serves = False
        self.strikes = 0
        self.struck_at_s = 0.0
        self.held = False
        self.window = CallWindow(window_s)
        self.fault_ladder = Ladder()
        self.rate_ladder = Ladder()
        self.recovered_at_s = 0.0
        self.allowance = Allowance()
        self.slow_start: SlowStart | None = None

    def inherit(self, seat: "Seat") -> None:
        """Share the health of `seat`, and go on from its faults."""
        self.standing = seat.standing
        self.window = seat.window
        self.fault_ladder = seat.fault_ladder
        self.rate_ladder = seat.rate_ladder
        self.strikes = seat.strikes
        self.struck_at_s = seat.struck_at_s
        self.held = seat.held
        self.recovered_at_s = seat.recovered_at_s

    def forget(self) -> None:
        """Forget all faults and how far up the ladders it is."""
        self.strikes = 0
        self.held = False
        self.window.clear()
        self.fault_ladder.rung = self.rate_ladder.rung = 0
        self.slow_start = None

    @property
    def idle(self) -> bool:
        """Whether nothing is remembered that anybody would miss."""
        return (
            not self.strikes
            and not self.held
            and self.standing.ready
            and not self.allowance.short_until_s
            and self.slow_start is None
        )


class Member:
    """A credential in the pool.

    Attributes:
        credential: what it is.
        name: its alias.
        fallback: whether it is a last resort, asked once after all other credentials.
        max_concurrency: its places; a very great number where there is no limit.
        in_flight: leases on it.
        quota: its requests of the last minute; None where nothing limits them.
        standing: out of use as a whole.
        way_out: shared with the members that take the same path to the same upstream.
        way_standing: the way out's own standing.
        closed: models it may not use for a while.
        seats: by limit class.
        organization, workspace: as configured or learned; None while unknown.
        denied_at_s: when its key was refused, monotonic; None after a success.
        spared: whether only the half rule keeps its refused key from being disabled.
        probe: serial of the lease that tries it, 0 for none; never two at once.
        probe_until_s: when that one's permit ends by itself.
        retired: whether it is no longer configured and its health is of no interest; its leases only end.
        succeeded, failed, abandoned: leases given back so.
    """

    __slots__ = (
        "abandoned",
        "auth_ladder",
        "billing_ladder",
        "closed",
        "credential",
        "denied_at_s",
        "failed",
        "fallback",
        "in_flight",
        "max_concurrency",
        "name",
        "organization",
        "probe",
        "probe_until_s",
        "quota",
        "retired",
        "seats",
        "spared",
        "standing",
        "succeeded",
        "way_out",
        "way_standing",
        "weight",
        "workspace",
    )

    def __init__(self, credential: Credential, way_out: WayOut) -> None:
        self.credential = credential
        self.name = credential.name
        self.fallback = credential.fallback or credential.kind is Kind.OPENAI
        self.weight = credential.weight
        self.max_concurrency = _places_of(credential)
        self.in_flight = 0
        self.quota = quota_of(credential.requests_per_minute, None)
        self.standing = Standing()
        self.way_out = way_out
        self.way_standing = way_out.standing
        self.closed: dict[str, Standing] = {}
        self.seats: dict[str, Seat] = {}
        self.organization = credential.organization
        self.workspace: str | None = None
        self.denied_at_s: float | None = None
        self.spared = False
        self.auth_ladder = Ladder()
        self.billing_ladder = Ladder()
        self.probe = 0
        self.probe_until_s = 0.0
        self.retired = False
        self.succeeded = self.failed = self.abandoned = 0

    def obey(self, credential: Credential) -> None:
        """Follow other rules from now on: weight, tier, models, places, clients. The key and its use are the same."""
        before, self.credential = self.credential, credential
        self.weight = credential.weight
        self.max_concurrency = _places_of(credential)
        self.quota = quota_of(credential.requests_per_minute, self.quota)
        if credential.organization != before.organization:
            self.organization, self.workspace = credential.organization, None
        served_alike = (credential.models, credential.clients) == (before.models, before.clients)
        for seat in self.seats.values():
            seat.weight = credential.weight
            # whoever asks next finds out whether it still serves a model of the class
            seat.serves = seat.serves and served_alike

    def inherit(self, member: "Member") -> None:
        """Share the health of `member`, which is the same key with other means; its leases stay its own."""
        self.standing = member.standing
        self.closed = member.closed
        self.quota = quota_of(self.credential.requests_per_minute, member.quota)
        self.auth_ladder = member.auth_ladder
        self.billing_ladder = member.billing_ladder
        self.denied_at_s = member.denied_at_s
        self.spared = member.spared
        if self.credential.organization == member.credential.organization:
            self.organization, self.workspace = member.organization, member.workspace
        self.succeeded, self.failed, self.abandoned = member.succeeded, member.failed, member.abandoned
        for limit_class, seat in member.seats.items():
            own = self.seats[limit_class] = Seat(self, limit_class, window_s=seat.window.length_s)
            own.inherit(seat)

    @property
    def group(self) -> Hashable:
        """What shares rate limits with it: organization and workspace, or itself alone while they are unknown.

        What an account may do at claude.ai and what an organization may use of the API are limits of their own.
        """
        if self.organization is None:
            return self.name
        return (self.organization, self.workspace, self.credential.kind is Kind.CLAUDE_WEB)

    def seat(self, limit_class: str, *, window_s: float) -> Seat:
        """Its seat in a class, made when first asked for."""
        seat = self.seats.get(limit_class)
        if seat is None:
            seat = self.seats[limit_class] = Seat(self, limit_class, window_s=window_s)
        return seat

    def closing(self, model: str) -> Standing:
        """The standing of one model; the longest remembered one is forgotten when there are over 128."""
        standing = self.closed.get(model)
        if standing is None:
            while len(self.closed) >= _CLOSED_MODELS_MAX:
                del self.closed[next(iter(self.closed))]
            standing = self.closed[model] = Standing()
        return standing

    def forget_closed(self, before_s: float) -> None:
        """Forget the models that could have been tried again since `before_s`, monotonic, and were not."""
        for model in [model for model, standing in self.closed.items() if standing.until_s <= before_s]:
            del self.closed[model]

    def serves(self, model: str, client: str | None, limit_class: str = "") -> bool:
        """Whether it is configured to serve `model` to `client`, or to anybody for None, whatever its health."""
        credential = self.credential
        if limit_class == Operation.COUNT_TOKENS and credential.kind is Kind.OPENAI:
            return False
        if credential.clients and client is not None and client not in credential.clients:
            return False
        if limit_class in _OBJECTS:
            # files and batches belong to a key, whatever models it may be asked for
            return credential.kind is Kind.ANTHROPIC
        if credential.models:
            return any(fnmatchcase(model, pattern) for pattern in credential.models)
        if model == CLAUDE_CODE_MODEL:
            return credential.kind is Kind.CLAUDE_CODE
        return model.startswith("claude-")


def _places_of(credential: Credential) -> int:
    return sys.maxsize if credential.max_concurrency is None else credential.max_concurrency


def endpoint_of(credential: Credential) -> Hashable:
    """Where a credential's calls go and by which path."""
    return (credential.kind, credential.base_url, credential.way_out)


class Lease:
    """One place at a member, from its choice to the last byte. The pool makes it and takes it back once.

    Attributes:
        serial: counts up over all leases of a pool, from 1.
        seat: the place.
        member: whose place it is.
        credential: what to call the upstream with.
        name: the alias of that.
        model: the model it was granted for.
        granted_at_s: monotonic seconds.
        trial: whether it tries something that was out of use, or could not be reached.
        settled: whether it was given back.
        slow_start: whose place it takes; None ordinarily.
    """

    __slots__ = (
        "credential",
        "granted_at_s",
        "member",
        "model",
        "name",
        "seat",
        "serial",
        "settled",
        "slow_start",
        "trial",
    )

    def __init__(self, serial: int, seat: Seat, model: str, granted_at_s: float) -> None:
        self.serial = serial
        self.seat = seat
        self.member = member = seat.member
        self.credential = member.credential
        self.name = member.name
        self.model = model
        self.granted_at_s = granted_at_s
        self.trial = False
        self.settled = False
        self.slow_start: SlowStart | None = None

    @property
    def limit_class(self) -> str:
        """The limit class it counts against."""
        return self.seat.limit_class

    @property
    def organization(self) -> str | None:
        """The organization of its credential, as far as it is known."""
        return self.member.organization

    def __repr__(self) -> str:
        state = "given back" if self.settled else "trial" if self.trial else "held"
        return f"<Lease {self.serial} of {self.name} for {self.model} [{state}]>"


def standings_of(seat: Seat, model: str) -> Iterator[Standing]:
    """Everything that must be in order before `model` can be asked for in this seat."""
    member = seat.member
    yield member.standing
    yield seat.standing
    yield member.way_standing
    if member.closed and (closing := member.closed.get(model)) is not None:
        yield closing


class Availability(Enum):
    """What a seat can do for a request now. ``PROBING``: it waits for the verdict of a trial."""

    FREE = 0
    BUSY = 1
    PROBING = 2
    OUT = 3


_FREE: Final = Availability.FREE


def availability(seat: Seat, model: str, now_s: float) -> Availability:
    """The one answer to whether a seat can be given; every path of the pool asks here."""
    member = seat.member
    if not (
        member.standing.ready and seat.standing.ready and member.way_standing.ready and not member.closed
    ):
        hindrance = _hindrance(seat, model, now_s)
        if hindrance is not None:
            return hindrance
    if member.in_flight >= member.max_concurrency or (member.quota is not None and member.quota.full(now_s)):
        return Availability.BUSY
    return _FREE


def _hindrance(seat: Seat, model: str, now_s: float) -> Availability | None:
    pending = [standing for standing in standings_of(seat, model) if not standing.ready]
    if any(standing.closed(now_s) for standing in pending):
        return Availability.OUT
    if any(standing.on_trial(now_s) for standing in pending):
        return Availability.PROBING
    member = seat.member
    return Availability.PROBING if pending and member.probe and now_s < member.probe_until_s else None
