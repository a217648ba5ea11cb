"""The Responses API: making responses, and what is stored of them.

A response is stored before its client reads its end, so that the next request can go on from it at once.
Source: "Responses" in OpenAI's API reference.
"""

import secrets
from collections.abc import Sequence
from typing import Final

import msgspec
from aiohttp import web
from aiohttp.hdrs import USER_AGENT
from multidict import istr

from proxy.dialects.openai_responses import Call, ResponsesDialect
from proxy.dialects.openai_responses.fields import ENCRYPTED
from proxy.dialects.openai_responses.history import (
    Asked,
    items_of,
    read_asked,
    references,
    shown_item,
    stored_input,
    with_items,
    without_seals,
)
from proxy.dialects.openai_responses.sealing import Seal
from proxy.dispatch.attempt import StreamOpened, UnaryOpened
from proxy.dispatch.streams import Frames
from proxy.errors import ErrorKind, GatewayError, InvalidRequest, NotFound
from proxy.exchange import Exchange, Operation
from proxy.server.body import looked_at
from proxy.server.context import CALLER
from proxy.server.extras import json_response
from proxy.server.handlers import ClientCall
from proxy.server.query import number, word
from proxy.server.routes import OPENAI_CHAT, Access, Route
from proxy.server.stored_responses import RESPONSES, History

_ID_BYTES: Final = 16
_MANY_ITEMS_BYTES: Final = 128 * 1024
_ORIGINATOR: Final = istr("originator")
_CODEX: Final = "codex"
_PAGE_DEFAULT: Final = 20
_PAGE_MAX: Final = 100
_NO_HISTORY: Final = History((), "", 0)


class _Kept(msgspec.Struct):
    """What is stored of a response that is about to be told to its client."""

    response_id: str
    conversation: str
    previous_id: str | None
    given: bytes
    made: bytes | None = None

    def take(self, made: bytes) -> None:
        """The response is whole."""
        self.made = made


class _ResponseCall(ClientCall):
    """One response being made, or its tokens counted."""

    def __init__(self, request: web.Request, operation: Operation) -> None:
        super().__init__(request, OPENAI_CHAT, operation)
        self._stored = request.app[RESPONSES]
        self._kept: _Kept | None = None

    async def _read_body(self) -> bytes:
        """The body with all the items that its own go on from."""
        body = await super()._read_body()
        asked = await looked_at(len(body), lambda: read_asked(body))
        history = _NO_HISTORY
        if asked.previous_response_id is not None:
            history = await self._stored.history(asked.previous_response_id, self._caller.client)
        asked_items = asked.items
        items = await self._resolved(body, asked_items)
        new_bytes = len(body)
        if history.items or items is not asked_items:
            given, whole = body, [*history.items, *items]
            body = await looked_at(new_bytes + history.length_bytes, lambda: with_items(given, whole))
        call = await looked_at(
            new_bytes, lambda: self._call(asked, history, items), large_bytes=_MANY_ITEMS_BYTES
        )
        self._dialect = ResponsesDialect(call)
        return body

    async def _resolved(self, body: bytes, items: Sequence[msgspec.Raw]) -> Sequence[msgspec.Raw]:
        """The items with those in them that others only refer to. Raises NotFound."""
        found = await looked_at(len(body), lambda: references(body, items))
        if not found:
            return items
        resolved = [*items]
        for place, wanted in found.items():
            resolved[place] = await self._stored.item(wanted, self._caller.client)
        return resolved

    def _call(self, asked: Asked, history: History, items: Sequence[msgspec.Raw]) -> Call:
        response_id = f"resp_{secrets.token_hex(_ID_BYTES)}"
        if asked.store is not False and self._operation is Operation.MESSAGES:
            named = history.conversation or asked.prompt_cache_key or response_id
            given = stored_input(items, response_id)
            self._kept = _Kept(response_id, named, asked.previous_response_id, given)
        services, headers = self._services, self._request.headers
        return Call(
            response_id=response_id,
            seal=Seal(services.keys.secret_key),
            unix_s=lambda: services.clock.unix_ms() // 1000,
            stored_items=len(history.items),
            conversation=history.conversation or (self._kept.conversation if self._kept is not None else ""),
            lenient=any(headers.get(name, "").startswith(_CODEX) for name in (_ORIGINATOR, USER_AGENT)),
            keep=self._kept.take if self._kept is not None else None,
        )

    async def _unary(self, exchange: Exchange) -> web.Response:
        response = await super()._unary(exchange)
        if self._operation is Operation.COUNT_TOKENS:
            response.body = _counted(response.body)
        await self._keep()
        return response

    def _streamed(self, opened: UnaryOpened | StreamOpened) -> StreamOpened:
        opened = super()._streamed(opened)
        if self._kept is not None:
            opened.stream = _KeptFrames(opened.stream, self)
        return opened

    async def _keep(self) -> None:
        """Store the response, once it is whole."""
        kept = self._kept
        if kept is None or kept.made is None:
            return
        self._kept = None
        await self._stored.keep(
            kept.response_id,
            self._caller.client,
            kept.conversation,
            previous_id=kept.previous_id,
            given=kept.given,
            made=kept.made,
        )


