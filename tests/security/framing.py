"""Requests whose end two readers could see in different places, and other bytes that are no HTTP request.

Each hides a second request, whole and with a valid key, where a careless reader would find one. Sources: RFC 9112
sections 2 to 7 and 11.2, and the request-smuggling classes published since "HTTP Desync Attacks" (2019).
"""

from dataclasses import dataclass
from typing import Final

from tests.security.wire import messages_body
from tests.support.gateway import CLIENT_KEY

HIDDEN_PATH: Final = "/hf/v1/messages"
HIDDEN_TEXT: Final = "hidden-request-9f31"
_HIDDEN_BODY: Final = messages_body(HIDDEN_TEXT)
HIDDEN: Final = (
    f"POST {HIDDEN_PATH} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {CLIENT_KEY}\r\n"
    f"content-type: application/json\r\ncontent-length: {len(_HIDDEN_BODY)}\r\n\r\n"
).encode() + _HIDDEN_BODY


FAREWELL: Final = b"GET /live HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Abuse:
    """One attack.

    Attributes:
        name: what it does.
        data: the bytes of the whole connection.
        normalized: whether a reader may, by the standard, take it for one sound request with the hidden one in
            its body; `FAREWELL` follows then, and its answer has to be the second.
    """

    name: str
    data: bytes
    normalized: bool = False


def _framed(name: str, framing: bytes, body: bytes, *, normalized: bool = False) -> Abuse:
    """A POST whose framing headers and body are these."""
    head = b"POST /v1/messages HTTP/1.1\r\nhost: gateway\r\n" + _AUTHORIZED + framing + b"\r\n"
    return Abuse(name, head + body, normalized)


def _headed(name: str, line: bytes) -> Abuse:
    """A GET with one odd header line, then the hidden request."""
    head = b"GET /v1/models HTTP/1.1\r\nhost: gateway\r\n" + _AUTHORIZED + line + b"\r\n"
    return Abuse(name, head + HIDDEN)


def _first_line(name: str, line: bytes) -> Abuse:
    return Abuse(name, line + b"\r\nhost: gateway\r\n" + _AUTHORIZED + b"\r\n" + HIDDEN)


_AUTHORIZED: Final = f"authorization: Bearer {CLIENT_KEY}\r\n".encode()
_TO_ZERO: Final = b"0\r\n\r\n" + HIDDEN
_HEX: Final = b"%x" % len(HIDDEN)
_CHUNKED: Final = b"transfer-encoding: chunked\r\n"
_LENGTH: Final = b"content-length: %d\r\n"

_LENGTHS: Final = (
    _framed("two different lengths", _LENGTH % 0 + _LENGTH % len(HIDDEN), HIDDEN),
    _framed("two lengths in one line", b"content-length: 0, %d\r\n" % len(HIDDEN), HIDDEN),
    _framed("the same length twice", _LENGTH % 0 + _LENGTH % 0, HIDDEN),
    _framed("a length with a plus sign", b"content-length: +0\r\n", HIDDEN),
    _framed("a negative length", b"content-length: -1\r\n", HIDDEN),
    _framed("a length in hexadecimal", b"content-length: 0x0\r\n", HIDDEN),
    _framed("an empty length", b"content-length: \r\n", HIDDEN),
    _framed("a length in words", b"content-length: zero\r\n", HIDDEN),
    _framed("a length with an underscore", b"content-length: 0_0\r\n", HIDDEN),
    _framed("a length with a space inside", b"content-length: 0 0\r\n", HIDDEN),
    _framed("a length in Arabic digits", "content-length: \u0660\r\n".encode(), HIDDEN),
    _framed("a length beyond 64 bits", b"content-length: 18446744073709551616\r\n", HIDDEN),
    _framed("a length with a fraction", b"content-length: 0.0\r\n", HIDDEN),
)

_BOTH: Final = (
    _framed("length before chunked", _LENGTH % len(_TO_ZERO) + _CHUNKED, _TO_ZERO),
    _framed("length after chunked", _CHUNKED + _LENGTH % len(_TO_ZERO), _TO_ZERO),
    _framed("length of the hidden one and chunked", _LENGTH % 5 + _CHUNKED, _TO_ZERO),
    _framed("a broken length and chunked", b"content-length: x\r\n" + _CHUNKED, _TO_ZERO),
)

_CODINGS: Final = (
    _framed("an unknown coding", b"transfer-encoding: xchunked\r\n", _TO_ZERO),
    _framed("chunked with a suffix", b"transfer-encoding: chunkedx\r\n", _TO_ZERO),
    _framed("identity after chunked", b"transfer-encoding: chunked, identity\r\n", _TO_ZERO),
    _framed("chunked twice in one line", b"transfer-encoding: chunked, chunked\r\n", _TO_ZERO),
    _framed("chunked twice", _CHUNKED + _CHUNKED, _TO_ZERO),
    _framed("gzip alone as coding", b"transfer-encoding: gzip\r\n", _TO_ZERO),
    _framed("an empty coding", b"transfer-encoding: \r\n" + _LENGTH % len(HIDDEN), HIDDEN, normalized=True),
    _framed("a vertical tab before chunked", b"transfer-encoding: \x0bchunked\r\n", _TO_ZERO),
    _framed("a space before the colon", b"transfer-encoding : chunked\r\n", _TO_ZERO),
    _framed("a quoted coding", b'transfer-encoding: "chunked"\r\n', _TO_ZERO),
    _framed(
        "a coding hidden behind a null",
        b"x: y\x00\r\n" + _CHUNKED,
        _TO_ZERO,
    ),
    Abuse(
        "chunked in HTTP/1.0",
        b"POST /v1/messages HTTP/1.0\r\nhost: gateway\r\n" + _AUTHORIZED + _CHUNKED + b"\r\n" + _TO_ZERO,
    ),
)

