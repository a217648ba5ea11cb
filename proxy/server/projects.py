"""``/v1/projects`` and ``/v1/sessions``: where clients work, and what requests that belong together used."""

import datetime as dt
from typing import Annotated, Final

import msgspec
from aiohttp import web

from proxy.dialects.decoding import decode_json
from proxy.dispatch.projects import demand_path
from proxy.server.body import kept_body
from proxy.server.context import CALLER, SERVICES
from proxy.server.extras import json_response
from proxy.server.object_request import tenant_of
from proxy.server.orders import carried_out, shown
from proxy.server.query import demand_known, number, word
from proxy.server.routes import Access, Handler, Route
from proxy.store.conversations import Page, ProjectRow, SessionRow

_V1: Final = ("", "/hf")
_PAGES_MAX: Final = 1_000_000
_PER_PAGE: Final = 20
_PER_PAGE_MAX: Final = 100
_MICRO: Final = 1_000_000

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
_Text = Annotated[str, msgspec.Meta(max_length=1000)]


class NewProject(msgspec.Struct, kw_only=True):
    """What ``POST /v1/projects`` takes.

    Attributes:
        name: what the client calls it.
        description: what it says of it.
        path: a directory below the client's own folder; one made of the name where it is left out.
    """

    name: _Name
    description: _Text | None = None
    path: str | None = None


class NewSession(msgspec.Struct, kw_only=True):
    """What ``POST /v1/sessions`` takes; all of it may be left out.

    Attributes:
        project_id: a project of the client's.
        title: what the client calls it.
        model: the model it is about.
        system_prompt: the instructions it is about.
    """

    project_id: _Name | None = None
    title: _Text | None = None
    model: _Name | None = None
    system_prompt: Annotated[str, msgspec.Meta(max_length=100_000)] | None = None


class ShownProject(msgspec.Struct, frozen=True, kw_only=True):
    """A project as its owner sees it."""

    id: str
    name: str
    description: str
    path: str
    created_at: dt.datetime
    updated_at: dt.datetime
    is_active: bool = True


class ShownSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session as its owner sees it; the cost in US dollars, of answers whose cost is known."""

    id: str
    project_id: str | None
    title: str | None
    model: str | None
    system_prompt: str | None
    created_at: dt.datetime
    updated_at: dt.datetime
    is_active: bool
    total_tokens: int
    total_cost: float
    message_count: int


class _Made(msgspec.Struct):
    id: str


async def create_project(request: web.Request) -> web.Response:
    """``POST /v1/projects``. Raises GatewayError: 400, 409 where the path is taken, 503."""
    demand_known(request, ())
    wanted = decode_json(NewProject, await kept_body(request))
    path = demand_path(wanted.path or "", field="path")
    owner, projects = _owner(request), request.app[SERVICES].projects

    async def work(_nonce: str) -> tuple[int, bytes]:
        row = await projects.create_project(owner, wanted.name, wanted.description or "", path)
        return 201, msgspec.json.encode(_Made(row.id))

    answered = await carried_out(request, work)
    row = await projects.project(owner, msgspec.json.decode(answered.body, type=_Made).id)
    return shown(request, answered, msgspec.json.encode(_shown_project(row)))


async def list_projects(request: web.Request) -> web.Response:
    """``GET /v1/projects?page=…&per_page=…``: the client's own, those made last first. Raises GatewayError."""
    demand_known(request, ("page", "per_page"))
    page = _page(request)
    rows, total = await request.app[SERVICES].projects.projects(_owner(request), page)
    return _paged(request, [_shown_project(row) for row in rows], page, total)


async def get_project(request: web.Request) -> web.Response:
    """``GET /v1/projects/{id}``. Raises NotFound, also where it is another's, and GatewayError 503."""
    demand_known(request, ())
    row = await request.app[SERVICES].projects.project(_owner(request), request.match_info["id"])
    return json_response(request, _shown_project(row))


async def delete_project(request: web.Request) -> web.Response:
    """``DELETE /v1/projects/{id}``: its folder and what is in it stay. Raises NotFound and GatewayError 503."""
    demand_known(request, ())
    project_id = request.match_info["id"]
    await request.app[SERVICES].projects.delete_project(_owner(request), project_id)
    return json_response(request, {"id": project_id, "object": "project.deleted", "deleted": True})


