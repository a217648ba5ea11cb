"""HTTP/1.1 by hand, so that the simulator can also break it: reading requests, framing answers.

Nothing here touches a socket. Requests are read strictly; answers are plain bytes that a behaviour may cut.
Source of the grammar: RFC 9112.
"""

from collections.abc import Callable, Iterable
from http import HTTPStatus

import msgspec

MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 32 * 1024 * 1024
_LARGER = (("/v1/files", 500 * 1024 * 1024), ("/v1/messages/batches", 256 * 1024 * 1024))
LAST_CHUNK = b"0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_MAX_CHUNK_LINE_BYTES = 4096
_END_OF_HEAD = b"\r\n\r\n"
_VERSIONS = ("HTTP/1.1", "HTTP/1.0")
_HEX_DIGITS = frozenset(b"0123456789abcdefABCDEF")
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class MalformedRequestError(Exception):
    """Bytes that are no request we read; `status` is the answer before the connection closes."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class Head(msgspec.Struct):
    """A request up to its blank line.

    Attributes:
        method: as sent.
        target: path with query, as sent; an absolute URI keeps only its path and query.
        headers: pairs in order, names in lower case.
        fields: the same by name; of a repeated header the last.
        keep_alive: whether the connection may carry another request.
        length_bytes: the declared body length, or None for a chunked body.
        expects_continue: whether the client waits for ``100 Continue``.
    """

    method: str
    target: str
    headers: list[tuple[str, str]]
    fields: dict[str, str]
    keep_alive: bool
    length_bytes: int | None
    expects_continue: bool


def parse_head(raw: bytes) -> Head:
    """Read a request head given without its final blank line; raises `MalformedRequestError`."""
    first, *lines = raw.decode("latin-1").split("\r\n")
    method, _, rest = first.partition(" ")
    target, _, version = rest.rpartition(" ")
    if version not in _VERSIONS or not method.isalpha() or not target or " " in target:
        raise MalformedRequestError("malformed request line")
    headers = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or " " in name or "\t" in name:
            raise MalformedRequestError("malformed header line")
        headers.append((name.lower(), value.strip(" \t")))
    fields = dict(headers)
    connection = fields.get("connection", "").lower()
    return Head(
        method,
        _origin_form(target),
        headers,
        fields,
        connection != "close" if version == "HTTP/1.1" else connection == "keep-alive",
        _body_length(fields, max_body_bytes(target)),
        "expect" in fields and fields["expect"].lower() == "100-continue",
    )


def _origin_form(target: str) -> str:
    if target.startswith("http://"):
        return "/" + target[len("http://") :].partition("/")[2]
    return target


def _body_length(fields: dict[str, str], max_bytes: int) -> int | None:
    declared = fields.get("content-length")
    if (coding := fields.get("transfer-encoding")) is not None:
        if coding.lower() != "chunked":
            raise MalformedRequestError("unsupported transfer coding", status=501)
        if declared is not None:
            raise MalformedRequestError("both content-length and transfer-encoding")
        return None
    if declared is None:
        return 0
    if not (declared.isascii() and declared.isdigit()):
        raise MalformedRequestError("malformed content-length")
    if len(declared) > 15 or int(declared) > max_bytes:
        raise MalformedRequestError("Request exceeds the maximum size", status=413)
    return int(declared)


def max_body_bytes(target: str) -> int:
    """The largest body of a path: files and batches may be much larger than all else."""
    path = target.partition("?")[0]
    return next((limit for known, limit in _LARGER if path == known), MAX_BODY_BYTES)


class RequestReader:
    """Turns the bytes of one connection into requests, however they were split on the way.

    Call `read_head` until it gives a head, then `read_body` with it until it gives the body; both give None
    while bytes are missing and raise `MalformedRequestError` on bytes that can never become a request. A body may be
    poured into a `sink` as it comes; then what is given at its end is empty.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._chunks: list[bytes] = []
        self._chunks_bytes = 0
        self._poured_bytes = 0
        self._in_trailers = False

    def feed(self, data: bytes) -> None:
        """Take what has arrived."""
        self._buffer += data

    @property
    def empty(self) -> bool:
        """Whether nothing is waiting to be read."""
        return not self._buffer

    @property
    def waiting_bytes(self) -> int:
        """How much is waiting to be read."""
        return len(self._buffer)

    def read_head(self) -> Head | None:
        """The next head, or None."""
        buffer = self._buffer
        end = buffer.find(_END_OF_HEAD, self._searched)
        if end < 0:
            self._searched = max(0, len(buffer) - 3)
            if len(buffer) > MAX_HEAD_BYTES:
                raise MalformedRequestError("request head too large", status=431)
            return None
        if end > MAX_HEAD_BYTES:
            raise MalformedRequestError("request head too large", status=431)
        raw = bytes(buffer[:end])
        del buffer[: end + 4]
        self._searched = 0
        return parse_head(raw)

    def read_body(self, head: Head, sink: Callable[[bytes], None] | None = None) -> bytes | None:
        """The body that belongs to `head`, or None."""
        length = head.length_bytes
        if length is None:
            return self._read_chunked(max_body_bytes(head.target), sink)
        if sink is not None:
            return self._pour(length, sink)
        if length == 0:
            return b""
        buffer = self._buffer
        if len(buffer) < length:
            return None
        body = bytes(memoryview(buffer)[:length])
        del buffer[:length]
        return body

    def _pour(self, length: int, sink: Callable[[bytes], None]) -> bytes | None:
        data = bytes(self._buffer[: length - self._poured_bytes])
        del self._buffer[: len(data)]
        self._poured_bytes += len(data)
        if data:
            sink(data)
        if self._poured_bytes < length:
            return None
        self._poured_bytes = 0
        return b""

    def _read_chunked(self, max_bytes: int, sink: Callable[[bytes], None] | None) -> bytes | None:
        while not self._in_trailers:
            line_end = self._line_end()
            if line_end is None:
                return None
            size = _chunk_size(bytes(self._buffer[:line_end]))
            stop = line_end + 2 + size
            if self._chunks_bytes + size > max_bytes:
                raise MalformedRequestError("Request exceeds the maximum size", status=413)
            if size == 0:
                self._in_trailers = True
                del self._buffer[: line_end + 2]
                break
            if len(self._buffer) < stop + 2:
                return None
            if self._buffer[stop : stop + 2] != b"\r\n":
                raise MalformedRequestError("chunk not closed by CRLF")
            piece = bytes(self._buffer[line_end + 2 : stop])
            if sink is not None:
                sink(piece)
            else:
                self._chunks.append(piece)
            self._chunks_bytes += size
            del self._buffer[: stop + 2]
        return self._skip_trailers()

    def _skip_trailers(self) -> bytes | None:
        while (line_end := self._line_end()) is not None:
            del self._buffer[: line_end + 2]
            if line_end == 0:
                body = b"".join(self._chunks)
                self._chunks, self._chunks_bytes, self._in_trailers = [], 0, False
                return body
        return None

    def _line_end(self) -> int | None:
        found = self._buffer.find(b"\r\n", 0, _MAX_CHUNK_LINE_BYTES)
        if found < 0 and len(self._buffer) >= _MAX_CHUNK_LINE_BYTES:
            raise MalformedRequestError("chunk line too long")
        return found if found >= 0 else None


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].rstrip(b" \t")
    if not digits or len(digits) > 8 or not _HEX_DIGITS.issuperset(digits):
        raise MalformedRequestError("malformed chunk size")
    return int(digits, 16)


def reason(status: int) -> str:
    """The words of a status line."""
    return _REASONS.get(status, "Unknown")


def response_head(status: int, headers: Iterable[tuple[str, str]]) -> bytes:
    """The status line and headers of an answer, with the blank line."""
    lines = [f"HTTP/1.1 {status} {reason(status)}"]
    lines.extend(f"{name}: {value}" for name, value in headers)
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def chunk(data: bytes) -> bytes:
    """`data` as one chunk of a chunked body; nothing for no data, since an empty chunk ends the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
