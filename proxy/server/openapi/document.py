"""``GET /openapi.json``: all endpoints, as programs read of them.

Source: the OpenAPI Specification, version 3.1.1, whose schemas are those of JSON Schema 2020-12.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from inspect import cleandoc
from typing import Final

import msgspec
from aiohttp import web

from proxy import __version__
from proxy.dialects.anthropic.client import MessagesError
from proxy.dialects.openai_chat.errors import ErrorEnvelope
from proxy.server.extras import raw_json_response
from proxy.server.openapi.administration import ADMINISTRATION
from proxy.server.openapi.dashboard import DASHBOARD
from proxy.server.openapi.examples import EXAMPLES
from proxy.server.openapi.operation import JSON, Bodies, Operation, Raw
from proxy.server.openapi.operations import CLIENTS
from proxy.server.openapi.remembered import REMEMBERED
from proxy.server.openapi.statuses import MEANINGS, statuses_of
from proxy.server.routes import ANTHROPIC, Access, Route

OPERATIONS: Final[Mapping[tuple[str, str], Operation]] = {
    **CLIENTS,
    **REMEMBERED,
    **ADMINISTRATION,
    **DASHBOARD,
}
"""Everything there is to say, by method and path."""

_REF: Final = "#/components/schemas/{name}"
_IN_PATH: Final = re.compile(r"\{(\w+)\}")
_QUALIFIED: Final = re.compile(r"proxy\.(?:dialects\.)?(?P<room>\w+)\.(?:\w+\.)*(?P<name>\w+)")
_ATTRIBUTE: Final = re.compile(r"^ {4}(?P<names>\w[\w, ]*): (?P<about>.*(?:\n {8,}.*)*)", re.MULTILINE)
_CLIENT_SCHEMES: Final = {
    "clientKey": {"type": "http", "scheme": "bearer", "description": "A client key."},
    "clientKeyOfAnthropic": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    "clientKeyOfAzure": {"type": "apiKey", "in": "header", "name": "api-key"},
}
_ADMIN_SCHEMES: Final = {
    "adminKey": {"type": "http", "scheme": "bearer", "description": "The admin key."},
}
_CLIENT_KEY: Final = tuple((scheme,) for scheme in _CLIENT_SCHEMES)
_ADMIN_KEY: Final = tuple((scheme,) for scheme in _ADMIN_SCHEMES)
_NO_KEY: Final = ()
_SCHEMES: Final[Mapping[Access, tuple[tuple[str, ...], ...]]] = {
    Access.PUBLIC: (),
    Access.CLIENT: _CLIENT_KEY,
    Access.ADMIN: _ADMIN_KEY,
    Access.EITHER: (*_CLIENT_KEY, *_ADMIN_KEY),
    Access.PAGE: (_NO_KEY, *_ADMIN_KEY),
}
"""What opens a route: one of these, each of which is all of its schemes."""
_ABOUT: Final = (
    "One endpoint in front of a pool of Claude credentials. Every route that GET opens answers HEAD too. "
    "Fields and parameters that stand here are those that have a meaning; what becomes of others is told in "
    "the header x-carousel-dropped."
)

Fields = dict[str, object]


class Description:
    """The description of these routes, made when it is first asked for."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = routes
        self._body: bytes | None = None

    @property
    def body(self) -> bytes:
        """As it is sent."""
        if self._body is None:
            self._body = msgspec.json.encode(document(self._routes))
        return self._body


OPENAPI: web.AppKey[Description] = web.AppKey("openapi", Description)


async def openapi(request: web.Request) -> web.Response:
    """``GET /openapi.json``."""
    return raw_json_response(request, request.app[OPENAPI].body)


def document(routes: Iterable[Route]) -> Fields:
    """The description of some routes. Raises KeyError for one that has no entry."""
    paths: dict[str, Fields] = {}
    described = [(route, OPERATIONS[route.method, route.path]) for route in routes]
    schemas, components = _schemas(operation for _, operation in described)
    for route, operation in described:
        item = paths.setdefault(
            route.path, {"servers": [{"url": prefix or "/"} for prefix in route.prefixes]}
        )
        item[route.method.lower()] = _operation(route, operation, schemas)
    return {
        "openapi": "3.1.1",
        "info": {"title": "Carousel", "version": __version__, "description": _ABOUT},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {**_CLIENT_SCHEMES, **_ADMIN_SCHEMES},
        },
    }


