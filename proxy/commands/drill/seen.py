"""What a client has seen of one request, and whether that is what a client should see."""

from dataclasses import dataclass
from typing import Final

import aiohttp
import msgspec

from proxy.simulator.faults.fault import CANARY
from proxy.simulator.faults.told import Spoken

_ENDS: Final = {Spoken.MESSAGES: b"event: message_stop\n", Spoken.CHAT: b"data: [DONE]"}


@dataclass(frozen=True, slots=True)
class Way:
    """In which dialect and form a request is made."""

    spoken: Spoken
    stream: bool


WAYS: Final = tuple(Way(spoken, stream) for spoken in Spoken for stream in (False, True))


class _Error(msgspec.Struct):
    type: str
    message: str
    code: str | None = None


class _Envelope(msgspec.Struct):
    error: _Error


@dataclass(frozen=True, slots=True)
class Seen:
    """What one client has seen.

    Attributes:
        status: of the answer; 0 where none came.
        error: type of the error, and its code; empty for a whole answer.
        credential: alias of who answered, or was asked last; empty for nobody.
        attempts: upstream calls made for it, as the client is told.
        fault: what is wrong with what the client saw; empty where nothing is.
    """

    status: int
    error: str = ""
    credential: str = ""
    attempts: int = 0
    fault: str = ""

    @property
    def whole(self) -> bool:
        """Whether the client got its answer."""
        return self.status == 200 and not self.error and not self.fault

    def words(self) -> str:
        """In a few words."""
        if self.fault:
            return f"WRONG: {self.fault}"
        if self.whole:
            by = f" from {self.credential}" if self.credential else ""
            return f"whole answer{by}, {self.attempts} call{'s' * (self.attempts != 1)}"
        return f"200, then {self.error}" if self.status == 200 else f"{self.status} {self.error}"


async def read(answer: aiohttp.ClientResponse, way: Way) -> Seen:
    """Read an answer to its end, or to where it breaks off, and judge it."""
    body, broken_off = bytearray(), False
    try:
        while chunk := await answer.content.readany():
            body += chunk
    except aiohttp.ClientPayloadError:
        broken_off = True
    headers = b"".join(b"%b: %b\n" % pair for pair in answer.raw_headers)
    leaked = CANARY.encode() in bytes(body) + headers
    error, fault = _judged(answer.status, bytes(body), way, broken_off=broken_off)
    return Seen(
        status=answer.status,
        error=error,
        credential=answer.headers.get("x-carousel-credential", ""),
        attempts=int(answer.headers.get("x-carousel-attempts", "0")),
        fault="shows what only the upstream may know" if leaked else fault,
    )


def _judged(status: int, body: bytes, way: Way, *, broken_off: bool) -> tuple[str, str]:
    """The error an answer tells, and what is wrong with the answer."""
    if status != 200:
        error = _error(body)
        return error, "" if error and not broken_off else "no error envelope"
    if not way.stream:
        return "", "" if not broken_off and body.endswith(b"}") else "cut off"
    if _ENDS[way.spoken] in body:
        return "", "" if not broken_off else "cut off behind its end"
    error = _error(body.removesuffix(b"\n\n").rpartition(b"data: ")[2])
    if not error:
        return "", "ends without an end and without an error"
    return error, "" if broken_off else "an error frame, and a proper end of the transfer"


def _error(body: bytes) -> str:
    try:
        error = msgspec.json.decode(body, type=_Envelope).error
    except (ValueError, RecursionError):
        return ""
    return f"{error.type} / {error.code}" if error.code else error.type
