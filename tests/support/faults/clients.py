"""What clients do, by mistake or on purpose, what comes of it, and which tests have seen it, with nginx and without."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.faults.tried import tried_in

_SECURITY: Final = Path("tests/security")
_INTEGRATION: Final = Path("tests/integration")
_DEPLOY: Final = Path("tests/deploy")
_ODD: Final = _DEPLOY / "test_client_faults.py"
_BODIES: Final = _DEPLOY / "test_hostile_bodies.py"
_AS_SHIPPED: Final = _DEPLOY / "test_behind_nginx.py"
_SOAK: Final = _INTEGRATION / "test_soak.py"
_SOAK_THROUGH_NGINX: Final = _DEPLOY / "test_soak.py"


@dataclass(frozen=True, slots=True)
class ClientFault:
    """One thing clients do.

    Attributes:
        does: what.
        told: what they are told, and what it costs.
        held_to: the figure that is promised, as the tests or the soak measure it; empty where it is a yes or a no.
        tests: files that try it at the gateway itself.
        through_nginx: files that try it with the real nginx before the gateway.
        soak: parts of the soak that take it in full.
    """

    does: str
    told: str
    held_to: str
    tests: tuple[Path, ...]
    through_nginx: tuple[Path, ...]
    soak: tuple[str, ...] = ()


CLIENT_FAULTS: Final = (
    ClientFault(
        "a body over the limit: declared, chunked, or unfolding to it",
        "413 before it is held; `RELAY_BODY_MAX_BYTES`",
        "memory grows by less than twice the limit",
        (_SECURITY / "test_large_bodies.py", _INTEGRATION / "test_uploads.py"),
        (_ODD, _AS_SHIPPED),
    ),
    ClientFault(
        "silence on a new connection, or a head a byte at a time",
        "the connection is closed; `RELAY_HEAD_TIMEOUT_S`, behind nginx its `client_header_timeout`",
        "2,000 and 200 at once gone after 30 s, 64 MiB at most, others at most twice as slow",
        (_SECURITY / "test_slow_clients.py", _SOAK),
        (_ODD, _SOAK_THROUGH_NGINX),
        soak=("slow-clients",),
    ),
    ClientFault(
        "a body a byte at a time, at whichever endpoint",
        "408; `RELAY_BODY_STALL_S`, `RELAY_BODY_MIN_BYTES_PER_S`; a slow but steady body is waited for",
        "200 at once refused after 60 s, others at most twice as slow",
        (_SECURITY / "test_slow_clients.py", _SOAK),
        (_ODD, _SOAK_THROUGH_NGINX),
        soak=("slow-clients",),
    ),
    ClientFault(
        "an answer read slowly, or not at all",
        "a slow reader is waited for; who takes nothing for `RELAY_WRITE_STALL_S` is cut off. Behind nginx, which "
        "hands on in pieces, so is who takes less than 2 KB a second of an answer that is far ahead",
        "50 readers at 1 KB/s cost 64 MiB at most, others at most twice as slow, who stands still is gone after 60 s",
        (_SOAK, Path("tests/unit/server/test_taking.py")),
        (_SOAK_THROUGH_NGINX,),
        soak=("slow-readers",),
    ),
    ClientFault(
        "a body of 100,000 levels, fields or elements; megabytes that are sound",
        "400 where it is not sound, else served; other clients' streams go on meanwhile",
        "nobody else waits for more than 50 ms; held to 200 ms of the processor's time, and all the work for it to "
        "0.2 s and 0.4 s a MiB; `make test` allows four times that",
        (
            _SECURITY / "test_busy_loop.py",
            _SECURITY / "test_hostile_json.py",
            _INTEGRATION / "test_large_requests.py",
        ),
        (_BODIES, _AS_SHIPPED),
    ),
    ClientFault(
        "a body that is no JSON, no UTF-8, no object, or has a field twice",
        "400; of a field that stands there twice the last one counts, for us and for the upstream",
        "",
        (_SECURITY / "test_hostile_json.py",),
        (_BODIES, _AS_SHIPPED),
    ),
    ClientFault(
        "a field of a wrong type or value, an unknown one, or one that is missing",
        "400 that names the field, or what the upstream says of it; never a 500",
        "none of 20,000 such requests is a 500, nor of those a schema makes, nor of 4,000 for each endpoint through "
        "nginx",
        (
            _SECURITY / "test_bad_requests.py",
            _SECURITY / "test_hostile_json.py",
            Path("tests/e2e/test_openapi.py"),
        ),
        (_BODIES,),
        soak=("bad-requests", "openapi", "hostile-bodies"),
    ),
    ClientFault(
        "an image that is none, is mislabelled, cut off or too large",
        "where it is translated, its bytes tell its type, and 400 names the field; only its head is read",
        "200 ms of the processor's time each, 15 MiB too; `make test` allows 800",
        (
            Path("tests/unit/dialects/openai_chat/test_media.py"),
            Path("tests/unit/model/test_media_type.py"),
            _SECURITY / "test_busy_loop.py",
        ),
        (_BODIES,),
    ),
    ClientFault(
        "a request whose end two readers could see in two places",
        "4xx and the connection is closed; nothing hidden in it is served",
        "none hidden is served",
        (_SECURITY / "test_framing.py",),
        (_AS_SHIPPED,),
    ),
    ClientFault(
        "an address in another spelling",
        "the same decision about its key as for the usual one, or 400 or 404",
        "",
        (_SECURITY / "test_targets.py",),
        (_AS_SHIPPED,),
    ),
    ClientFault(
        "leaving: in the head, in the body, in the queue, while connecting, before, within and after the answer",
        "the work for it stops, nothing of it stays, and what was used is counted once",
        "250 ms for 99 of 100 and a second for all, no place and no descriptor left",
        (
            _INTEGRATION / "test_cancellation.py",
            _INTEGRATION / "test_uploads.py",
            _SOAK,
        ),
        (_DEPLOY / "test_departures.py", _SOAK_THROUGH_NGINX),
        soak=("departures",),
    ),
    ClientFault(
        "more connections than there may be, of all clients or of one address",
        "each one beyond is closed unread, and behind nginx told 503 to come again; `RELAY_CONNECTIONS_MAX`, "
        "`RELAY_CONNECTIONS_PER_ADDRESS_MAX`",
        "as many as are allowed, and not one more",
        (_SECURITY / "test_caps.py", Path("tests/unit/server/test_doors.py")),
        (_ODD,),
    ),
    ClientFault(
        "a thousand requests in one piece, or requests without end",
        "each is answered in its turn; while one is, at most 32 more are read",
        "16 MiB at most",
        (_SECURITY / "test_connections.py",),
        (_AS_SHIPPED, _ODD),
    ),
    ClientFault(
        "a thousand chunk extensions, hundreds of headers, or 100 KB of them",
        "they change nothing, or 400",
        "16 MiB at most",
        (_SECURITY / "test_connections.py", _SECURITY / "test_framing.py"),
        (_ODD, _AS_SHIPPED),
    ),
    ClientFault(
        "two different keys in one request",
        "401: neither counts; the same key twice is one",
        "",
        (_SECURITY / "test_connections.py",),
        (_ODD, _AS_SHIPPED),
    ),
)


def client_table() -> str:
    """The table."""
    head = "| A client sends | What comes of it | Held to | Tried directly | Tried through nginx |\n"
    return f"{head}|---|---|---|---|---|\n{''.join(_rows())}"


def _rows() -> Iterator[str]:
    for fault in CLIENT_FAULTS:
        tried = f"{tried_in(fault.tests, fault.soak)} | {tried_in(fault.through_nginx)}"
        yield f"| {fault.does} | {fault.told} | {fault.held_to} | {tried} |\n"
