"""Orders that may be sent twice and are carried out once.

The caller gives each order a key of its own (``Idempotency-Key``); for 24 hours the same key of the same owner is
answered with the first answer. Source: the IETF draft "The Idempotency-Key HTTP Header Field".
"""

import asyncio
import hashlib
import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

from proxy.clock import Clock
from proxy.errors import ErrorKind, GatewayError, InvalidRequest
from proxy.log import get_logger
from proxy.store.access import AccessStore, ClaimRow
from proxy.store.base import StoreError
from proxy.tasks import spawn

_log = get_logger("idempotency")
_KEPT_MS: Final = 24 * 3_600_000
_FORM: Final = re.compile(r"[\x21-\x7e]{1,255}")
_NONCE_BYTES: Final = 32
_ARRIVING_BY_ONE: Final = 2
_ARRIVING_IN_ALL: Final = 8
HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "idempotent-replayed"
"""The header of an answer to an order that was carried out before."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What an order was answered with.

    Attributes:
        status: HTTP status, below 400.
        body: as it is kept.
        nonce: random, the same for each repetition.
        repeated: whether the order had been carried out before.
    """

    status: int
    body: bytes
    nonce: str
    repeated: bool = False


Work = Callable[[str], Awaitable[tuple[int, bytes]]]
"""Carries an order out, given its nonce; returns status and body, or raises GatewayError where nothing was done."""


class Unclear(Exception):
    """What was ordered may have been carried out, and nobody heard of it: it must not be carried out once more."""

    def __init__(self, error: GatewayError) -> None:
        """`error` is what the caller is told."""
        super().__init__(error.message)
        self.error = error


class Idempotency:
    """Remembers orders by the keys their callers gave them."""

    def __init__(self, store: AccessStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._running: dict[tuple[str, str], tuple[str, asyncio.Task[Answered | GatewayError]]] = {}
        self._arriving: set[tuple[str, str]] = set()

    def arriving(self, owner: str, order: str) -> None:
        """An order begins to arrive that is too large for memory; to be ended by `arrived`, after `once_told`.

        Raises:
            InvalidRequest: the key is not 1 to 255 visible ASCII characters.
            GatewayError: 409 while another order with this key arrives or is carried out; 429 while too many arrive.
        """
        named = owner, _named(order)
        if named in self._arriving or named in self._running:
            raise _under_way()
        by_one = sum(held == owner for held, _ in self._arriving)
        if by_one >= _ARRIVING_BY_ONE or len(self._arriving) >= _ARRIVING_IN_ALL:
            raise _too_many()
        self._arriving.add(named)

    def arrived(self, owner: str, order: str) -> None:
        """It does not arrive any more, and is not carried out any more."""
        self._arriving.discard((owner, _named(order)))

    async def once(self, owner: str, order: str | None, request: bytes, work: Work) -> Answered:
        """Carry an order out, unless it was before.

        It is carried out to its end even if the caller leaves. An order that failed is forgotten, so that it may be
        sent again.

        Args:
            owner: whose order it is; other owners' keys are other orders.
            order: the key the caller gave it; None where it gave none, and each time counts.
            request: all that was asked for.
            work: carries it out; raises `Unclear` where nobody knows whether it was.

        Raises:
            InvalidRequest: the key is not 1 to 255 visible ASCII characters.
            GatewayError: what `work` raised; 409 for a key that was used for another request, and where the first
                one was cut off by the end of the program; 503 where the store cannot be used.
        """
        if order is None:
            nonce = secrets.token_hex(_NONCE_BYTES)
            status, body = await work(nonce)
            return Answered(status, body, nonce)
        return await self.once_told(owner, order, hashlib.sha256(request).hexdigest(), work)

    async def once_told(self, owner: str, order: str, asked: str, work: Work) -> Answered:
        """The same for a request of which only the digest is at hand, `asked`, in hexadecimal."""
        named = _named(order)
        found, first = self._running.get((owner, named)), False
        if found is None:
            task = spawn(self._carry_out(owner, named, asked, work), name="carry out an order once")
            found = self._running[owner, named] = asked, task
            task.add_done_callback(lambda _: self._running.pop((owner, named), None))
            first = True
        if found[0] != asked:
            raise _another_request()
        answered = await asyncio.shield(found[1])
        if isinstance(answered, GatewayError):
            raise answered
        return answered if first else replace(answered, repeated=True)

    async def _carry_out(self, owner: str, named: str, asked: str, work: Work) -> Answered | GatewayError:
        now_ms = self._clock.unix_ms()
        claim = ClaimRow(
            owner=owner,
            key=named,
            request=asked,
            nonce=secrets.token_hex(_NONCE_BYTES),
            at_unix_ms=now_ms,
        )
        try:
            earlier = await self._store.claim(claim, forget_before_unix_ms=now_ms - _KEPT_MS)
        except StoreError as error:
            _log.error("order not claimed", problem=str(error))
            return GatewayError(503, ErrorKind.API, "Orders cannot be remembered now; nothing was done.")
        if earlier.nonce != claim.nonce:
            return _repeated(earlier, asked)
        try:
            status, body = await work(claim.nonce)
        except Unclear as unclear:
            return unclear.error
        except GatewayError as error:
            await self._kept(self._store.drop_claim(claim))
            return error
        except BaseException:
            await self._kept(self._store.drop_claim(claim))
            raise
        await self._kept(self._store.answer_claim(replace(claim, status=status, body=body.decode())))
        return Answered(status, body, claim.nonce)

    async def _kept(self, writing: Awaitable[None]) -> None:
        try:
            await writing
        except StoreError as error:
            _log.error("order not remembered", problem=str(error))


def _named(order: str) -> str:
    if not _FORM.fullmatch(order):
        raise InvalidRequest(f"{HEADER} must be 1 to 255 visible ASCII characters.", param=HEADER)
    return hashlib.sha256(order.encode()).hexdigest()


def _repeated(earlier: ClaimRow, asked: str) -> Answered | GatewayError:
    if earlier.request != asked:
        return _another_request()
    if earlier.status is None:
        return GatewayError(
            409,
            ErrorKind.INVALID_REQUEST,
            f"The first request with this {HEADER} has not ended yet, or was cut off: whether it was carried out is "
            "not known. Look, and send another key.",
            param=HEADER,
            code="idempotency_unknown",
            should_retry=False,
        )
    return Answered(earlier.status, earlier.body.encode(), earlier.nonce, repeated=True)


def _another_request() -> GatewayError:
    return GatewayError(
        409,
        ErrorKind.INVALID_REQUEST,
        f"This {HEADER} was used for another request.",
        param=HEADER,
        code="idempotency_key_reused",
        should_retry=False,
    )


def _under_way() -> GatewayError:
    return GatewayError(
        409,
        ErrorKind.INVALID_REQUEST,
        f"The first request with this {HEADER} is still under way.",
        param=HEADER,
        code="idempotency_in_progress",
        retry_after_s=1.0,
        should_retry=True,
    )


def _too_many() -> GatewayError:
    return GatewayError(
        429,
        ErrorKind.RATE_LIMIT,
        f"Too many uploads with an {HEADER} are under way.",
        param=HEADER,
        code="rate_limit_exceeded",
        retry_after_s=1.0,
    )