class _KeptFrames:
    """The frames of a response, the last of which wait until it is stored."""

    def __init__(self, frames: Frames, call: _ResponseCall) -> None:
        self._frames = frames
        self._call = call
        self.observed = frames.observed

    @property
    def over(self) -> bool:
        """See `Frames.over`."""
        return self._frames.over

    async def frames(self, silence_s: float) -> bytes | None:
        """See `Frames.frames`."""
        found = await self._frames.frames(silence_s)
        await self._call._keep()  # noqa: SLF001 - a part of the same call
        return found


class _Tokens(msgspec.Struct):
    input_tokens: int


def _counted(body: object) -> bytes:
    """The upstream's count in the words of this API."""
    try:
        counted = msgspec.json.decode(body if isinstance(body, bytes) else b"", type=_Tokens)
    except msgspec.DecodeError:
        raise GatewayError(502, ErrorKind.API, "The upstream's count cannot be read.") from None
    return msgspec.json.encode({"object": "response.input_tokens", "input_tokens": counted.input_tokens})


async def create(request: web.Request) -> web.StreamResponse:
    """``POST /v1/responses``."""
    return await _answered(_ResponseCall(request, Operation.MESSAGES))


async def count(request: web.Request) -> web.StreamResponse:
    """``POST /v1/responses/input_tokens``."""
    return await _answered(_ResponseCall(request, Operation.COUNT_TOKENS))


async def _answered(call: _ResponseCall) -> web.StreamResponse:
    try:
        return await call.answer()
    finally:
        call.end()


async def retrieve(request: web.Request) -> web.Response:
    """``GET /v1/responses/{id}``."""
    if request.query.get("stream", "false").lower() not in {"false", "0", ""}:
        raise InvalidRequest(
            "A stored response is not streamed again.", param="stream", code="unsupported_value"
        )
    row = await request.app[RESPONSES].find(request.match_info["id"], request[CALLER].client)
    shown = row.response.encode() if _wants_seals(request) else without_seals(row.response)
    return json_response(request, msgspec.Raw(shown))


async def delete(request: web.Request) -> web.Response:
    """``DELETE /v1/responses/{id}``."""
    response_id = request.match_info["id"]
    await request.app[RESPONSES].delete(response_id, request[CALLER].client)
    return json_response(request, {"id": response_id, "object": "response", "deleted": True})


async def input_items(request: web.Request) -> web.Response:
    """``GET /v1/responses/{id}/input_items``: the items that were new with a response, the last first unless asked."""
    row = await request.app[RESPONSES].find(request.match_info["id"], request[CALLER].client)
    items = [(_id_of(raw), raw) for raw in items_of(row.input)]
    order = word(request, "order") or "desc"
    if order not in {"asc", "desc"}:
        raise InvalidRequest("order is asc or desc.", param="order", code="invalid_value")
    if order == "desc":
        items.reverse()
    limit = number(request, "limit", default=_PAGE_DEFAULT, most=_PAGE_MAX)
    start = 0
    if (after := word(request, "after")) is not None:
        start = next((place + 1 for place, (known, _) in enumerate(items) if known == after), -1)
        if start < 0:
            raise InvalidRequest("after names no item of this response.", param="after", code="invalid_value")
    page = items[start : start + limit]
    seals = _wants_seals(request)
    return json_response(
        request,
        {
            "object": "list",
            "data": [raw if seals else shown_item(raw) for _, raw in page],
            "first_id": page[0][0] if page else None,
            "last_id": page[-1][0] if page else None,
            "has_more": start + limit < len(items),
        },
    )


class _Identified(msgspec.Struct):
    id: str = ""


def _id_of(raw: msgspec.Raw) -> str:
    return msgspec.json.decode(raw, type=_Identified).id


def _wants_seals(request: web.Request) -> bool:
    query = request.query
    return ENCRYPTED in (*query.getall("include", ()), *query.getall("include[]", ()))


async def cancel(request: web.Request) -> web.Response:
    """``POST /v1/responses/{id}/cancel``: only what runs in the background could be cancelled, and nothing does."""
    await request.app[RESPONSES].find(request.match_info["id"], request[CALLER].client)
    raise InvalidRequest("Only responses in the background can be cancelled.")


async def compact(request: web.Request) -> web.Response:
    """``POST /v1/responses/compact``: not offered; programs that find it missing compact by themselves."""
    raise NotFound(f"Unknown address: {request.method} {request.path[:200]}")


def responses_routes(prefixes: tuple[str, ...]) -> tuple[Route, ...]:
    """The routes of this API, below each of the prefixes."""
    found = (
        ("POST", "/v1/responses", create),
        ("POST", "/v1/responses/input_tokens", count),
        ("POST", "/v1/responses/compact", compact),
        ("GET", "/v1/responses/{id}", retrieve),
        ("DELETE", "/v1/responses/{id}", delete),
        ("GET", "/v1/responses/{id}/input_items", input_items),
        ("POST", "/v1/responses/{id}/cancel", cancel),
    )
    return tuple(
        Route(method, path, handler, Access.CLIENT, prefixes=prefixes) for method, path, handler in found
    )
