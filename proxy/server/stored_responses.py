"""Responses that clients may read again and go on from: kept for a time, each for its owner alone."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final

import msgspec
from aiohttp import web

from proxy.clock import Clock
from proxy.dialects.decoding import printable
from proxy.dialects.openai_responses.history import (
    item_of,
    items_of,
    no_such_item,
    output_of,
    response_of,
)
from proxy.errors import ErrorKind, GatewayError, InvalidRequest, NotFound, TooLarge
from proxy.log import get_logger
from proxy.server.body import looked_at
from proxy.store.base import ResponseRow, Responses, StoreError
from proxy.tasks import spawn

_log = get_logger("responses")
_SWEEP_S: Final = 300.0
_ID: Final = re.compile(r"resp_[0-9a-f]{32}")


class History(msgspec.Struct, frozen=True):
    """What a request goes on from.

    Attributes:
        items: all items so far, in their order.
        conversation: what ties the turns together.
        length_bytes: about how long they are.
    """

    items: Sequence[msgspec.Raw]
    conversation: str
    length_bytes: int


class StoredResponses:
    """Keeps responses and finds them again.

    Args:
        store: where they are kept.
        clock: the time.
        ttl_s: seconds for which one is kept after it was made or continued from.
        history_max_bytes: how large a history may be that is continued.
    """

    def __init__(self, store: Responses, clock: Clock, *, ttl_s: int, history_max_bytes: int) -> None:
        self._store = store
        self._clock = clock
        self._ttl_ms = ttl_s * 1000
        self._history_max_bytes = history_max_bytes

    async def keep(
        self,
        response_id: str,
        owner: str,
        conversation: str,
        *,
        previous_id: str | None,
        given: bytes,
        made: bytes,
    ) -> None:
        """Keep a response with the items that were new with it; a store that cannot costs nobody the answer."""
        now_ms = self._clock.unix_ms()
        row = ResponseRow(
            id=response_id,
            owner=owner,
            previous_id=previous_id,
            conversation=conversation,
            created_unix_ms=now_ms,
            expires_unix_ms=now_ms + self._ttl_ms,
            input=given.decode(),
            response=made.decode(),
        )
        try:
            await self._store.save_response(row)
            if previous_id is not None:
                await self._store.prolong_chain(previous_id, owner, now_ms, row.expires_unix_ms)
        except StoreError as error:
            _log.error("response not stored", problem=str(error))

    async def history(self, response_id: str, owner: str) -> History:
        """What a request goes on from that names this response.

        Raises InvalidRequest where it, or one before it, is not there for this owner, TooLarge, and GatewayError 503.
        """
        if _ID.fullmatch(response_id) is None:
            raise _no_previous(response_id)
        try:
            rows = await self._store.load_chain(
                response_id, owner, self._clock.unix_ms(), self._history_max_bytes
            )
        except StoreError as error:
            raise _unreadable(error) from None
        if not rows or rows[0].previous_id is not None:
            missing = rows[0].previous_id if rows else response_id
            if missing is not None and await self._find(missing, owner) is not None:
                raise TooLarge(self._history_max_bytes)
            raise _no_previous(response_id)
        length_bytes = sum(len(row.input) + len(row.response) for row in rows)
        items = await looked_at(length_bytes, lambda: _all_items(rows))
        return History(items, rows[-1].conversation, length_bytes)

    async def find(self, response_id: str, owner: str) -> ResponseRow:
        """A response. Raises NotFound, also where it is another's, and GatewayError 503."""
        row = await self._find(response_id, owner)
        if row is None:
            raise _not_found(response_id)
        return row

    async def item(self, wanted: str, owner: str) -> msgspec.Raw:
        """An item of a response. Raises NotFound, also where it is another's, and GatewayError 503."""
        response_id = response_of(wanted)
        row = await self._find(response_id, owner) if response_id is not None else None
        if row is None:
            raise no_such_item(wanted)
        found = item_of([*output_of(row.response), *items_of(row.input)], wanted)
        if found is None:
            raise no_such_item(wanted)
        return found

    async def delete(self, response_id: str, owner: str) -> None:
        """Forget a response: nothing goes on from it any more. Raises NotFound and GatewayError 503."""
        if _ID.fullmatch(response_id) is None:
            raise _not_found(response_id)
        try:
            gone = await self._store.delete_response(response_id, owner, self._clock.unix_ms())
        except StoreError as error:
            raise _unreadable(error) from None
        if not gone:
            raise _not_found(response_id)

    async def _find(self, response_id: str, owner: str) -> ResponseRow | None:
        if _ID.fullmatch(response_id) is None:
            return None
        try:
            return await self._store.load_response(response_id, owner, self._clock.unix_ms())
        except StoreError as error:
            raise _unreadable(error) from None

    async def run(self) -> AsyncIterator[None]:
        """Delete those whose time is over, now and then, while the server runs."""
        sweeping = spawn(self._sweep_for_ever(), name="forget expired responses")
        yield
        sweeping.cancel()

    async def _sweep_for_ever(self) -> None:
        while True:
            await self.sweep()
            await asyncio.sleep(_SWEEP_S)

    async def sweep(self) -> None:
        """Delete those whose time is over, some at a time, so that nobody waits long for the store."""
        try:
            more = True
            while more:
                more = await self._store.forget_responses(self._clock.unix_ms())
        except StoreError as error:
            _log.error("expired responses not deleted", problem=str(error))


def _all_items(rows: Iterable[ResponseRow]) -> list[msgspec.Raw]:
    return [item for row in rows for item in (*items_of(row.input), *output_of(row.response))]


RESPONSES: web.AppKey[StoredResponses] = web.AppKey("responses", StoredResponses)


def _unreadable(error: StoreError) -> GatewayError:
    _log.error("stored responses cannot be read", problem=str(error))
    return GatewayError(503, ErrorKind.API, "Stored responses cannot be read at the moment.", retry_after_s=5)


def _not_found(response_id: str) -> NotFound:
    return NotFound(f"Response with id '{printable(response_id)}' not found.")


def _no_previous(response_id: str) -> InvalidRequest:
    return InvalidRequest(
        f"Previous response with id '{printable(response_id)}' not found.",
        param="previous_response_id",
        code="previous_response_not_found",
    )
