"""The language tests speak to the simulator: a `Step` says how one request is answered."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from proxy.simulator.web_calls import WebCall

ANY_KEY = "*"

Cut = Literal["reset", "close", "end"]
MessageLimit = Literal["within_limit", "approaching_limit", "exceeded_limit"]


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How fast, and how much, a simulated model speaks.

    Attributes:
        first_token_delay_s: seconds of silence before the first byte of the answer, at least 0.
        tokens_per_s: text deltas a second; None is as fast as the connection takes them.
        events: exactly so many text deltas; None is as many as the answer has words.
        writes: in so many parts a stream at full speed leaves, each a packet of its own, cut between events.
        stamped: each text delta at a pace says which it is, from 1, as ``n=``, and when it was sent, as ``t=`` and
            monotonic seconds, so that a client on the same machine can tell what is lost and how long it took.
        pause_after: after each so many text deltas at a pace there is a pause; None is never.
        pause_s: seconds it lasts.
        ping_every_s: pings meanwhile; 0 is none.
    """

    first_token_delay_s: float = 0.0
    tokens_per_s: float | None = None
    events: int | None = None
    writes: int = 1
    stamped: bool = False
    pause_after: int | None = None
    pause_s: float = 0.0
    ping_every_s: float = 0.0

    def __post_init__(self) -> None:
        times_s = (self.first_token_delay_s, self.pause_s, self.ping_every_s)
        if min(times_s) < 0 or (self.tokens_per_s is not None and self.tokens_per_s <= 0):
            raise ValueError("a pace cannot be negative")
        if min((one for one in (self.events, self.pause_after) if one is not None), default=1) < 1:
            raise ValueError("a pace has at least one event, and one between pauses")
        if self.writes < 1:
            raise ValueError("a pace has at least one write")


class Insert(msgspec.Struct, frozen=True):
    """Raw bytes put into a stream.

    Attributes:
        before: index of the event they come before, from 0; past the last one means at the end.
        text: the bytes as text, blank line included where one is wanted.
    """

    before: int
    text: str


class _Named(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The one field of a step that is given without its name."""

    do: str = "success"


class Step(_Named, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """How one request, or `times` of them, are answered. Each behaviour reads the options it knows.

    Attributes:
        do: name of the behaviour.
        times: how many requests it answers.
        path: only for requests whose path begins so.
        seconds: how long a delay or a stall lasts, or the pause between slices; 0 lets a stall last for ever.
        ping_every_s: pings while it stalls; 0 is none.
        next: what a delay is followed by; None is a success.
        pace: overrides the server's pace.
        text: what the simulated model says instead of its echo.
        usage: fields that replace those of the usage.
        stop_reason: replaces the stop reason.
        insert: raw bytes put into the stream.
        fields: extra fields, by event type (``message`` for an answer that is no stream).
        stream_body: a recorded stream replayed byte by byte instead of an answer.
        status: of ``status``, ``redirect`` and ``raw``; 0 is what fits `type`, or 200.
        type: the error's type; empty is what fits the status.
        message: the error's message; empty is a usual one.
        error_code: ``error.details.error_code``.
        headers: extra headers; one of a name already there replaces it.
        body: the body as text, instead of an error envelope.
        body_bytes: the same as bytes.
        after: so many events are sent before the fault.
        at_byte: so many bytes of the body are sent before the fault; of ``flood``, beside the answer itself.
        how: what a cut looks like: a TCP reset, a FIN without the end of the body, or a clean end.
        close_delimited: no chunks; the end of the connection ends the body.
        bytes_per_s: speed of ``slow_bytes``.
        sizes: lengths of the slices, repeated; empty is random ones by `seed`.
        seed: of random sizes.
        location: of a redirect.
        call: only for this call of claude.ai's; None is any.
        flags: of the account in the answer, such as ``consumer_banned`` (claude.ai).
        message_limit: what an answer says about the account's limit (claude.ai).
        resets_in_s: seconds until that limit ends.
        stated: where a refusal for the limit says so.
    """

    times: int = 1
    path: str = ""
    seconds: float = 0.0
    ping_every_s: float = 0.0
    next: "Step | None" = None
    pace: Pace | None = None
    text: str | None = None
    usage: dict[str, object] | None = None
    stop_reason: str | None = None
    insert: tuple[Insert, ...] = ()
    fields: dict[str, dict[str, object]] | None = None
    stream_body: bytes | None = None
    status: int = 0
    type: str = ""
    message: str = ""
    error_code: str | None = None
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    body: str | None = None
    body_bytes: bytes | None = None
    after: int = 3
    at_byte: int = 0
    how: Cut = "reset"
    close_delimited: bool = False
    bytes_per_s: float = 1.0
    sizes: tuple[int, ...] = ()
    seed: int = 0
    location: str = ""
    call: WebCall | None = None
    flags: tuple[str, ...] = ()
    message_limit: MessageLimit = "within_limit"
    resets_in_s: float = 18_000.0
    stated: Literal["message", "header", "both", "nowhere"] = "message"

    def fits(self, path: str, call: WebCall | None) -> bool:
        """Whether it is for a request to `path`, which is this call of claude.ai's or none."""
        return path.startswith(self.path) and (self.call is None or self.call == call)

    def __post_init__(self) -> None:
        if (
            self.times < 1
            or self.seconds < 0
            or self.ping_every_s < 0
            or self.bytes_per_s <= 0
            or self.after < 0
            or self.at_byte < 0
        ):
            raise ValueError("times and bytes_per_s are positive, seconds, after and at_byte not negative")
        if any(size < 1 for size in self.sizes):
            raise ValueError("sizes are positive")
        if self.status != 0 and not 100 <= self.status <= 999:
            raise ValueError("a status has three digits")
        if any("\r" in text or "\n" in text for pair in self.headers.items() for text in pair):
            raise ValueError("a header has one line")


class _Waiting(msgspec.Struct):
    """A step and how many requests it still answers."""

    step: Step
    left: int


class Scripts:
    """Which step the next request of a key gets. `ANY_KEY` speaks for keys without a script of their own."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[_Waiting]] = {}
        self._afterwards: dict[str, Step | None] = {}

    def set(self, key: str, steps: Sequence[Step], *, then: Step | None = None) -> None:
        """Replace a key's script."""
        self._waiting[key] = [_Waiting(step, step.times) for step in steps]
        self._afterwards[key] = then

    def clear(self) -> None:
        """Forget every script."""
        self._waiting.clear()
        self._afterwards.clear()

    def next(self, key: str, path: str, call: WebCall | None = None) -> Step | None:
        """Take the step for a request; None is the default success."""
        if not self._waiting:
            return None
        owner = key if key in self._waiting else ANY_KEY
        waiting = self._waiting.get(owner)
        if waiting is None:
            return None
        for one in waiting:
            if one.step.fits(path, call):
                one.left -= 1
                if one.left == 0:
                    waiting.remove(one)
                return one.step
        then = self._afterwards[owner]
        return then if then is not None and then.fits(path, call) else None