async def create_session(request: web.Request) -> web.Response:
    """``POST /v1/sessions``. Raises GatewayError: 400, 404 for a project that is not the client's, 503."""
    demand_known(request, ())
    wanted = decode_json(NewSession, await kept_body(request) or b"{}")
    owner, projects = _owner(request), request.app[SERVICES].projects

    async def work(_nonce: str) -> tuple[int, bytes]:
        row = await projects.create_session(
            owner,
            project_id=wanted.project_id,
            title=wanted.title,
            model=wanted.model,
            system_prompt=wanted.system_prompt,
        )
        return 201, msgspec.json.encode(_Made(row.id))

    answered = await carried_out(request, work)
    # instructions rest with the session alone, not with the order too
    row = await projects.session(owner, msgspec.json.decode(answered.body, type=_Made).id)
    return shown(request, answered, msgspec.json.encode(_shown_session(request, row)))


async def list_sessions(request: web.Request) -> web.Response:
    """``GET /v1/sessions?page=…&per_page=…&project_id=…``: those used last first. Raises GatewayError."""
    demand_known(request, ("page", "per_page", "project_id"))
    page = _page(request)
    projects = request.app[SERVICES].projects
    rows, total = await projects.sessions(_owner(request), page, word(request, "project_id"))
    return _paged(request, [_shown_session(request, row) for row in rows], page, total)


async def session_stats(request: web.Request) -> web.Response:
    """``GET /v1/sessions/stats``: all of the client's sessions together. Raises GatewayError 503."""
    demand_known(request, ())
    sums = await request.app[SERVICES].projects.sums(_owner(request))
    return json_response(
        request,
        {
            "total_sessions": sums.sessions,
            "active_sessions": sums.active,
            "total_messages": sums.messages,
            "total_tokens": sums.tokens,
            "total_cost": sums.micro_usd / _MICRO,
            "models_in_use": sums.models,
        },
    )


async def get_session(request: web.Request) -> web.Response:
    """``GET /v1/sessions/{id}``. Raises NotFound, also where it is another's, and GatewayError 503."""
    demand_known(request, ())
    row = await request.app[SERVICES].projects.session(_owner(request), request.match_info["id"])
    return json_response(request, _shown_session(request, row))


async def delete_session(request: web.Request) -> web.Response:
    """``DELETE /v1/sessions/{id}``. Raises NotFound and GatewayError 503."""
    demand_known(request, ())
    session_id = request.match_info["id"]
    await request.app[SERVICES].projects.delete_session(_owner(request), session_id)
    return json_response(request, {"id": session_id, "object": "session.deleted", "deleted": True})


def _owner(request: web.Request) -> str:
    return tenant_of(request, request[CALLER])


def _page(request: web.Request) -> Page:
    """The part of a list that is asked for, pages counted from 1. Raises InvalidRequest."""
    number_of_page = number(request, "page", default=1, most=_PAGES_MAX)
    most = number(request, "per_page", default=_PER_PAGE, most=_PER_PAGE_MAX)
    return Page(skip=(number_of_page - 1) * most, most=most)


def _paged(
    request: web.Request, data: list[ShownProject] | list[ShownSession], page: Page, total: int
) -> web.Response:
    pages = -(-total // page.most)
    number_of_page = page.skip // page.most + 1
    pagination = {
        "page": number_of_page,
        "per_page": page.most,
        "total_items": total,
        "total_pages": pages,
        "has_next": number_of_page < pages,
        "has_prev": number_of_page > 1,
    }
    return json_response(request, {"data": data, "pagination": pagination})


def _shown_project(row: ProjectRow) -> ShownProject:
    return ShownProject(
        id=row.id,
        name=row.name,
        description=row.description,
        path=row.path,
        created_at=_moment(row.created_unix_ms),
        updated_at=_moment(row.updated_unix_ms),
    )


def _shown_session(request: web.Request, row: SessionRow) -> ShownSession:
    return ShownSession(
        id=row.id,
        project_id=row.project_id,
        title=row.title,
        model=row.model,
        system_prompt=row.system_prompt,
        created_at=_moment(row.created_unix_ms),
        updated_at=_moment(row.updated_unix_ms),
        is_active=request.app[SERVICES].projects.is_active(row),
        total_tokens=row.tokens,
        total_cost=row.micro_usd / _MICRO,
        message_count=row.messages,
    )


def _moment(unix_ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(unix_ms / 1000, dt.UTC)


def _route(method: str, path: str, handler: Handler) -> Route:
    return Route(method, path, handler, Access.CLIENT, prefixes=_V1)


PROJECT_ROUTES: Final = (
    _route("POST", "/v1/projects", create_project),
    _route("GET", "/v1/projects", list_projects),
    _route("GET", "/v1/projects/{id}", get_project),
    _route("DELETE", "/v1/projects/{id}", delete_project),
    _route("POST", "/v1/sessions", create_session),
    _route("GET", "/v1/sessions", list_sessions),
    # before the ids, none of which it is
    _route("GET", "/v1/sessions/stats", session_stats),
    _route("GET", "/v1/sessions/{id}", get_session),
    _route("DELETE", "/v1/sessions/{id}", delete_session),
)
