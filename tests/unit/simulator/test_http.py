"""Reading requests and framing answers."""

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.simulator.http import (
    MAX_BODY_BYTES,
    MAX_HEAD_BYTES,
    Head,
    MalformedRequestError,
    RequestReader,
    chunk,
    parse_head,
    response_head,
)

_PLAIN = (
    b"POST /v1/messages?beta=true HTTP/1.1\r\nHost: sim\r\nX-Api-Key:  k \r\nContent-Length: 5\r\n\r\nhello"
)
_CHUNKED = (
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3;note=1\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: x\r\n\r\n"
)
_EMPTY = b"GET /v1/models HTTP/1.1\r\n\r\n"


def _read_all(reader: RequestReader, pieces: list[bytes]) -> list[tuple[Head, bytes]]:
    found: list[tuple[Head, bytes]] = []
    head: Head | None = None
    for piece in pieces:
        reader.feed(piece)
        while True:
            head = head or reader.read_head()
            body = reader.read_body(head) if head is not None else None
            if head is None or body is None:
                break
            found.append((head, body))
            head = None
    return found


@pytest.mark.parametrize(("wire", "body"), [(_PLAIN, b"hello"), (_CHUNKED, b"hello"), (_EMPTY, b"")])
@given(cuts=st.lists(st.integers(0, 200), max_size=8))
def test_a_request_is_the_same_however_it_is_split(wire: bytes, body: bytes, cuts: list[int]) -> None:
    """TCP may cut anywhere, also inside a chunk's size line."""
    twice = wire * 2
    places = [0, *sorted(cut % (len(twice) + 1) for cut in cuts), len(twice)]
    pieces = [twice[start:stop] for start, stop in pairwise(places)]
    found = _read_all(RequestReader(), pieces)
    assert [one_body for _, one_body in found] == [body, body]
    assert found[0][0] == parse_head(wire.partition(b"\r\n\r\n")[0])


@pytest.mark.parametrize("wire", [_PLAIN, _CHUNKED])
def test_a_request_may_come_byte_by_byte(wire: bytes) -> None:
    """The slowest client is read like the fastest."""
    reader = RequestReader()
    found = _read_all(reader, [bytes((value,)) for value in wire])
    assert [body for _, body in found] == [b"hello"]
    assert reader.empty


def test_header_names_are_lower_case_and_values_are_stripped() -> None:
    """The record compares headers by lower-case name."""
    head = parse_head(_PLAIN.partition(b"\r\n\r\n")[0])
    assert head.headers == [("host", "sim"), ("x-api-key", "k"), ("content-length", "5")]
    assert (head.method, head.target, head.length_bytes) == ("POST", "/v1/messages?beta=true", 5)


def test_an_absolute_target_keeps_its_path() -> None:
    """Clients behind a forward proxy send the whole URL."""
    assert parse_head(b"GET http://sim:80/v1/models?limit=1 HTTP/1.1").target == "/v1/models?limit=1"


@pytest.mark.parametrize(
    ("head", "keep"),
    [
        (b"GET / HTTP/1.1", True),
        (b"GET / HTTP/1.1\r\nConnection: close", False),
        (b"GET / HTTP/1.0", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive", True),
    ],
)
def test_a_connection_is_kept_as_its_version_says(head: bytes, *, keep: bool) -> None:
    """HTTP/1.1 keeps by default, HTTP/1.0 does not."""
    assert parse_head(head).keep_alive is keep


@pytest.mark.parametrize(
    ("wire", "status"),
    [
        (b"\x16\x03\x01garbage\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nname : v\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\na: b\r\n folded\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1_0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxx\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 5000, 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2000001\r\n", 413),
        (f"POST / HTTP/1.1\r\nContent-Length: {MAX_BODY_BYTES + 1}\r\n\r\n".encode(), 413),
        (b"GET / HTTP/1.1\r\na: " + b"x" * MAX_HEAD_BYTES, 431),
        (b"GET / HTTP/1.1\r\na: " + b"x" * MAX_HEAD_BYTES + b"\r\n\r\n", 431),
    ],
)
def test_bytes_that_are_no_request_are_refused(wire: bytes, status: int) -> None:
    """Each refusal has the status the connection answers with."""
    with pytest.raises(MalformedRequestError) as caught:
        _read_all(RequestReader(), [wire])
    assert caught.value.status == status


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(wire: bytes) -> None:
    """Nothing but the one error comes out of the reader."""
    for data in (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + wire, wire):
        with suppress(MalformedRequestError):
            assert all(len(body) <= len(data) for _, body in _read_all(RequestReader(), [data]))


def test_an_answer_head_is_lines_and_a_blank_line() -> None:
    """Unknown statuses need words too."""
    assert response_head(529, [("a", "b")]) == b"HTTP/1.1 529 Unknown\r\na: b\r\n\r\n"


def test_an_empty_chunk_is_never_written() -> None:
    """It would end the body."""
    assert chunk(b"") == b""
    assert chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"
