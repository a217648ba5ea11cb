"""``/v1/conversations``: beginning, finding and forgetting those that are remembered.

The shapes are those of "Conversations" in OpenAI's API reference, as far as they go.
"""

from typing import Annotated, Final

import msgspec
from aiohttp import web

from proxy.dialects.decoding import decode_json
from proxy.dispatch.projects import demand_path
from proxy.errors import InvalidRequest, NotFound
from proxy.server.body import kept_body
from proxy.server.context import CALLER, SERVICES
from proxy.server.extras import json_response
from proxy.server.object_request import tenant_of
from proxy.server.orders import carried_out, shown
from proxy.server.query import demand_known, number, word
from proxy.server.routes import Access, Route
from proxy.store.conversations import ConversationLine, ConversationRow

_V1: Final = ("", "/hf")
_PAGE_DEFAULT: Final = 100
_PAGE_MAX: Final = 1000
_METADATA_MAX: Final = 16

_Key = Annotated[str, msgspec.Meta(max_length=64)]
_Value = Annotated[str, msgspec.Meta(max_length=512)]


class NewConversation(msgspec.Struct, kw_only=True):
    """What ``POST /v1/conversations`` takes; all of it may be left out.

    Attributes:
        model: the one of turns that name none.
        project_path: a directory below the root of projects.
        metadata: up to 16 pairs of text, which come back as they are.
    """

    model: Annotated[str, msgspec.Meta(max_length=128)] | None = None
    project_path: str | None = None
    metadata: Annotated[dict[_Key, _Value], msgspec.Meta(max_length=_METADATA_MAX)] | None = None


class ShownConversation(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation as its owner sees it; times in Unix seconds."""

    id: str
    object: str = "conversation"
    created_at: int
    updated_at: int
    message_count: int
    metadata: msgspec.Raw


class _Made(msgspec.Struct):
    id: str


async def create(request: web.Request) -> web.Response:
    """``POST /v1/conversations``. Raises GatewayError: 400, 404 where conversations are off, 503."""
    _demand_on(request)
    demand_known(request, ())
    body = await kept_body(request)
    if b'"items"' in body and "items" in decode_json(dict[str, msgspec.Raw], body):
        raise InvalidRequest("A conversation begins without items.", param="items", code="unsupported_value")
    wanted = decode_json(NewConversation, body or b"{}")
    path = demand_path(wanted.project_path or "", field="project_path")
    owner = _owner(request)
    conversations = request.app[SERVICES].conversations

    async def work(_nonce: str) -> tuple[int, bytes]:
        row = await conversations.create(
            owner,
            model=wanted.model or "",
            project_path=path,
            metadata=msgspec.json.encode(wanted.metadata or {}).decode(),
        )
        return 200, msgspec.json.encode(_Made(row.id))

    answered = await carried_out(request, work)
    # what the client keeps with it is not kept a second time with the order
    row = await conversations.found(owner, msgspec.json.decode(answered.body, type=_Made).id)
    return shown(request, answered, msgspec.json.encode(_shown(row)))


async def listed(request: web.Request) -> web.Response:
    """``GET /v1/conversations?limit=…&after=…``: the client's own, those used last first. Raises GatewayError."""
    demand_known(request, ("limit", "after"))
    limit = number(request, "limit", default=_PAGE_DEFAULT, most=_PAGE_MAX)
    lines = await request.app[SERVICES].conversations.listed(_owner(request))
    start = 0
    if (after := word(request, "after")) is not None:
        start = next((place + 1 for place, line in enumerate(lines) if line.id == after), -1)
        if start < 0:
            raise InvalidRequest("after names none of these conversations.", param="after")
    page = [_shown(line) for line in lines[start : start + limit]]
    return json_response(
        request,
        {
            "object": "list",
            "data": page,
            "conversations": [{"id": each.id, "updated_at": each.updated_at} for each in page],
            "first_id": page[0].id if page else None,
            "last_id": page[-1].id if page else None,
            "has_more": start + limit < len(lines),
        },
    )


async def retrieve(request: web.Request) -> web.Response:
    """``GET /v1/conversations/{id}``. Raises NotFound, also where it is another's, and GatewayError 503."""
    demand_known(request, ())
    found = await request.app[SERVICES].conversations.found(_owner(request), request.match_info["id"])
    return json_response(request, _shown(found))


async def delete(request: web.Request) -> web.Response:
    """``DELETE /v1/conversations/{id}``: what was said is deleted at once. Raises NotFound and GatewayError 503."""
    demand_known(request, ())
    name = request.match_info["id"]
    await request.app[SERVICES].conversations.delete(_owner(request), name)
    return json_response(request, {"id": name, "object": "conversation.deleted", "deleted": True})


def _owner(request: web.Request) -> str:
    return tenant_of(request, request[CALLER])


def _demand_on(request: web.Request) -> None:
    if request.app[SERVICES].settings.conversations.mode == "off":
        raise NotFound(
            "No conversations are remembered here: the operator has turned that off.",
            code="conversations_off",
        )


def _shown(row: ConversationRow | ConversationLine) -> ShownConversation:
    return ShownConversation(
        id=row.id,
        created_at=row.created_unix_ms // 1000,
        updated_at=row.used_unix_ms // 1000,
        message_count=row.message_count,
        metadata=msgspec.Raw(row.metadata.encode()),
    )


CONVERSATION_ROUTES: Final = (
    Route("POST", "/v1/conversations", create, Access.CLIENT, prefixes=_V1),
    Route("GET", "/v1/conversations", listed, Access.CLIENT, prefixes=_V1),
    Route("GET", "/v1/conversations/{id}", retrieve, Access.CLIENT, prefixes=_V1),
    Route("DELETE", "/v1/conversations/{id}", delete, Access.CLIENT, prefixes=_V1),
)
