"""How the client waits while its exchange is being dispatched."""

from typing import Protocol


class Hold(Protocol):
    """The client's side of an exchange while nothing has been decided yet.

    A streaming client gets its headers when the first real event comes or after a bounded time, whichever is
    first; from then on the attempt in flight is the last one.
    """

    @property
    def committed(self) -> bool:
        """Whether the client has been sent something."""
        ...

    def attempt_started(self) -> None:
        """An attempt is in flight: its credential and number may now be told to the client."""
        ...

    def attempt_ended(self) -> None:
        """No attempt is in flight."""
        ...
