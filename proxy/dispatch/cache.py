"""Answers that are kept in memory for who asks the same again, and the calls several ask for at the same moment."""

import re
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from proxy.clock import Clock
from proxy.dialects.common import Dropped
from proxy.dispatch.cache_key import CacheKey
from proxy.settings import CacheSettings

if TYPE_CHECKING:
    from proxy.dispatch.shared_calls import SharedCall

_PIECE_BYTES: Final = 64 * 1024
_OVERHEAD_BYTES: Final = 1024
"""About what an entry weighs beside its pieces."""

_PART_OF_ALL: Final = 8
_PREFIX: Final = re.compile(r"[A-Za-z]{1,16}[-_]")
_DATA: Final = b"data: "


class _Named(msgspec.Struct):
    """A body, or the data of an event, that says what an answer is called."""

    id: str = ""
    message: "_Named | None" = None


_decoder = msgspec.json.Decoder(_Named)


class KeptAnswer(msgspec.Struct, frozen=True):
    """A whole answer as its client got it.

    Attributes:
        pieces: of its body; those of a stream hold whole events each.
        id: what it is called in its dialect; empty where that is not known.
        credential: alias of who gave it.
        model: the model that was asked.
        dropped: what could not be carried.
        stop_reason: why it ended.
    """

    pieces: tuple[bytes, ...]
    id: str
    credential: str
    model: str
    dropped: tuple[Dropped, ...] = ()
    stop_reason: str | None = None

    @property
    def size_bytes(self) -> int:
        """What it weighs in memory."""
        return sum(map(len, self.pieces)) + _OVERHEAD_BYTES


class AnswerCache:
    """The answers of one process, bounded in number, age and bytes; those used longest ago make room.

    Attributes:
        calls: those under way that others can join, by what was asked.
        answer_max_bytes: a longer answer is not kept.
    """

    def __init__(self, settings: CacheSettings, clock: Clock) -> None:
        self._clock = clock
        self._ttl_s = settings.ttl_s
        self._max_entries = settings.max_entries
        self._max_bytes = settings.max_bytes
        self._by_use: OrderedDict[CacheKey, KeptAnswer] = OrderedDict()
        self._kept_until_s: OrderedDict[CacheKey, float] = OrderedDict()
        self._owned: Counter[str] = Counter()
        self._kept_bytes = 0
        self._claimed_bytes = 0
        self.calls: dict[CacheKey, SharedCall] = {}
        self.answer_max_bytes = settings.max_bytes // _PART_OF_ALL

    def __repr__(self) -> str:
        return f"<AnswerCache [Answers: {len(self._by_use)}, {self.size_bytes} bytes] [Calls: {len(self.calls)}]>"

    @property
    def size_bytes(self) -> int:
        """Of all answers, those included that are being written."""
        return self._kept_bytes + self._claimed_bytes

    def entries(self, owner: str | None = None) -> int:
        """How many answers are kept, of one client or of all."""
        self._drop_old()
        return len(self._by_use) if owner is None else self._owned[owner]

    def find(self, key: CacheKey) -> KeptAnswer | None:
        """The answer to a question; None where there is none."""
        self._drop_old()
        found = self._by_use.get(key)
        if found is not None:
            self._by_use.move_to_end(key)
        return found

    def keep(self, key: CacheKey, answer: KeptAnswer) -> None:
        """Keep an answer in place of an earlier one, unless it is too long."""
        self._drop(key)
        size_bytes = answer.size_bytes
        if size_bytes > self.answer_max_bytes or not self._made_room(size_bytes):
            return
        while len(self._by_use) >= self._max_entries:
            self._drop(next(iter(self._by_use)))
        self._by_use[key] = answer
        self._kept_until_s[key] = self._clock.monotonic_s() + self._ttl_s
        self._owned[key.owner] += 1
        self._kept_bytes += size_bytes

    def claim(self, size_bytes: int) -> bool:
        """Set bytes apart for an answer that is being written; False where there are not so many."""
        if not self._made_room(size_bytes):
            return False
        self._claimed_bytes += size_bytes
        return True

    def release(self, size_bytes: int) -> None:
        """Give back what was set apart."""
        self._claimed_bytes -= size_bytes

    def _made_room(self, size_bytes: int) -> bool:
        if self._claimed_bytes + size_bytes > self._max_bytes:
            return False
        while self.size_bytes + size_bytes > self._max_bytes:
            self._drop(next(iter(self._by_use)))
        return True

    def _drop_old(self) -> None:
        now_s = self._clock.monotonic_s()
        while self._kept_until_s:
            key, until_s = next(iter(self._kept_until_s.items()))
            if until_s > now_s:
                return
            self._drop(key)

    def _drop(self, key: CacheKey) -> None:
        answer = self._by_use.pop(key, None)
        if answer is None:
            return
        del self._kept_until_s[key]
        self._kept_bytes -= answer.size_bytes
        self._owned[key.owner] -= 1
        if not self._owned[key.owner]:
            del self._owned[key.owner]


def gathered(pieces: Iterable[bytes]) -> tuple[bytes, ...]:
    """The same bytes in fewer pieces, none of them cut."""
    whole: list[bytes] = []
    some: list[bytes] = []
    size_bytes = 0
    for piece in pieces:
        if some and size_bytes + len(piece) > _PIECE_BYTES:
            whole.append(b"".join(some))
            some, size_bytes = [], 0
        some.append(piece)
        size_bytes += len(piece)
    return (*whole, b"".join(some)) if some else tuple(whole)


def id_in(piece: bytes) -> str:
    """What an answer is called, by its body or the first piece of its stream; empty where nothing there says so."""
    texts: Sequence[bytes] = [piece]
    if not piece.startswith(b"{"):
        texts = [line.removeprefix(_DATA) for line in piece.split(b"\n") if line.startswith(_DATA)]
    for text in texts:
        try:
            found = _decoder.decode(text)
        except (ValueError, RecursionError):
            continue
        if name := found.id or (found.message.id if found.message is not None else ""):
            return name
    return ""


def new_id(earlier: str, request_id: str) -> str:
    """A name in the style of an earlier one, for the answer to another request."""
    prefix = _PREFIX.match(earlier)
    return (prefix[0] if prefix is not None else "") + request_id.removeprefix("req_")


def renamed(piece: bytes, earlier: str, name: str) -> bytes:
    """A piece of an answer under another name. Only whole ``id`` fields are touched, no text that mentions one."""
    if not earlier:
        return piece
    # in a string the quotes would be escaped, so what is found is a field
    for spelled in (b'"id":', b'"id": '):
        piece = piece.replace(spelled + b'"%b"' % earlier.encode(), spelled + b'"%b"' % name.encode())
    return piece
