"""What clients do, by mistake or on purpose, what comes of it, and which tests have seen it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SECURITY: Final = Path("tests/security")
_INTEGRATION: Final = Path("tests/integration")
_DEPLOY: Final = Path("tests/deploy")
_THROUGH_NGINX: Final = _DEPLOY / "test_hostile_bodies.py"


@dataclass(frozen=True, slots=True)
class ClientFault:
    """One thing clients do.

    Attributes:
        does: what.
        told: what they are told, and what it costs.
        tests: files that try it.
    """

    does: str
    told: str
    tests: tuple[Path, ...]


CLIENT_FAULTS: Final = (
    ClientFault(
        "a body over the limit: declared, chunked, or unfolding to it",
        "413 before it is held; `RELAY_BODY_MAX_BYTES`",
        (_SECURITY / "test_large_bodies.py", _INTEGRATION / "test_uploads.py"),
    ),
    ClientFault(
        "silence on a new connection, or a head a byte at a time",
        "the connection is closed; `RELAY_HEAD_TIMEOUT_S`",
        (_SECURITY / "test_slow_clients.py", _INTEGRATION / "test_soak.py"),
    ),
    ClientFault(
        "a body a byte at a time, at whichever endpoint",
        "408; `RELAY_BODY_STALL_S`, `RELAY_BODY_MIN_BYTES_PER_S`; a slow but steady body is waited for",
        (_SECURITY / "test_slow_clients.py", _INTEGRATION / "test_soak.py"),
    ),
    ClientFault(
        "a body of 100,000 levels, fields or elements; megabytes that are sound",
        "400 where it is not sound, else served; other clients' streams go on meanwhile",
        (
            _SECURITY / "test_busy_loop.py",
            _SECURITY / "test_hostile_json.py",
            _INTEGRATION / "test_large_requests.py",
            _THROUGH_NGINX,
        ),
    ),
    ClientFault(
        "a body that is no JSON, no UTF-8, no object, or has a field twice",
        "400; of a field that stands there twice the last one counts, for us and for the upstream",
        (_SECURITY / "test_hostile_json.py", _THROUGH_NGINX),
    ),
    ClientFault(
        "a field of a wrong type or value, an unknown one, or one that is missing",
        "400 that names the field, or what the upstream says of it; never a 500",
        (
            _SECURITY / "test_bad_requests.py",
            _SECURITY / "test_hostile_json.py",
            Path("tests/e2e/test_openapi.py"),
            _THROUGH_NGINX,
        ),
    ),
    ClientFault(
        "an image that is none, is mislabelled, cut off or too large",
        "where it is translated, its bytes tell its type, and 400 names the field; only its head is read",
        (
            Path("tests/unit/dialects/openai_chat/test_media.py"),
            Path("tests/unit/model/test_media_type.py"),
            _THROUGH_NGINX,
        ),
    ),
    ClientFault(
        "a request whose end two readers could see in two places",
        "4xx and the connection is closed; nothing hidden in it is served",
        (_SECURITY / "test_framing.py",),
    ),
    ClientFault(
        "an address in another spelling",
        "the same decision about its key as for the usual one, or 400 or 404",
        (_SECURITY / "test_targets.py",),
    ),
    ClientFault(
        "leaving: in the head, in the body, in the queue, while connecting, before, within and after the answer",
        "the work for it stops within a second, nothing of it stays, and what was used is counted once",
        (
            _INTEGRATION / "test_cancellation.py",
            _INTEGRATION / "test_uploads.py",
            _INTEGRATION / "test_soak.py",
        ),
    ),
    ClientFault(
        "more connections than there may be, of all clients or of one address",
        "each one beyond is closed unread; `RELAY_CONNECTIONS_MAX`, `RELAY_CONNECTIONS_PER_ADDRESS_MAX`",
        (_SECURITY / "test_caps.py", Path("tests/unit/server/test_doors.py")),
    ),
    ClientFault(
        "a thousand requests in one piece, or requests without end",
        "each is answered in its turn; while one is, at most 32 more are read",
        (_SECURITY / "test_connections.py",),
    ),
    ClientFault(
        "a thousand chunk extensions, hundreds of headers, or 100 KB of them",
        "they change nothing, or 400",
        (_SECURITY / "test_connections.py", _SECURITY / "test_framing.py"),
    ),
    ClientFault(
        "two different keys in one request",
        "401: neither counts; the same key twice is one",
        (_SECURITY / "test_connections.py",),
    ),
)


def client_table() -> str:
    """The table."""
    return f"| A client sends | What comes of it | Tried in |\n|---|---|---|\n{''.join(_rows())}"


def _rows() -> Iterator[str]:
    for fault in CLIENT_FAULTS:
        tried = ", ".join(f"`{test.relative_to('tests')}`" for test in fault.tests)
        yield f"| {fault.does} | {fault.told} | {tried} |\n"
