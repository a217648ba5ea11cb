"""Bytes near those of a corpus: JSON with one value exchanged, or bytes cut, doubled, swapped and strewn."""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias, cast

import msgspec

_Place: TypeAlias = tuple[dict[object, object] | list[object], object]
_ODD: Final[tuple[object, ...]] = (
    *(None, True, 0, -1, 1 << 63, -(1 << 64), 1e308, 0.5, "", " ", "\0", "\r\nx: y", "\u2028", "\U0001f600"),
    *(
        "x" * 5000,
        "../../etc/passwd",
        "file:///etc/passwd",
        "http://127.0.0.1:1/",
        "data:,",
        "[DONE]",
        "$ref",
    ),
    *([], {}, [[]], [None], {"": None}, {"type": "text"}, {"type": None}, [{"type": "object"}]),
)
_TOKENS: Final = (
    *(
        b"\r",
        b"\n",
        b"\n\n",
        b"\r\n",
        b"\0",
        b"\xff",
        b"\xef\xbb\xbf",
        b"data:",
        b"event: ",
        b":",
        b"{",
        b"}",
        b'"',
    ),
    *(
        b"[",
        b"@",
        b"\\",
        b"#",
        b"?",
        b"//",
        b"%00",
        b"::ffff:",
        b"127.0.0.1",
        b"-1",
        b"1e999",
        b"\xd9\xa3",
        b" GMT",
    ),
)
_ROUNDS_MAX: Final = 4


def varied(data: bytes, rng: random.Random) -> bytes:
    """One variation: of every two of a JSON text with a byte before it, one is JSON again."""
    if rng.random() < 0.5 and (changed := _other_json(data[1:], rng)) is not None:
        return data[:1] + changed
    found = bytearray(data)
    for _ in range(rng.randrange(1, _ROUNDS_MAX)):
        rng.choice(_STEPS)(found, rng)
    return bytes(found)


def variations(seeds: Sequence[bytes], number: int, seed: int) -> Iterator[bytes]:
    """As many variations of the seeds as asked for; the same for the same seed."""
    rng = random.Random(seed)
    for _ in range(number):
        yield varied(rng.choice(seeds), rng)


def _other_json(text: bytes, rng: random.Random) -> bytes | None:
    """The JSON with one value exchanged or gone; None where it is none."""
    try:
        value = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return None
    places = list(_places(value))
    if not places:
        return None
    holder, key = rng.choice(places)
    if isinstance(holder, dict) and rng.random() < 0.2:
        del holder[key]
    else:
        cast(dict[object, object], holder)[key] = rng.choice(_ODD)
    return msgspec.json.encode(value)


def _places(value: object) -> Iterator[_Place]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield value, name
            yield from _places(item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield value, index
            yield from _places(item)


def _flip(data: bytearray, rng: random.Random) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _drop(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data) + 1)
    del data[start : start + rng.randrange(1, 9)]


def _cut_off(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _insert(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data) + 1)
    data[at:at] = rng.choice(_TOKENS)


def _double(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data) + 1)
    data[start:start] = data[start : start + rng.randrange(1, 64)]


_STEPS: Final[tuple[Callable[[bytearray, random.Random], None], ...]] = (
    _flip,
    _drop,
    _cut_off,
    _insert,
    _double,
)
