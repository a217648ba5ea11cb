"""What the site says about an account's limit at the end of each answer: health before a refusal."""

from collections.abc import Mapping

import msgspec

_EXCEEDED = "exceeded_limit"
_APPROACHING = "approaching_limit"


class LimitWindow(msgspec.Struct, frozen=True):
    """One window of a limit.

    Attributes:
        status: ``within_limit``, ``approaching_limit`` or ``exceeded_limit``.
        resets_at: Unix seconds, or None.
        utilization: share that is used up, 0 to 1.
    """

    status: str = ""
    resets_at: int | None = None
    utilization: float | None = None


class LimitFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A ``message_limit`` event.

    Attributes:
        type: the worst of its windows, in the same words.
        resets_at_s: Unix seconds at which the whole ends, or None.
        windows: by name, such as ``5h`` and ``7d``.
    """

    type: str
    resets_at_s: int | None = msgspec.field(default=None, name="resetsAt")
    windows: Mapping[str, LimitWindow] = msgspec.field(default_factory=dict)

    @property
    def exceeded(self) -> bool:
        """Whether the next question would be refused."""
        return self.type == _EXCEEDED

    @property
    def approaching(self) -> bool:
        """Whether little is left."""
        return self.type == _APPROACHING

    @property
    def until_unix_ms(self) -> int | None:
        """Unix milliseconds until which an exceeded limit lasts; None where it is not exceeded or says nothing."""
        if not self.exceeded:
            return None
        ends = [window.resets_at for window in self.windows.values() if window.status == _EXCEEDED]
        known = [end for end in (self.resets_at_s, *ends) if end is not None and end > 0]
        return max(known) * 1000 if known else None


_decoder = msgspec.json.Decoder(LimitFacts)


def decode_limit(raw: bytes | msgspec.Raw) -> LimitFacts | None:
    """The facts of a ``message_limit``; None where it has a form nobody has seen."""
    try:
        return _decoder.decode(raw)
    except (ValueError, RecursionError):
        return None
