"""The door for a client's JSON: a clean 400 for everything that is wrong."""

import msgspec
import pytest

from proxy.dialects.common import Dropped
from proxy.dialects.decoding import decode_json, invalid, printable, unknown_fields
from proxy.errors import InvalidRequest


class _Inner(msgspec.Struct):
    role: str


class _Outer(msgspec.Struct):
    messages: list[_Inner]
    n: int = 0


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"messages":[{"role":3}]}', "messages[0].role"),
        (b'{"messages":[{}]}', "messages[0].role"),
        (b'{"messages":7}', "messages"),
        (b'{"messages":[],"n":"5"}', "n"),
        (b'{"messages":[],"n":true}', "n"),
        (b'{"messages":[],"n":1.5}', "n"),
        (b"{}", "messages"),
        (b"[]", None),
        (b"null", None),
    ],
)
def test_the_path_becomes_the_param(body: bytes, param: str | None) -> None:
    """A client is told which field is wrong, in the notation its own API uses."""
    with pytest.raises(InvalidRequest) as caught:
        decode_json(_Outer, body)
    assert (caught.value.status, caught.value.param) == (400, param)


def test_the_path_of_a_part_begins_where_the_part_lies() -> None:
    """Parts decoded later are named from the top."""
    with pytest.raises(InvalidRequest) as caught:
        decode_json(_Inner, b'{"role":1}', at="messages[4]")
    assert caught.value.param == "messages[4].role"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"messages":[]} x',
        b'\xef\xbb\xbf{"messages":[]}',
        b'{"messages":[],"n":NaN}',
        b'{"messages":[],"n":' + b"1" * 5000 + b"}",
        b'{"messages":[],"n":1e400}',
        b'{"messages":[{"role":"\xff"}]}',
        b'{"messages":[{"role":"\\ud800"}]}',
        b'{"messages":[{"role":"\xed\xa0\x80"}]}',
        b'{"messages":[{"x":' + b"[" * 100_000 + b"}]}",
    ],
)
def test_hostile_bodies_are_a_400(body: bytes) -> None:
    """Nothing that can be sent becomes a 500, and little of it comes back."""
    with pytest.raises(InvalidRequest) as caught:
        decode_json(_Outer, body)
    assert len(caught.value.message) < 300


def test_secrets_in_broken_bodies_are_not_echoed() -> None:
    """A codec's own message would show its whole input."""
    with pytest.raises(InvalidRequest) as caught:
        decode_json(_Outer, b'{"messages":[{"role":"sk-ant-secret \xff"}]}')
    assert "secret" not in caught.value.message


def test_long_values_are_cut() -> None:
    """No more than 200 characters of the input are ever shown."""
    told = invalid(msgspec.ValidationError("Invalid value 'x" + "y" * 5000 + "' - at `$.type`"))
    assert told.param == "type"
    assert len(told.message) < 260


def test_unknown_fields_are_told_and_bounded() -> None:
    """Their names go into a header: printable, short, and not too many."""
    body = msgspec.json.encode({"known": 1, "new": 2, "bad\r\nname,ö": 3} | {f"x{i}": i for i in range(100)})
    found = unknown_fields(body, frozenset({"known"}))
    assert found[:2] == (Dropped("new", "unknown field"), Dropped("bad??name??", "unknown field"))
    assert len(found) == 32
    assert len(printable("y" * 1000)) == 64
