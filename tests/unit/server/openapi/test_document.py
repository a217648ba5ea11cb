"""The description has every route and nothing else, and what it refers to is there."""

import re
from collections.abc import Iterator
from typing import Final

import msgspec
import pytest
from aiohttp.test_utils import TestClient, TestServer

from proxy.server.app import ROUTES
from proxy.server.openapi import OPENAPI, Description
from proxy.server.openapi.document import OPERATIONS, document
from proxy.server.openapi.examples import EXAMPLES
from proxy.server.routes import Access, Route
from tests.unit.server.building import ADMINISTRATOR, AUTHORIZED, application, services

Json = dict[str, object]


class Described(msgspec.Struct):
    """One operation, as far as tests read it."""

    operationId: str  # noqa: N815 - the specification's own spelling
    summary: str
    tags: list[str]
    parameters: list[Json]
    responses: dict[str, Json]
    security: list[dict[str, list[str]]]
    requestBody: Json | None = None  # noqa: N815 - the specification's own spelling


class Document(msgspec.Struct):
    """The description, as far as tests read it."""

    openapi: str
    paths: dict[str, dict[str, msgspec.Raw]]
    components: dict[str, dict[str, Json]]

    def operation(self, route: Route) -> Described:
        """What is said about a route."""
        return msgspec.json.decode(self.paths[route.path][route.method.lower()], type=Described)


BODY: Final = Description(ROUTES).body
FOUND: Final = msgspec.json.decode(BODY, type=Document)
by_route = pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")


def _references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "$ref":
                yield str(inner)
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def test_every_route_is_described_and_every_described_route_exists() -> None:
    """Protects the description from being forgotten where a route is added, moved or taken away."""
    described = {
        (method.upper(), path) for path, item in FOUND.paths.items() for method in {*item} - {"servers"}
    }
    assert described == {(route.method, route.path) for route in ROUTES} == OPERATIONS.keys()


@by_route
def test_a_route_is_described_as_it_is(route: Route) -> None:
    """Protects what follows from the route itself: its parameters, its key, its envelope, and where else it lives."""
    found = FOUND.operation(route)
    named = {one["name"] for one in found.parameters if one["in"] == "path"}
    assert named == set(re.findall(r"\{(\w+)\}", route.path))
    admin = [scheme for each in found.security for scheme in each if scheme == "adminKey"]
    assert bool(admin) is (route.access in {Access.ADMIN, Access.EITHER, Access.PAGE})
    assert bool(found.security) is (route.access is not Access.PUBLIC)
    assert ({} in found.security) is (route.access is Access.PAGE)
    keyed = route.access is not Access.PUBLIC or 401 in OPERATIONS[route.method, route.path].statuses
    assert ("401" in found.responses) is keyed
    servers = msgspec.json.decode(FOUND.paths[route.path]["servers"], type=list[dict[str, str]])
    assert [each["url"] for each in servers] == [prefix or "/" for prefix in route.prefixes]
    envelope = "MessagesError" if route.dialect.name == "anthropic" else "ErrorEnvelope"
    assert f"#/components/schemas/{envelope}" in set(_references(found.responses["500"]))


def test_all_it_refers_to_is_there_and_names_are_unique() -> None:
    """Protects generators of clients, which end at the first hole and name functions by these ids."""
    whole = msgspec.json.decode(BODY)
    schemas = {f"#/components/schemas/{name}" for name in FOUND.components["schemas"]}
    assert set(_references(whole)) <= schemas
    ids = [FOUND.operation(route).operationId for route in ROUTES]
    assert len(set(ids)) == len(ids)
    assert FOUND.openapi == "3.1.1"


def test_nothing_in_it_tells_of_the_inside() -> None:
    """Protects readers from names of modules and markup of ours, which mean nothing outside."""
    assert b"proxy." not in BODY
    assert b"Attributes:" not in BODY
    schemas = FOUND.components["schemas"]
    assert not [name for name in schemas if name.startswith("_")]
    member = schemas["MemberView"]
    assert member["description"] == "One credential."
    assert isinstance(member["properties"], dict)
    assert member["properties"]["weight"]["description"] == "its place in the order."


def test_types_of_one_name_are_told_apart_by_their_rooms() -> None:
    """Protects the tools of one API from being described as those of the other."""
    assert {"openai_chat.NamedChoice", "openai_responses.NamedChoice"} <= FOUND.components["schemas"].keys()


@pytest.mark.parametrize("kind", EXAMPLES, ids=lambda kind: kind.__name__)
def test_an_example_is_what_it_is_an_example_of(kind: type) -> None:
    """Protects whoever pastes it."""
    example = EXAMPLES[kind]
    msgspec.json.decode(msgspec.json.encode(example), type=kind)


def test_patterns_are_those_of_json_schema() -> None:
    """Protects generated code from Python's own word for the end of a text, which ECMA-262 does not know."""
    patterns = re.findall(rb'"pattern":"([^"]*)"', BODY)
    assert rb"^[A-Za-z0-9._-]{1,64}$" in patterns
    assert not [one for one in patterns if rb"\\Z" in one or rb"\\A" in one]


def test_a_route_that_nobody_described_is_noticed() -> None:
    """Protects the description from holes: there is no entry that fits all."""
    with pytest.raises(KeyError):
        document([Route("GET", "/elsewhere", ROUTES[0].handler, Access.CLIENT)])


async def test_a_client_key_or_the_admin_key_opens_it() -> None:
    """Protects what the server offers from whoever has no key."""
    app = application(services(), ROUTES)
    app[OPENAPI] = Description(ROUTES)
    async with TestClient(TestServer(app)) as asked:
        for headers in (AUTHORIZED, ADMINISTRATOR):
            answer = await asked.get("/openapi.json", headers=headers)
            assert answer.status == 200
            assert answer.content_type == "application/json"
            assert await answer.read() == BODY
        assert (await asked.get("/openapi.json")).status == 401
