"""Requests that have ended, as tests of what is made of them write them down."""

from dataclasses import dataclass

from proxy.telemetry.requests import RequestLine
from proxy.telemetry.traces import RequestTrace
from proxy.telemetry.usage import Settlement


@dataclass(frozen=True, slots=True)
class EndedLine:
    """One whose line is known."""

    told: RequestLine
    ended_unix_ms: int = 1_795_000_000_000

    def line(self) -> RequestLine:
        """See `proxy.telemetry.requests.HasLine`."""
        return self.told


@dataclass(frozen=True, slots=True)
class EndedTrace:
    """One whose trace is known."""

    trace: RequestTrace

    @property
    def id(self) -> str:
        """See `proxy.telemetry.traces.Traceable`."""
        return self.trace.line.id

    @property
    def status(self) -> int:
        """See `proxy.telemetry.traces.Traceable`."""
        return self.trace.line.status

    def traced(self) -> RequestTrace:
        """See `proxy.telemetry.traces.Traceable`."""
        return self.trace


@dataclass(frozen=True, slots=True)
class EndedUsage:
    """One of which is known what it used."""

    done: Settlement
    ended_unix_ms: int

    def settlement(self) -> Settlement:
        """See `proxy.telemetry.usage.Settleable`."""
        return self.done
