"""Requests with one thing wrong with them, made from sound ones by a seeded choice of place and of mistake."""

import copy
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

Json = dict[str, object]
Place = tuple[str | int, ...]

_RAW: Final = tuple(
    msgspec.Raw(text)
    for text in (
        rb'"\ud800"',
        rb'"\udc00x"',
        b"1e400",
        b"-1e400",
        b"1e-400",
        b"9" * 400,
        b"-" + b"9" * 400,
        b"[" * 90 + b"]" * 90,
        b'{"a":' * 90 + b"1" + b"}" * 90,
        b"[" * 5000 + b"]" * 5000,
        b"18446744073709551616",
        b"-9223372036854775809",
        b'"' + b"x" * 5000 + b'"',
        '"\u202e\ufeff\\u0000\U0010ffff"'.encode(),
    )
)
_VALUES: Final[tuple[object, ...]] = (
    *(None, True, False, 0, 1, -1, 3.5, -0.0, 1e308, 2**63, "", " ", "x", "true", "\x7f", "../../etc/passwd"),
    *([], [None], [[]], [1, "a"], [{}], {}, {"": ""}, {"type": "x"}, {"a": {"b": {"c": []}}}),
    *({"type": "text"}, {"role": "user"}, [{"type": "image"}], {"url": "x"}, "data:image/png;base64,!!!!"),
)
_MISFITS: Final[tuple[object, ...]] = (True, -1, 2**63, 1.5, "x", [], {}, [{}], {"type": "x"})
_NAMES: Final = (
    "",
    "x",
    "__proto__",
    "\u00e9",
    "a b",
    "x" * 300,
    "\r\nx: y",
    "type",
    "content",
    "-1",
    "$ref",
)
_NO_JSON: Final = (
    b"",
    b" ",
    b"null",
    b"7",
    b'"x"',
    b"[]",
    b"[{}]",
    b"{",
    b"{}x",
    b"nul",
    b"\xff\xfe{\0",
    b"\0",
)


@dataclass(frozen=True, slots=True)
class BadRequest:
    """One request that may be wrong.

    Attributes:
        body: its bytes.
        field: the top-level field the mistake is in; None where the body is no JSON object any more, or may be none.
        unknown: whether a top-level field may be there that has no meaning.
        mistake: a few words for whoever reads of a failure.
    """

    body: bytes
    field: str | None
    mistake: str
    unknown: bool = False


def bad_requests(sound: Json, seed: int) -> Iterator[BadRequest]:
    """Requests without end, the same for the same seed."""
    chance = random.Random(seed)
    makers = (_replaced, _replaced, _replaced, _removed, _renamed, _added, _doubled, _garbled)
    while True:
        yield chance.choice(makers)(sound, chance)


def every_field_wrong(sound: Json) -> Iterator[BadRequest]:
    """Each place of a request with each of a list of values that fit few places, and with none at all."""
    for place in places(sound):
        for value in (*_MISFITS, None):
            yield put(sound, place, value)
        wrong = copy.deepcopy(sound)
        del _holder(wrong, place)[place[-1]]  # type: ignore[arg-type]  # the last step fits its holder
        yield _told(wrong, place, "is not there")


def places(sound: Json) -> list[Place]:
    """Every place in a request, those within others included."""
    return list(_paths(sound))


def put(sound: Json, place: Place, value: object) -> BadRequest:
    """A request with another value in a place."""
    wrong = copy.deepcopy(sound)
    _holder(wrong, place)[place[-1]] = value  # type: ignore[index]  # the last step fits its holder
    return _told(wrong, place, f"is {value!r}")


def _holder(whole: Json, path: Place) -> dict[str | int, object] | list[object]:
    """The object or list in which a path ends."""
    holder: object = whole
    for step in path[:-1]:
        holder = holder[step]  # type: ignore[index]  # paths lead through objects and lists alone
    if not isinstance(holder, dict | list):
        raise TypeError("a path leads through objects and lists alone")
    return holder


def _paths(value: object, begun: Place = ()) -> Iterator[Place]:
    """Every place in a value, the whole left out."""
    if isinstance(value, dict):
        inner: list[tuple[str | int, object]] = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    else:
        return
    for step, part in inner:
        yield (*begun, step)
        yield from _paths(part, (*begun, step))


def _place(sound: Json, chance: random.Random) -> tuple[Json, dict[str | int, object] | list[object], Place]:
    """A copy, the object or list in it that is to be changed, and where."""
    wrong = copy.deepcopy(sound)
    path = chance.choice(places(wrong))
    return wrong, _holder(wrong, path), path


def _told(wrong: Json, path: Place, mistake: str) -> BadRequest:
    where = ".".join(map(str, path))
    return BadRequest(msgspec.json.encode(wrong), str(path[0]), f"{where}: {mistake}", unknown=len(path) == 1)


def _replaced(sound: Json, chance: random.Random) -> BadRequest:
    wrong, holder, path = _place(sound, chance)
    value = chance.choice(_RAW if chance.random() < 0.3 else _VALUES)
    holder[path[-1]] = value  # type: ignore[index]  # the last step fits its holder
    return _told(
        wrong, path, f"is {bytes(value)[:40]!r}" if isinstance(value, msgspec.Raw) else f"is {value!r}"
    )


def _removed(sound: Json, chance: random.Random) -> BadRequest:
    wrong, holder, path = _place(sound, chance)
    del holder[path[-1]]  # type: ignore[arg-type]  # the last step fits its holder
    return _told(wrong, path, "is not there")


def _renamed(sound: Json, chance: random.Random) -> BadRequest:
    wrong, holder, path = _place(sound, chance)
    name = chance.choice(_NAMES)
    if isinstance(holder, dict):
        holder[name] = holder.pop(path[-1])
    return _told(wrong, path, f"is called {name[:20]!r}")


def _added(sound: Json, chance: random.Random) -> BadRequest:
    wrong, holder, path = _place(sound, chance)
    value = chance.choice(_VALUES)
    if isinstance(holder, dict):
        holder[chance.choice(_NAMES)] = value
    else:
        holder.insert(chance.randint(0, len(holder)), value)
    return _told(wrong, path, f"has {value!r} beside it")


def _doubled(sound: Json, chance: random.Random) -> BadRequest:
    name = chance.choice(list(sound))
    value = msgspec.json.encode(chance.choice((*_RAW, *_VALUES)))
    field = msgspec.json.encode(name) + b":" + value
    body = msgspec.json.encode(sound)
    first = chance.random() < 0.5
    doubled = b"{" + field + b"," + body[1:] if first else body[:-1] + b"," + field + b"}"
    return BadRequest(
        doubled, name, f"{name}: is there twice, {'first' if first else 'last'} as {value[:40]!r}"
    )


def _garbled(sound: Json, chance: random.Random) -> BadRequest:
    body = bytearray(msgspec.json.encode(sound))
    at = chance.randrange(len(body))
    match chance.randrange(5):
        case 0:
            del body[at:]
        case 1:
            body[at] = chance.randrange(256)
        case 2:
            body[at:at] = chance.randbytes(chance.randint(1, 8))
        case 3:
            del body[at : at + chance.randint(1, 40)]
        case _:
            body = bytearray(chance.choice(_NO_JSON))
    return BadRequest(bytes(body), None, f"garbled at {at}")
