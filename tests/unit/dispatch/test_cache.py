"""Kept answers are bounded in age, number and bytes, and told under a name of their own."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from proxy.dispatch.cache import AnswerCache, KeptAnswer, gathered, id_in, new_id, renamed
from proxy.dispatch.cache_key import CacheKey
from proxy.settings import CacheSettings
from tests.support.clock import FakeClock
from tests.unit.dispatch.building import MESSAGE, START

_MIB = 1024 * 1024
_OVERHEAD = KeptAnswer((), "", "", "").size_bytes


def _cache(
    *, clock: FakeClock | None = None, ttl_s: int = 60, entries: int = 3, size: int = _MIB
) -> AnswerCache:
    settings = CacheSettings(enabled=True, ttl_s=ttl_s, max_entries=entries, max_bytes=size)
    return AnswerCache(settings, clock or FakeClock())


def _key(number: int, owner: str = "one") -> CacheKey:
    return CacheKey(owner, b"%d" % number)


def _answer(text: bytes = b"{}") -> KeptAnswer:
    return KeptAnswer((text,), "", "api-1", "m")


def test_an_answer_is_found_until_its_time_is_over() -> None:
    """Protects clients from answers that are too old; being asked for makes none of them younger."""
    clock = FakeClock()
    cache = _cache(clock=clock, ttl_s=60)
    cache.keep(_key(1), _answer())
    clock.advance(59.9)
    assert cache.find(_key(1)) == _answer()
    clock.advance(0.2)
    assert cache.find(_key(1)) is None
    assert (cache.entries(), cache.size_bytes) == (0, 0)


def test_what_was_used_longest_ago_makes_room() -> None:
    """Protects memory, and the answers that are asked for again and again."""
    cache = _cache(entries=3)
    for number in (1, 2, 3):
        cache.keep(_key(number), _answer())
    assert cache.find(_key(1)) is not None
    cache.keep(_key(4), _answer())
    assert [cache.find(_key(number)) is not None for number in (1, 2, 3, 4)] == [True, False, True, True]


def test_bytes_make_room_too() -> None:
    """Protects memory from few answers that are long."""
    cache = _cache(entries=1000, size=_MIB)
    long = _answer(b"x" * (100_000 - _OVERHEAD))
    for number in range(20):
        cache.keep(_key(number), long)
    assert (cache.entries(), cache.size_bytes) == (10, 1_000_000)
    assert cache.find(_key(19)) is not None


def test_one_answer_takes_no_more_than_an_eighth() -> None:
    """Protects all other answers from one that is very long."""
    cache = _cache(size=_MIB)
    cache.keep(_key(1), _answer(b"x" * (_MIB // 8 - _OVERHEAD)))
    cache.keep(_key(2), _answer(b"x" * (_MIB // 8 - _OVERHEAD + 1)))
    assert cache.find(_key(1)) is not None
    assert cache.find(_key(2)) is None


def test_a_later_answer_takes_the_place_of_an_earlier_one() -> None:
    """Protects the counts of bytes and of each client from counting one question twice."""
    clock = FakeClock()
    cache = _cache(clock=clock, ttl_s=60)
    cache.keep(_key(1), _answer(b"long" * 100))
    clock.advance(50)
    cache.keep(_key(1), _answer(b"later"))
    clock.advance(50)
    assert cache.find(_key(1)) == _answer(b"later")
    assert (cache.entries(), cache.entries("one"), cache.size_bytes) == (1, 1, 5 + _OVERHEAD)


def test_what_is_being_written_counts_and_what_is_kept_makes_room_for_it() -> None:
    """Protects memory from many long answers under way at the same time."""
    cache = _cache(size=_MIB)
    cache.keep(_key(1), _answer(b"x" * 100_000))
    assert cache.claim(_MIB)
    assert (cache.entries(), cache.size_bytes) == (0, _MIB)
    assert not cache.claim(1)
    cache.keep(_key(2), _answer())
    assert cache.find(_key(2)) is None
    cache.release(_MIB)
    assert cache.size_bytes == 0


def test_each_client_has_its_own_number_of_answers() -> None:
    """Protects a client from learning how much others ask."""
    cache = _cache(entries=10)
    cache.keep(_key(1, "one"), _answer())
    cache.keep(_key(1, "two"), _answer())
    cache.keep(_key(2, "two"), _answer())
    assert [cache.entries(owner) for owner in ("one", "two", "three", None)] == [1, 2, 0, 3]


class _Machine(RuleBasedStateMachine):
    """Any order of keeping, finding, waiting and claiming."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.cache = _cache(clock=self.clock, ttl_s=10, entries=4, size=80_000)
        self.claimed: list[int] = []
        self.kept: dict[CacheKey, tuple[float, KeptAnswer]] = {}

    @rule(number=st.integers(0, 6), owner=st.sampled_from("ab"), size=st.integers(0, 12_000))
    def keep(self, number: int, owner: str, size: int) -> None:
        """Keep an answer."""
        key, answer = _key(number, owner), _answer(b"x" * size)
        self.cache.keep(key, answer)
        self.kept[key] = self.clock.monotonic_s(), answer

    @rule(number=st.integers(0, 6), owner=st.sampled_from("ab"))
    def find(self, number: int, owner: str) -> None:
        """What is found is what was kept last, and not too old."""
        key = _key(number, owner)
        if (found := self.cache.find(key)) is not None:
            kept_s, answer = self.kept[key]
            assert found == answer
            assert self.clock.monotonic_s() < kept_s + 10

    @rule(seconds=st.integers(1, 6))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.clock.advance(seconds)

    @rule(size=st.integers(1, 50_000))
    def claim(self, size: int) -> None:
        """Set something apart."""
        if self.cache.claim(size):
            self.claimed.append(size)

    @rule()
    def release(self) -> None:
        """Give something back."""
        if self.claimed:
            self.cache.release(self.claimed.pop())

    @invariant()
    def bounded(self) -> None:
        """No bound is ever passed, and the counts are those of what is there."""
        cache = self.cache
        assert cache.entries() <= 4
        assert cache.size_bytes <= 80_000
        assert cache.size_bytes == sum(self.claimed) + sum(one.size_bytes for one in cache._by_use.values())
        assert cache.entries("a") + cache.entries("b") == cache.entries() == len(cache._kept_until_s)


