"""Tool call ids that the upstream accepts, the same for the same history every time.

Source: the errors of Anthropic's API, which demand ``^[a-zA-Z0-9_-]+$`` and ids that are unique in a request.
"""

import re
from hashlib import blake2b

_FOREIGN = re.compile(r"[^a-zA-Z0-9_-]")


class ToolIds:
    """The ids of one request, in the order of its messages.

    An id that is used again by a later message names another call; results belong to the latest.
    """

    def __init__(self) -> None:
        self._used: set[str] = set()
        self._open: dict[str, tuple[int, list[str]]] = {}
        self._times: dict[str, int] = {}

    def for_call(self, original: str, message: int) -> str:
        """The id for a call made by the message of this number."""
        times = self._times[original] = self._times.get(original, 0) + 1
        clean = _FOREIGN.sub("_", original)
        if clean != original or not clean or clean in self._used:
            clean = f"{clean}_{_mark(original, times)}"
        self._used.add(clean)
        asked_by, waiting = self._open.get(original, (message, []))
        if asked_by != message:
            waiting = []
        waiting.append(clean)
        self._open[original] = (message, waiting)
        return clean

    def for_result(self, original: str) -> str:
        """The id of the call a result answers; of no call at all for a result nobody asked for."""
        _, waiting = self._open.get(original, (0, []))
        return waiting.pop(0) if waiting else ""


def clean_id(original: str) -> str:
    """One id by itself in characters that are accepted; others are replaced, and a mark keeps it apart."""
    clean = _FOREIGN.sub("_", original)
    return original if clean == original else f"{clean}_{_mark(original, 1)}"


def _mark(original: str, times: int) -> str:
    return blake2b(f"{original}\0{times}".encode(), digest_size=4).hexdigest()