_CHUNKS: Final = (
    _framed("a chunk size in words", _CHUNKED, b"zero\r\n\r\n" + HIDDEN),
    _framed("a chunk size with 0x", _CHUNKED, b"0x" + _HEX + b"\r\n" + HIDDEN + b"\r\n0\r\n\r\n"),
    _framed("a negative chunk size", _CHUNKED, b"-1\r\n\r\n" + HIDDEN),
    _framed("a chunk size with a plus sign", _CHUNKED, b"+" + _HEX + b"\r\n" + HIDDEN + b"\r\n0\r\n\r\n"),
    _framed("a chunk size with an underscore", _CHUNKED, b"0_0\r\n\r\n" + HIDDEN),
    _framed("a chunk size beyond 64 bits", _CHUNKED, b"1" + b"0" * 17 + b"\r\n" + HIDDEN),
    _framed("a chunk size that wraps around to nothing", _CHUNKED, b"1" + b"0" * 16 + b"\r\n\r\n" + HIDDEN),
    _framed("an empty chunk size", _CHUNKED, b"\r\n\r\n" + HIDDEN),
    _framed("a space before the chunk size", _CHUNKED, b" 0\r\n\r\n" + HIDDEN),
    _framed("a chunk longer than its size", _CHUNKED, b"3\r\nabcd\r\n" + _TO_ZERO),
    _framed("a chunk closed by a bare line feed", _CHUNKED, b"1\r\na\n" + _TO_ZERO),
    _framed("a chunk size closed by a bare line feed", _CHUNKED, b"0\n\n" + HIDDEN),
    _framed("a chunk size closed by a bare carriage return", _CHUNKED, b"0\r\r" + HIDDEN),
    _framed("a chunk extension with a bare line feed", _CHUNKED, b"0;a\nb\r\n\r\n" + HIDDEN),
    _framed("a chunk extension with a null", _CHUNKED, b"0;a\x00\r\n\r\n" + HIDDEN),
    _framed(
        "a huge chunk extension",
        _CHUNKED,
        _HEX + b";" + b"a" * 70_000 + b"\r\n" + HIDDEN + b"\r\n0\r\n\r\n",
        normalized=True,
    ),
    _framed("a trailer line without a colon", _CHUNKED, b"0\r\n" + HIDDEN),
)

_HEADERS: Final = (
    _headed("a folded header", b"x-a: b\r\n content-length: 5\r\n"),
    _headed("a folded framing header", b"transfer-encoding:\r\n chunked\r\n"),
    _headed("a first header that begins with a space", b" x: y\r\n"),
    _headed("a header without a colon", b"no colon here\r\n"),
    _headed("a header without a name", b": value\r\n"),
    _headed("a space inside a header's name", b"x y: z\r\n"),
    _headed("a null inside a header's name", b"x\x00y: z\r\n"),
    _headed("a null inside a header", b"x: y\x00z\r\n"),
    _headed("a bare carriage return inside a header", b"x: y\rcontent-length: 5\r\n"),
    _headed("a header that ends with a bare line feed", b"x: y\ncontent-length: 5\r\n"),
    _headed("a header name that is no ASCII", "\u00e9: y\r\n".encode()),
    _headed("one huge header", b"x: " + b"a" * 100_000 + b"\r\n"),
    _headed("one huge header name", b"x" * 100_000 + b": y\r\n"),
    _headed("two thousand headers", b"".join(b"x-%d: y\r\n" % number for number in range(2000))),
    Abuse("a head of bare line feeds", b"GET /v1/models HTTP/1.1\nhost: gateway\n\n" + HIDDEN),
)

_LINES: Final = (
    _first_line("no version", b"GET /v1/models"),
    _first_line("a version that is no number", b"GET /v1/models HTTP/x.y"),
    _first_line("an unknown major version", b"GET /v1/models HTTP/3.1"),
    _first_line("a lower-case protocol", b"GET /v1/models http/1.1"),
    _first_line("another protocol", b"GET /v1/models RTSP/1.0"),
    _first_line("a space inside the target", b"GET /v1 /models HTTP/1.1"),
    Abuse(
        "two spaces",
        b"POST  /v1/messages HTTP/1.1\r\nhost: gateway\r\n"
        + _AUTHORIZED
        + _LENGTH % len(HIDDEN)
        + b"\r\n"
        + HIDDEN,
        normalized=True,
    ),
    _first_line("tabs instead of spaces", b"GET\t/v1/models\tHTTP/1.1"),
    _first_line("no target", b"GET HTTP/1.1"),
    _first_line("a method with a slash", b"GE/T /v1/models HTTP/1.1"),
    _first_line("a method with a null", b"GE\x00T /v1/models HTTP/1.1"),
    _first_line("a method that is no word", b"(GET) /v1/models HTTP/1.1"),
    _first_line("a target with a null", b"GET /v1/mo\x00dels HTTP/1.1"),
    _first_line("a target of 100,000 characters", b"GET /" + b"a" * 100_000 + b" HTTP/1.1"),
    Abuse("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + HIDDEN),
    Abuse("the beginning of TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + HIDDEN),
    Abuse("nulls", b"\x00" * 64 + HIDDEN),
)

ABUSES: Final = (*_LENGTHS, *_BOTH, *_CODINGS, *_CHUNKS, *_HEADERS, *_LINES)
