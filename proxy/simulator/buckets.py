"""The rate limits of a simulated organization: what was used is on the ledger, and comes back bit by bit.

Source: the rate limits page of Anthropic's documentation. Limits are token buckets that refill continuously, of an
organization and a model class; the reset that is told is the time at which a bucket is full again.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from math import ceil

import msgspec

from proxy.clock import Clock
from proxy.errors import ErrorKind, GatewayError

_REFILL_S = 60.0


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What an organization may use in a minute, of each model class.

    Attributes:
        requests: calls.
        input_tokens: of prompts.
        output_tokens: of answers.
    """

    requests: int = 1000
    input_tokens: int = 2_000_000
    output_tokens: int = 400_000

    def __post_init__(self) -> None:
        if min(self.requests, self.input_tokens, self.output_tokens) < 1:
            raise ValueError("a limit is at least 1")


class _Bucket:
    """One limit. The level may fall below zero, as answers are counted when they are known."""

    __slots__ = ("_at_s", "_level", "limit", "name", "step")

    def __init__(self, name: str, limit: int, now_s: float, *, step: int = 1) -> None:
        self.name = name
        self.limit = limit
        self.step = step
        self._level = float(limit)
        self._at_s = now_s

    def level(self, now_s: float) -> float:
        """What is left of it."""
        passed_s = now_s - self._at_s
        return min(self._level + passed_s * self.limit / _REFILL_S, float(self.limit))

    def take(self, amount: int, now_s: float) -> None:
        """Use some of it up."""
        self._level = self.level(now_s) - amount
        self._at_s = now_s

    def wait_s(self, amount: float, now_s: float) -> float:
        """Seconds until so much is left, or all there can be; 0 if it is."""
        lacking = min(amount, self.limit) - self.level(now_s)
        return max(lacking, 0.0) * _REFILL_S / self.limit

    def headers(self, now_s: float, now_unix_ms: int, name: str = "") -> Iterator[tuple[str, str]]:
        """Its three headers, under its own name or another."""
        left = max(round(self.level(now_s) / self.step) * self.step, 0)
        full_unix_s = ceil(now_unix_ms / 1000 + self.wait_s(self.limit, now_s))
        full = datetime.fromtimestamp(full_unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        fields = (("limit", str(self.limit)), ("remaining", str(left)), ("reset", full))
        for field, value in fields:
            yield f"anthropic-ratelimit-{name or self.name}-{field}", value


class Buckets:
    """The limits of all organizations that have some, and what they have used."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._limits: dict[str, Limits] = {}
        self._open: dict[tuple[str, str], tuple[_Bucket, _Bucket, _Bucket]] = {}

    def limit(self, organization: str, limits: Limits) -> None:
        """Give an organization limits, full ones in every class."""
        self._limits[organization] = limits
        self._open = {key: buckets for key, buckets in self._open.items() if key[0] != organization}

    def clear(self) -> None:
        """Nobody has limits any more."""
        self._limits.clear()
        self._open.clear()

    def has(self, organization: str) -> bool:
        """Whether an organization has any."""
        return organization in self._limits

    def admit(self, organization: str, model: str, input_tokens: int) -> None:
        """Count a call, or raise `GatewayError` with the time after which there is room for it."""
        now_s = self._clock.monotonic_s()
        requests, prompts, answers = self._buckets(organization, model)
        lacking = [
            (bucket, wait_s)
            for bucket, amount in ((requests, 1), (prompts, input_tokens), (answers, 1))
            if (wait_s := bucket.wait_s(amount, now_s)) > 0
        ]
        if lacking:
            bucket, wait_s = max(lacking, key=lambda each: each[1])
            raise GatewayError(
                429,
                ErrorKind.RATE_LIMIT,
                f"This request would exceed your organization's rate limit of {bucket.limit} "
                f"{bucket.name.replace('-', ' ')} per minute",
                retry_after_s=wait_s,
            )
        requests.take(1, now_s)
        prompts.take(input_tokens, now_s)

    def charge(self, organization: str, model: str, output_tokens: int) -> None:
        """Count what was answered."""
        self._buckets(organization, model)[2].take(output_tokens, self._clock.monotonic_s())

    def headers(self, organization: str, model: str) -> list[tuple[str, str]]:
        """The twelve limit headers of an answer; ``tokens`` are those of which the smaller share is left."""
        now_s, now_unix_ms = self._clock.monotonic_s(), self._clock.unix_ms()
        requests, prompts, answers = self._buckets(organization, model)
        tightest = min(prompts, answers, key=lambda bucket: bucket.level(now_s) / bucket.limit)
        return [
            *requests.headers(now_s, now_unix_ms),
            *tightest.headers(now_s, now_unix_ms, "tokens"),
            *prompts.headers(now_s, now_unix_ms),
            *answers.headers(now_s, now_unix_ms),
        ]

    def _buckets(self, organization: str, model: str) -> tuple[_Bucket, _Bucket, _Bucket]:
        key = (organization, _class_of(model))
        if key not in self._open:
            limits, now_s = self._limits[organization], self._clock.monotonic_s()
            self._open[key] = (
                _Bucket("requests", limits.requests, now_s),
                _Bucket("input-tokens", limits.input_tokens, now_s, step=1000),
                _Bucket("output-tokens", limits.output_tokens, now_s, step=1000),
            )
        return self._open[key]


def _class_of(model: str) -> str:
    """The models of one line share their limits in generation 4; later ones have their own."""
    line, generation, *_ = [*model.removeprefix("claude-").split("-"), ""]
    return f"{line}-4" if generation == "4" else model
