"""The small endpoints: which models there are, and how the server is."""

import datetime
from typing import Final

import msgspec
from aiohttp import web

from proxy import __version__
from proxy.dialects.common import Dialect
from proxy.dispatch import answers
from proxy.errors import InvalidRequest
from proxy.model.catalog import ModelFacts
from proxy.server.context import CALLER, SERVICES, Services
from proxy.server.gate import identity_headers
from proxy.server.query import number
from proxy.server.routes import ANTHROPIC, OPENAI_CHAT, dialect_by_version
from proxy.telemetry.redaction import REDACTOR

_LATE_S: Final = 5.0
_PAGE_DEFAULT: Final = 20
_PAGE_MAX: Final = 1000
_OWNER: Final = "anthropic"
_LIFECYCLES: Final = ("active", "deprecated", "retired")
_LISTED_LIFECYCLES: Final = ("active", "deprecated")


def json_response(
    request: web.Request,
    value: object,
    *,
    status: int = 200,
    redacted: bool = False,
    dialect: Dialect = OPENAI_CHAT,
) -> web.Response:
    """A JSON answer with the headers every answer carries; never to be kept by a cache.

    `redacted` masks whatever looks like a secret in it; `dialect` is whose names for our request id it carries.
    """
    body = msgspec.json.encode(value)
    shown = REDACTOR.clean(body) if redacted else body
    return raw_json_response(request, shown, status=status, dialect=dialect)


def raw_json_response(
    request: web.Request, body: bytes, *, status: int = 200, dialect: Dialect = OPENAI_CHAT
) -> web.Response:
    """The same for a body that is JSON already."""
    services = request.app[SERVICES]
    caller = request[CALLER]
    headers = {
        **services.common_headers,
        **identity_headers(dialect, caller.request_id),
        "cache-control": "no-store",
    }
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


async def live(request: web.Request) -> web.Response:
    """``/live``: the same as ``/health``; 503 while the event loop is so late that a restart may help."""
    late = request.app[SERVICES].loop_lag.present_s > _LATE_S
    return json_response(request, _told(request, "late"), status=503) if late else await health(request)


async def health(request: web.Request) -> web.Response:
    """``/health``: the process serves. Touches nothing else.

    Where processes share a Redis, ``degraded`` tells that it could not be used when it was last asked.
    """
    return json_response(request, _told(request, "healthy"))


def _told(request: web.Request, status: str) -> dict[str, object]:
    services = request.app[SERVICES]
    told: dict[str, object] = {
        "status": status,
        "version": __version__,
        "uptime_seconds": int(services.clock.monotonic_s() - services.started_s),
        "claude_version": services.claude_code.version if services.claude_code is not None else None,
        "active_sessions": active_sessions(services),
    }
    if services.sharing is not None:
        told["degraded"] = services.sharing.degraded
    return told


def active_sessions(services: Services) -> int:
    """The live Claude Code processes, where such credentials are used; else the requests under way."""
    code = services.claude_code
    return services.pool.in_flight if code is None or code.version is None else code.processes


async def ready(request: web.Request) -> web.Response:
    """``/ready``: 200 while new requests are welcome, 503 while starting or draining.

    Where the operator wants it, 503 also while no credential can be used.
    """
    services = request.app[SERVICES]
    state = "draining" if services.inflight.draining else "ready" if services.ready else "starting"
    if (
        state == "ready"
        and services.settings.ready_needs_credential
        and not any(view.usable for view in services.pool.snapshot())
    ):
        state = "no_credential"
    return json_response(request, {"status": state}, status=200 if state == "ready" else 503)


async def models(request: web.Request) -> web.Response:
    """``GET /v1/models`` in OpenAI's shape, or Anthropic's with paging when ``anthropic-version`` is sent."""
    return models_page(request, request.app[SERVICES].dispatcher.models())


def models_page(request: web.Request, there: tuple[str, ...]) -> web.Response:
    """The same for these models."""
    services = request.app[SERVICES]
    ids = _permitted(request, there)
    if dialect_by_version(request) is ANTHROPIC:
        return json_response(request, _page(request, services, ids), dialect=ANTHROPIC)
    return json_response(request, {"object": "list", "data": [_openai_model(services, name) for name in ids]})