TestMachine = _Machine.TestCase


@given(st.lists(st.binary(max_size=40_000), max_size=8))
def test_pieces_are_gathered_without_being_cut(pieces: list[bytes]) -> None:
    """Protects the ends of events, between which alone another frame may stand."""
    found = gathered(pieces)
    assert b"".join(found) == b"".join(pieces)
    ends = {sum(map(len, pieces[:count])) for count in range(len(pieces) + 1)}
    assert {sum(map(len, found[:count])) for count in range(len(found) + 1)} <= ends


@pytest.mark.parametrize(
    ("piece", "name"),
    [
        (MESSAGE, "msg_1"),
        (START, "msg_1"),
        (b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk"}\n\ndata: [DONE]\n\n', "chatcmpl-1"),
        (b'event: ping\ndata: {"type": "ping"}\n\n' + START, "msg_1"),
        (b": a comment\n\n", ""),
        (b"nonsense", ""),
        (b"", ""),
    ],
)
def test_the_name_of_an_answer_is_read_from_its_beginning(piece: bytes, name: str) -> None:
    """Protects the new name of an answer in every dialect."""
    assert id_in(piece) == name


@pytest.mark.parametrize(
    ("earlier", "name"),
    [
        ("msg_01abc", "msg_0f3c"),
        ("chatcmpl-9x", "chatcmpl-0f3c"),
        ("cmpl-9x", "cmpl-0f3c"),
        ("gen-1-2", "gen-0f3c"),
        ("17", "0f3c"),
    ],
)
def test_a_new_name_is_of_the_same_style(earlier: str, name: str) -> None:
    """Protects clients that tell answers by the beginning of their ids."""
    assert new_id(earlier, "req_0f3c") == name


def test_only_id_fields_are_renamed() -> None:
    """Protects an answer's text, even where it quotes its own id, and other fields of the same value."""
    text = 'I am "id":"7", and so on: 7'
    answer = {"id": "7", "content": [{"id": "8", "text": text}], "index": "7"}
    found = msgspec.json.decode(renamed(msgspec.json.encode(answer), "7", "9"))
    assert found == {**answer, "id": "9"}
    assert renamed(b'{"id": "7"}', "7", "9") == b'{"id": "9"}'
    assert renamed(b'{"id":""}', "", "9") == b'{"id":""}'
