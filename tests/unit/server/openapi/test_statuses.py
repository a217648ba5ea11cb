"""Every status a route can answer with is described: those its code raises, and those an upstream brings about."""

from collections.abc import Iterator
from typing import Final

import pytest

from proxy.credentials import Kind
from proxy.dispatch import answers
from proxy.errors import GatewayError
from proxy.pool import Exhausted, ExhaustedReason
from proxy.pool.failure import Failure, Fault, UpstreamError, about_object, classify, classify_fault
from proxy.server.app import ROUTES
from proxy.server.openapi.document import OPERATIONS
from proxy.server.openapi.statuses import ALWAYS, KEYED, MEANINGS, MODEL, OBJECT, statuses_of
from proxy.server.routes import ANTHROPIC, OPENAI_CHAT, Access, Route
from tests.unit.server.openapi.raising import raised_by

# methods of other things that are called alike; and what is raised for other files and methods than a route's own
MISREAD: Final[dict[str, set[int]]] = {
    "explain": {404, 503},
    "traced_request": {503},
    "page": {404},
    "login_page": {404},
    "config": {403},
    "events": {403},
}
TYPES: Final = ("", "invalid_request_error", "not_found_error", "request_too_large", "api_error")
CODES: Final = (None, "file_not_found", "model_not_found", "organization_on_hold")
MESSAGES: Final = ("", "model: none", "Your credit balance is too low", "prompt is too long")


def _name(route: Route) -> str:
    name = route.handler.__qualname__.partition(".")[0]
    return "_answered" if name in {"create", "count"} else name


def _described(route: Route) -> frozenset[int]:
    keyed = frozenset[int]() if route.access is Access.PUBLIC else KEYED
    return OPERATIONS[route.method, route.path].statuses | ALWAYS | keyed


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_what_the_code_behind_a_route_raises_is_described(route: Route) -> None:
    """Protects clients that were generated: an error whose status they were not told of is no error they expect."""
    raised = raised_by(route.handler)
    assert raised - _described(route) <= MISREAD.get(_name(route), set())


def test_the_code_is_read_as_deep_as_its_errors_lie() -> None:
    """Protects the test above from reading nothing: errors of helpers, of classes, and of made-to-order handlers."""
    found = {(route.method, route.path): raised_by(route.handler) for route in ROUTES}
    assert {400, 402, 403, 404, 408, 413, 429, 503} <= found["POST", "/v1/messages"]
    assert {402, 403, 408, 413, 502, 503} <= found["POST", "/v1/messages/batches"]
    assert found["POST", "/admin/pool/{alias}/enable"] >= {400, 404, 409, 503}
    assert found["GET", "/v1/responses/{id}"] == {400, 404, 503}
    assert found["GET", "/health"] == set()


def test_nothing_is_misread_any_more_that_is_not() -> None:
    """Protects the list of what is misread from hiding what is raised later."""
    needed: dict[str, set[int]] = {}
    for route in ROUTES:
        beyond = raised_by(route.handler) - _described(route)
        if beyond:
            needed.setdefault(_name(route), set()).update(beyond)
    assert needed == MISREAD


def _upstream_failures() -> Iterator[Failure]:
    """What an upstream's answers of all statuses mean, and all faults."""
    for status in range(300, 600):
        for kind in Kind:
            for type_ in TYPES:
                for code in CODES:
                    for message in MESSAGES:
                        error = UpstreamError(
                            status=status, type=type_, message=message, code=code, headers={}, kind=kind
                        )
                        yield classify(error, now_unix_ms=0)
    yield from map(classify_fault, Fault)


def _told(failure: Failure) -> Iterator[GatewayError]:
    """What clients are told when it ends a walk, however the pool stands."""
    yield answers.failed(failure, model="m")
    for reason in ExhaustedReason:
        says = Exhausted(reason, retry_after_s=3.0)
        for last in (None, failure):
            yield answers.exhausted(says, last, model="m", available=())


def test_whatever_an_upstream_answers_is_described() -> None:
    """Protects clients from a status that an upstream's answer became and that stands nowhere."""
    found = {error.status for failure in set(_upstream_failures()) for error in _told(failure)}
    assert found <= MODEL | ALWAYS | KEYED
    assert found >= {400, 403, 404, 413, 422, 429, 502, 503, 504, 529}


def test_whatever_a_holder_of_objects_answers_is_described() -> None:
    """Protects the same for files and batches, where a conflict is the client's own matter."""
    failures = {about_object(failure) for failure in _upstream_failures()}
    found = {answers.owner_failed(failure).status for failure in failures}
    found |= {
        answers.owner_out(Exhausted(reason, retry_after_s=3.0), failure, model="m").status
        for reason in ExhaustedReason
        for failure in (None, *failures)
    }
    assert found <= OBJECT | ALWAYS | KEYED
    assert 409 in found


def test_each_dialects_clients_read_the_statuses_they_know() -> None:
    """Protects OpenAI's clients from 402 and 529, which mean nothing to them, and Anthropic's from losing them."""
    of = {route.dialect.name: statuses_of(route, MODEL) for route in ROUTES}
    assert not {402, 529} & of[OPENAI_CHAT.name]
    assert {402, 529} <= of[ANTHROPIC.name]


def test_every_status_has_words() -> None:
    """Protects the description from a status that says nothing."""
    rendered = {status for route in ROUTES for status in statuses_of(route, _described(route))}
    assert rendered <= MEANINGS.keys()
    assert MEANINGS.keys() >= MODEL | OBJECT | ALWAYS | KEYED