def _operation(route: Route, operation: Operation, schemas: Mapping[type, Fields]) -> Fields:
    named: list[Fields] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _IN_PATH.findall(route.path)
    ]
    further: list[Fields] = [
        {"name": one.name, "in": one.place, "description": one.about, "schema": one.schema}
        for one in operation.parameters
    ]
    fields: Fields = {
        "operationId": _id_of(route),
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": named + further,
        "responses": _responses(route, operation, schemas),
        "security": [{scheme: [] for scheme in each} for each in _SCHEMES[route.access]],
    }
    if operation.body:
        content = _content(operation.body, schemas)
        for media, kind in operation.body.items():
            if kind in EXAMPLES:
                content[media] = {**content[media], "example": EXAMPLES[kind]}
        fields["requestBody"] = {"required": True, "content": content}
    return fields


def _id_of(route: Route) -> str:
    """A name for people's own code: ``post_v1_responses_id_cancel``."""
    return "_".join([route.method.lower(), *re.findall(r"\w+", route.path)])


def _responses(route: Route, operation: Operation, schemas: Mapping[type, Fields]) -> Fields:
    found: Fields = {}
    answer = _content(operation.answer, schemas)
    if answer:
        for status in (operation.success, *operation.also):
            found[str(status)] = {"description": "Done." if status < 400 else "Not now.", "content": answer}
    for status in operation.empty:
        found[str(status)] = {"description": MEANINGS[status]}
    kinds: list[type] = [MessagesError] if route.dialect is ANTHROPIC else [ErrorEnvelope]
    if route.by_version:
        kinds = [ErrorEnvelope, MessagesError]
    error = _content({JSON: tuple(kinds)}, schemas)
    for status in sorted(statuses_of(route, operation.statuses)):
        found.setdefault(str(status), {"description": MEANINGS[status], "content": error})
    return found


def _content(bodies: Bodies, schemas: Mapping[type, Fields]) -> dict[str, Fields]:
    return {
        media: {} if kinds is Raw else {"schema": _one_of(_kinds(kinds), schemas)}
        for media, kinds in bodies.items()
    }


def _kinds(kinds: type | tuple[type, ...]) -> tuple[type, ...]:
    return kinds if isinstance(kinds, tuple) else (kinds,)


def _one_of(kinds: tuple[type, ...], schemas: Mapping[type, Fields]) -> Fields:
    shown = [schemas[kind] for kind in kinds]
    return shown[0] if len(shown) == 1 else {"anyOf": shown}


def _schemas(operations: Iterable[Operation]) -> tuple[dict[type, Fields], Fields]:
    """The schema of each type that is described, and those it refers to, by name."""
    kinds: dict[type, None] = {ErrorEnvelope: None, MessagesError: None}
    for operation in operations:
        for each in (*operation.answer.values(), *operation.body.values()):
            kinds.update(dict.fromkeys(_kinds(each)))
    kinds.pop(Raw, None)
    found, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    # Python's word for the end of a text is none of ECMA-262, whose patterns JSON Schema has
    encoded = msgspec.json.encode((found, components)).decode().replace(r'\\Z"', '$"')
    # types of one name in several rooms are told apart by their rooms, and by no more
    shown = msgspec.json.decode(_QUALIFIED.sub(_short, encoded), type=tuple[list[Fields], dict[str, Fields]])
    for component in shown[1].values():
        _explain(component)
    return dict(zip(kinds, shown[0], strict=True)), dict(shown[1])


def _short(found: re.Match[str]) -> str:
    return f"{found['room']}.{found['name']}"


def _explain(component: Fields) -> None:
    """Give each field the words that its type's description has for it."""
    text, _, attributes = cleandoc(str(component.get("description", ""))).partition("\n\nAttributes:\n")
    if not text:
        return
    component["description"] = text
    properties = component.get("properties")
    if not isinstance(properties, dict):
        return
    for found in _ATTRIBUTE.finditer(attributes):
        about = " ".join(found["about"].split())
        for name in found["names"].split(", "):
            if isinstance(field := properties.get(name), dict):
                field["description"] = about
