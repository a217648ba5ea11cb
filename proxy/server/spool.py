"""A form that is kept until it was passed on: in a file without a name, which is gone with whoever holds it."""

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import IO, Final

from aiohttp import web

from proxy.errors import ErrorKind, GatewayError, TooLarge
from proxy.log import get_logger
from proxy.server.body import body_pieces
from proxy.settings import Policy
from proxy.tasks import detach
from proxy.watch import Watch

_log = get_logger("spool")
_STEP_BYTES: Final = 1024 * 1024


class FormDigest:
    """What a form holds, told from all others; whatever boundary stands between its parts, and however it arrives.

    Clients that send a form again make up another boundary.
    """

    def __init__(self, about: bytes, boundary: bytes) -> None:
        """`about` is what belongs to the digest besides; `boundary` is that of the form, 1 to 70 bytes."""
        self._delimiter = b"--" + boundary
        self._whole = hashlib.sha256(hashlib.sha256(about).digest())
        self._part = hashlib.sha256()
        self._tail = b""

    def update(self, piece: bytes) -> None:
        """The next bytes of the form."""
        *ended, rest = (self._tail + piece).split(self._delimiter)
        for part in ended:
            self._part.update(part)
            self._whole.update(self._part.digest())
            self._part = hashlib.sha256()
        # a delimiter may have begun that ends in the next piece
        begun = len(self._delimiter) - 1
        self._part.update(rest[:-begun])
        self._tail = rest[-begun:]

    def hexdigest(self) -> str:
        """Of the whole form; to be asked once, at its end."""
        self._part.update(self._tail)
        self._whole.update(self._part.digest())
        return self._whole.hexdigest()


class Spool:
    """See `proxy.dispatch.objects.Body`: a body that has come as a whole.

    Attributes:
        digest: of what it holds.
        length_bytes: how long it is.
        sent: whether its last byte was handed to an upstream.
        problem: why it cannot go on, where that is the client's doing.
    """

    problem: GatewayError | None = None

    def __init__(self, file: IO[bytes], digest: FormDigest, taken_within_s: float) -> None:
        self._file = file
        self._taken_within_s = taken_within_s
        self.digest = digest
        self.length_bytes = 0
        self.sent = False

    async def put(self, pieces: Sequence[bytes]) -> None:
        """The next bytes of it, which must not be many megabytes. Raises GatewayError 503 where there is no room."""
        piece = b"".join(pieces)
        self.length_bytes += len(piece)
        try:
            await asyncio.to_thread(self._write, piece)
        except OSError as error:
            raise _cannot_be_kept(error) from None

    def _write(self, piece: bytes) -> None:
        self.digest.update(piece)
        self._file.write(piece)
        self._file.flush()

    async def pieces(
        self,
        credential: str,  # noqa: ARG002 - a file goes to whoever takes it
        taken: asyncio.Timeout,
    ) -> AsyncIterator[bytes]:
        """See `Body.pieces`. Raises OSError where it cannot be read back."""
        loop = asyncio.get_running_loop()
        left_bytes = self.length_bytes
        await asyncio.to_thread(self._file.seek, 0)
        while piece := await asyncio.to_thread(self._file.read, _STEP_BYTES):
            taken.reschedule(loop.time() + self._taken_within_s)
            left_bytes -= len(piece)
            # who takes the last piece may never come back for more
            self.sent = left_bytes <= 0
            yield piece

    def close(self) -> None:
        """Let go of the file, soon: a thread may still be using it."""
        detach(asyncio.to_thread(self._file.close), name="let go of an upload")


async def spooled(request: web.Request, digest: FormDigest, policy: Policy, folder: Path) -> Spool:
    """A client's body as a whole, to be closed. Nothing of it stays where it breaks off.

    Args:
        request: whose body it is.
        digest: to be fed with it.
        policy: how long it may be, how slowly it may come, and how long an upstream may leave a piece lying.
        folder: where there is room for it.

    Raises:
        TooLarge: it is longer.
        GatewayError: 503 where the folder takes no more, and what `body_pieces` raises.
    """
    declared, limit_bytes = request.content_length, policy.file_max_bytes
    if declared is not None and declared > limit_bytes:
        raise TooLarge(limit_bytes)
    try:
        file = await asyncio.to_thread(_nameless, folder)
    except OSError as error:
        raise _cannot_be_kept(error) from None
    spool = Spool(file, digest, policy.unary_timeout_s)
    try:
        await _filled(spool, request, policy)
    except BaseException:
        spool.close()
        raise
    return spool


def _nameless(folder: Path) -> IO[bytes]:
    return tempfile.TemporaryFile(dir=folder)


async def _filled(spool: Spool, request: web.Request, policy: Policy) -> None:
    watch, waiting, waiting_bytes = Watch(request.task), list[bytes](), 0
    try:
        async with aclosing(body_pieces(request, policy.file_max_bytes, policy, watch)) as body:
            async for piece in body:
                waiting.append(piece)
                waiting_bytes += len(piece)
                if waiting_bytes >= _STEP_BYTES:
                    await spool.put(waiting)
                    waiting, waiting_bytes = [], 0
        await spool.put(waiting)
    finally:
        watch.close()


def _cannot_be_kept(error: OSError) -> GatewayError:
    _log.error("upload not kept", problem=error.strerror or type(error).__name__)
    return GatewayError(
        503,
        ErrorKind.API,
        "Uploads cannot be kept now until they are passed on; without an Idempotency-Key they need not be.",
        code="not_kept",
    )
