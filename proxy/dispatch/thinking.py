"""The thinking of turns that called tools, kept for clients that do not bring it back themselves."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

import msgspec

from proxy.clock import Clock
from proxy.dialects.common import Thought
from proxy.model.content import ThinkingBlock

_TURNS_MAX: Final = 10_000
_SIZE_MAX_BYTES: Final = 64 * 1024 * 1024
_IDLE_S: Final = 3600.0
_OVERHEAD_BYTES: Final = 300


class _Turn(msgspec.Struct):
    """One turn's thinking.

    Attributes:
        thoughts: its blocks.
        size_bytes: about what they take.
        used_s: monotonic seconds of its last use.
    """

    thoughts: tuple[Thought, ...]
    size_bytes: int
    used_s: float


class ThinkingMemory:
    """Thinking blocks by client key and the id of their turn's first tool call.

    Nobody gets another client's, and nothing is written anywhere. The turn that was idle longest is forgotten first.
    Large requests are made ready in a thread, so it may be used from several.

    Args:
        clock: the time.
        turns_max: how many are kept.
        size_max_bytes: how much they may take in all; a single turn may take a sixteenth.
        idle_s: seconds without a use after which one is forgotten.
    """

    __slots__ = ("_clock", "_idle_s", "_lock", "_size_max_bytes", "_turns", "_turns_max", "size_bytes")

    def __init__(
        self,
        clock: Clock,
        *,
        turns_max: int = _TURNS_MAX,
        size_max_bytes: int = _SIZE_MAX_BYTES,
        idle_s: float = _IDLE_S,
    ) -> None:
        self._clock = clock
        self._turns_max = turns_max
        self._size_max_bytes = size_max_bytes
        self._idle_s = idle_s
        self._turns: OrderedDict[tuple[str, str], _Turn] = OrderedDict()
        self.size_bytes = 0
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._turns)

    def __repr__(self) -> str:
        return f"<ThinkingMemory [Turns: {len(self)} | Bytes: {self.size_bytes}]>"

    def keep(self, client: str, call_id: str, thoughts: Sequence[Thought]) -> None:
        """Remember the thinking of the turn that begins its calls with this one."""
        now_s = self._clock.monotonic_s()
        size_bytes = len(call_id) + sum(map(_size_bytes, thoughts))
        with self._lock:
            self.forget(client, call_id)
            if size_bytes <= self._size_max_bytes // 16:
                self._turns[client, call_id] = _Turn(tuple(thoughts), size_bytes, now_s)
                self.size_bytes += size_bytes
            self._forget_old(now_s)

    def recall(self, client: str, call_id: str) -> Sequence[Thought]:
        """The thinking of that turn; nothing where none is remembered."""
        with self._lock:
            turn = self._turns.get((client, call_id))
            if turn is None:
                return ()
            now_s = self._clock.monotonic_s()
            if now_s - turn.used_s >= self._idle_s:
                return self.forget(client, call_id)
            turn.used_s = now_s
            self._turns.move_to_end((client, call_id))
            return turn.thoughts

    def forget(self, client: str, call_id: str) -> Sequence[Thought]:
        """Remember no more of that turn; gives nothing, as `recall` will from now on."""
        with self._lock:
            turn = self._turns.pop((client, call_id), None)
            if turn is not None:
                self.size_bytes -= turn.size_bytes
        return ()

    def _forget_old(self, now_s: float) -> None:
        while self._turns:
            oldest, turn = next(iter(self._turns.items()))
            if (
                len(self._turns) <= self._turns_max
                and self.size_bytes <= self._size_max_bytes
                and now_s - turn.used_s < self._idle_s
            ):
                return
            self.forget(*oldest)


def _size_bytes(thought: Thought) -> int:
    block = thought.block
    if isinstance(block, ThinkingBlock):
        return _OVERHEAD_BYTES + len(block.thinking.encode("utf-8", "surrogatepass")) + len(block.signature)
    return _OVERHEAD_BYTES + len(block.data)
