"""How streams end: whole, or cut by a server that has to go."""

from typing import Final

_WHOLE: Final = (b"data: [DONE]", b'"message_stop"}')
_TOLD: Final = (b"server_shutdown", b"event: error")


def is_whole(body: bytes) -> bool:
    """Whether a stream came to its proper end."""
    return body.rstrip().endswith(_WHOLE)


def is_told_of_the_stop(body: bytes) -> bool:
    """Whether a stream ended in the error frame of a server that stops, in nothing a client could take for an end."""
    last = body.rstrip().rsplit(b"\n\n", 1)[-1]
    return any(mark in last for mark in _TOLD) and b"server shutting down" in last and not is_whole(body)
