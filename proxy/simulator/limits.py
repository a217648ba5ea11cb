"""The headers of every answer: whose it is, and how much of the limits is left.

Source: the rate limits page of Anthropic's documentation.
"""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime

from proxy.clock import Clock
from proxy.simulator.buckets import Buckets

_LIMITS = {"requests": 1000, "tokens": 2_400_000, "input-tokens": 2_000_000, "output-tokens": 400_000}


def organization_of(key: str) -> str:
    """An organization of its own for every key, the same each time."""
    return "org-" + hashlib.blake2b(key.encode(), digest_size=6).hexdigest()


class AnswerHeaders:
    """Makes the headers; what only changes with the second is made once a second.

    Attributes:
        buckets: the limits of organizations that have some. All others have great ones, always full.
    """

    def __init__(self, clock: Clock, organization: Callable[[str], str] = organization_of) -> None:
        self._clock = clock
        self._organization = organization
        self._given: dict[str, str] = {}
        self._second = -1
        self._limits: list[tuple[str, str]] = []
        self._limits_text = ""
        self.buckets = Buckets(clock)

    def assign(self, key: str, organization: str) -> None:
        """Put a key into an organization."""
        self._given[key] = organization

    def clear(self) -> None:
        """Forget what was assigned, and all limits."""
        self._given.clear()
        self.buckets.clear()

    def organization(self, key: str) -> str:
        """The organization that owns a key."""
        return self._given.get(key) or self._organization(key)

    def pairs(
        self, key: str, request_id: str, limits: list[tuple[str, str]] | None = None
    ) -> list[tuple[str, str]]:
        """The headers as pairs, without those of the body; `limits` are those of the ledger, if it has any."""
        self._refresh()
        pairs = [("request-id", request_id)]
        if key:
            organization = self.organization(key)
            pairs.append(("anthropic-organization-id", organization))
            if limits is None and not self.buckets.has(organization):
                limits = self._limits
            pairs.extend(limits or ())
        return pairs

    def text(self, key: str, request_id: str, limits: list[tuple[str, str]] | None = None) -> str:
        """The same as lines, each with its line end."""
        self._refresh()
        if not key:
            return f"request-id: {request_id}\r\n"
        organization = self.organization(key)
        told = self._limits_text
        if limits is not None or self.buckets.has(organization):
            told = "".join(f"{name}: {value}\r\n" for name, value in limits or ())
        return f"request-id: {request_id}\r\nanthropic-organization-id: {organization}\r\n{told}"

    def _refresh(self) -> None:
        second = self._clock.unix_ms() // 1000
        if second == self._second:
            return
        self._second = second
        reset = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._limits = [
            (f"anthropic-ratelimit-{name}-{field}", value)
            for name, limit in _LIMITS.items()
            for field, value in (
                ("limit", str(limit)),
                ("remaining", str(limit - 1 if name == "requests" else limit)),
                ("reset", reset),
            )
        ]
        self._limits_text = "".join(f"{name}: {value}\r\n" for name, value in self._limits)