async def model(request: web.Request) -> web.Response:
    """``GET /v1/models/{id}``; an alias answers with its target. Raises NotFound."""
    services = request.app[SERVICES]
    wanted = request.match_info["model"]
    # the provider has aliases of its own, which are asked for as they are
    found = services.catalog.facts(services.resolve(wanted).model).id
    ids = _permitted(request, services.dispatcher.models())
    if found not in ids:
        raise answers.no_such_model(wanted, ids)
    if dialect_by_version(request) is ANTHROPIC:
        return json_response(request, _anthropic_model(services, found), dialect=ANTHROPIC)
    return json_response(request, _openai_model(services, found))


def _permitted(request: web.Request, ids: tuple[str, ...]) -> tuple[str, ...]:
    """Those the caller may ask for."""
    rules = request[CALLER].rules
    return ids if rules is None else tuple(name for name in ids if rules.permits(name))


def _page(request: web.Request, services: Services, ids: tuple[str, ...]) -> dict[str, object]:
    """One page of Anthropic's list. Source: the models page of Anthropic's API documentation."""
    query = request.query
    wanted = query.getall("lifecycle", _LISTED_LIFECYCLES)
    if not set(wanted) <= set(_LIFECYCLES):
        raise InvalidRequest(f"lifecycle must be one of {', '.join(_LIFECYCLES)}.", param="lifecycle")
    ids = tuple(name for name in ids if _lifecycle(services.catalog.facts(name)) in wanted)
    limit = number(request, "limit", default=_PAGE_DEFAULT, most=_PAGE_MAX)
    start, stop = 0, len(ids)
    if (after := query.get("after_id")) is not None:
        start = _position(ids, after, "after_id") + 1
    if (before := query.get("before_id")) is not None:
        stop = _position(ids, before, "before_id")
        start = max(start, stop - limit)
    page = ids[start : min(stop, start + limit)]
    return {
        "data": [_anthropic_model(services, name) for name in page],
        "first_id": page[0] if page else None,
        "last_id": page[-1] if page else None,
        "has_more": start + len(page) < stop if "before_id" not in query else start > 0,
    }


def _position(ids: tuple[str, ...], wanted: str, field: str) -> int:
    try:
        return ids.index(wanted)
    except ValueError:
        raise InvalidRequest(f"{field} names no model of this list.", param=field) from None


def _listed_at(services: Services) -> datetime.datetime:
    """The provider tells no date of creation without being asked; the day of the catalog stands in for it."""
    return datetime.datetime.combine(services.catalog.as_of, datetime.time(), datetime.UTC)


def _display_name(name: str) -> str:
    """``Claude Opus 5.5`` for ``claude-opus-5-5``."""
    words = [word for word in name.split("-") if not (word.isdigit() and len(word) == 8)]
    numbers = [word for word in words if word.isdigit()]
    return " ".join([*(word.capitalize() for word in words if not word.isdigit()), ".".join(numbers)]).strip()


def _lifecycle(facts: ModelFacts) -> str:
    return "deprecated" if facts.retires_at is not None or facts.status == "deprecated" else "active"


def _openai_model(services: Services, name: str) -> dict[str, object]:
    return {
        "id": name,
        "object": "model",
        "created": int(_listed_at(services).timestamp()),
        "owned_by": _OWNER,
    }


def _anthropic_model(services: Services, name: str) -> dict[str, object]:
    facts = services.catalog.facts(name)
    retires = facts.retires_at
    return {
        "type": "model",
        "id": name,
        "display_name": _display_name(name),
        "created_at": _listed_at(services).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "lifecycle": _lifecycle(facts),
        "line": facts.family,
        "max_input_tokens": facts.context_tokens,
        "max_tokens": facts.max_output_tokens,
        "deprecated_at": None,
        "retires_at": None if retires is None else f"{retires.isoformat()}T00:00:00Z",
        "capabilities": None,
    }
