"""A client's body on its way to an upstream, never held as a whole; and what a batch names on the way."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Final

import msgspec
from aiohttp import web

from proxy.access.estimate import batched_tokens
from proxy.dialects.elements import Elements
from proxy.dialects.files import NamedFile, may_name_files, named_files
from proxy.dispatch.ownership import Ownership
from proxy.errors import GatewayError, InvalidRequest, TooLarge
from proxy.server.body import body_pieces
from proxy.settings import Policy
from proxy.watch import Watch

_LOOKED_THROUGH_BYTES: Final = 4 * 1024 * 1024


class Upload:
    """See `proxy.dispatch.objects.Body`.

    Attributes:
        ended: whether its last byte has come.
        problem: why it cannot go on, where that is the client's doing.
    """

    def __init__(self, request: web.Request, limit_bytes: int, policy: Policy) -> None:
        """An upstream may leave a piece lying as long as the policy's `unary_timeout_s`.

        Raises TooLarge by the declared length.
        """
        declared = request.content_length
        if declared is not None and declared > limit_bytes:
            raise TooLarge(limit_bytes)
        self._request = request
        self._limit_bytes = limit_bytes
        self._policy = policy
        self.ended = False
        self.problem: GatewayError | None = None

    @property
    def length_bytes(self) -> int | None:
        """The length that was declared; None where none was, and where what arrives here is not what was sent."""
        headers = self._request.headers
        return None if "content-encoding" in headers else self._request.content_length

    async def pieces(self, credential: str, taken: asyncio.Timeout) -> AsyncIterator[bytes]:
        """See `Body.pieces`."""
        # whoever sends it does so in a task of its own
        watch = Watch()
        loop = asyncio.get_running_loop()
        try:
            async for piece in self._arriving(credential, watch):
                taken.reschedule(loop.time() + self._policy.unary_timeout_s)
                yield piece
        finally:
            watch.close()

    async def _arriving(self, credential: str, watch: Watch) -> AsyncIterator[bytes]:
        """The body as it comes; says what went wrong before it raises."""
        try:
            async for piece in self._looked_at(
                body_pieces(self._request, self._limit_bytes, self._policy, watch), credential
            ):
                yield piece
        except GatewayError as problem:
            self.problem = problem
            raise
        except ConnectionError:
            self.problem = InvalidRequest("The request body broke off.")
            raise
        self.ended = True

    def _looked_at(
        self,
        body: AsyncIterator[bytes],
        credential: str,  # noqa: ARG002 - a file goes to whoever takes it
    ) -> AsyncIterator[bytes]:
        """The body as it goes on."""
        return body


class BatchUpload(Upload):
    """The body of a batch, which is looked through for files, as those decide who can take it.

    Its beginning is held until a file was named or 4 MiB have come, so that the batch can go to whoever holds that
    file; what comes later has to lie there too.

    Attributes:
        tokens: about what its requests and their answers take, as far as it has come; 0 where nobody counts it.
    """

    def __init__(
        self,
        request: web.Request,
        policy: Policy,
        *,
        ownership: Ownership,
        tenant: str,
        counts_tokens: bool = False,
    ) -> None:
        """One request of the batch is bounded as one that comes by itself; `tenant` is whose files it may name."""
        super().__init__(request, policy.batch_max_bytes, policy)
        self._elements = Elements(policy.body_max_bytes)
        self._ownership = ownership
        self._tenant = tenant
        self._held: list[bytes] = []
        self._number = 0
        self._counts_tokens = counts_tokens
        self.tokens = 0

    async def look_ahead(self, watch: Watch) -> tuple[str | None, str | None]:
        """Read the beginning. Raises GatewayError.

        Gives the alias of who holds the files named in it, and where none are and more is to come, the alias of who
        would hold those named later, as far as can be known.
        """
        left_bytes = min(_LOOKED_THROUGH_BYTES, self._limit_bytes)
        async with aclosing(body_pieces(self._request, self._limit_bytes, self._policy, watch)) as body:
            async for piece in body:
                left_bytes -= len(piece)
                self._held.append(piece)
                if files := self._named(piece):
                    bound = await self._ownership.holder(self._tenant, files)
                    return bound.credential, None
                if left_bytes <= 0:
                    return None, await self._ownership.usual_holder(self._tenant)
        return None, None

    async def _looked_at(self, body: AsyncIterator[bytes], credential: str) -> AsyncIterator[bytes]:
        held_bytes = 0
        while self._held:
            piece = self._held.pop(0)
            held_bytes += len(piece)
            yield piece
        left_bytes = self._limit_bytes - held_bytes
        async for piece in body:
            left_bytes -= len(piece)
            if left_bytes < 0:
                raise TooLarge(self._limit_bytes)
            if files := self._named(piece):
                await self._ownership.holder(self._tenant, files, known=credential)
            yield piece

    def _named(self, piece: bytes) -> Sequence[NamedFile]:
        """The files named by the requests of the batch that end in this piece."""
        found: list[NamedFile] = []
        for element in self._elements.feed(piece):
            if self._counts_tokens:
                self.tokens += batched_tokens(element)
            if may_name_files(element):
                at = f"requests[{self._number}]."
                found += [
                    msgspec.structs.replace(file, field=at + file.field) for file in named_files(element)
                ]
            self._number += 1
        return found
