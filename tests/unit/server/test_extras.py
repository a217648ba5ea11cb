"""The small endpoints: models in both shapes with paging, and how the server is."""

import asyncio
import datetime
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from anthropic.types import ModelInfo

from proxy.model.aliases import AliasRules
from proxy.model.names import ModelNames
from proxy.server.app import ROUTES
from proxy.server.context import Services
from tests.unit.dispatch.building import CATALOG, bench, credential
from tests.unit.server.building import (
    ADMINISTRATOR,
    AUTHORIZED,
    DEFAULT_SETTINGS,
    Client,
    client,
    services,
)

_NATIVE = {**AUTHORIZED, "anthropic-version": "2023-06-01"}
_IDS = CATALOG.known_ids(datetime.date(2026, 11, 20))


@pytest.fixture
def shared() -> Services:
    """What handlers share, on a day on which the tests' models are there."""
    found = services()
    found.clock.wall_ms = 1_795_000_000_000  # type: ignore[attr-defined]  # it is the tests' own clock
    return found


@pytest.fixture
async def asked(shared: Services) -> AsyncIterator[Client]:
    """A client of all routes."""
    async with client(shared, ROUTES) as found:
        yield found


async def _json(asked: Client, path: str, headers: dict[str, str]) -> dict[str, object]:
    answer = await asked.get(path, headers=headers)
    assert answer.status == 200, await answer.text()
    assert answer.headers["cache-control"] == "no-store"
    found: dict[str, object] = await answer.json()
    return found


def _page_ids(page: dict[str, object]) -> list[str]:
    assert isinstance(page["data"], list)
    return [item["id"] for item in page["data"]]


async def test_models_come_in_openais_shape(asked: Client) -> None:
    """Protects OpenAI's clients, which fill their menus with these."""
    page = await _json(asked, "/v1/models", AUTHORIZED)
    assert set(page) == {"object", "data"}
    assert _page_ids(page) == list(_IDS)
    assert isinstance(page["data"], list)
    assert set(page["data"][0]) == {"id", "object", "created", "owned_by"}


async def test_models_come_in_anthropics_shape_when_its_version_is_sent(asked: Client) -> None:
    """Protects Anthropic's clients; source: the models page of Anthropic's API documentation."""
    page = await _json(asked, "/v1/models?limit=1000", _NATIVE)
    assert set(page) == {"data", "first_id", "last_id", "has_more"}
    assert _page_ids(page) == list(_IDS)
    assert (page["first_id"], page["last_id"], page["has_more"]) == (_IDS[0], _IDS[-1], False)
    assert isinstance(page["data"], list)
    assert {"type", "id", "display_name", "created_at"} <= set(page["data"][0])


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_paging_forward_gives_each_model_once(asked: Client, limit: int) -> None:
    """Protects clients that page from missing a model, or seeing one twice."""
    found: list[str] = []
    query = f"limit={limit}"
    for _ in range(len(_IDS) + 1):
        page = await _json(asked, f"/v1/models?{query}", _NATIVE)
        found += _page_ids(page)
        if not page["has_more"]:
            break
        query = f"limit={limit}&after_id={page['last_id']}"
    assert found == list(_IDS)


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_paging_backward_gives_each_model_once(asked: Client, limit: int) -> None:
    """Protects clients that page from the end."""
    found: list[str] = []
    query = f"limit={limit}&before_id={_IDS[-1]}"
    for _ in range(len(_IDS) + 1):
        page = await _json(asked, f"/v1/models?{query}", _NATIVE)
        found = _page_ids(page) + found
        if not page["has_more"]:
            break
        query = f"limit={limit}&before_id={page['first_id']}"
    assert found == list(_IDS[:-1])


async def test_a_page_beyond_the_end_is_empty(asked: Client) -> None:
    """Protects clients that ask once more than there is."""
    page = await _json(asked, f"/v1/models?after_id={_IDS[-1]}", _NATIVE)
    assert (page["data"], page["first_id"], page["last_id"], page["has_more"]) == ([], None, None, False)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=-1", "limit"),
        ("limit=x", "limit"),
        ("limit=", "limit"),
        ("limit=1e2", "limit"),
        ("limit=%D9%A1", "limit"),
        ("limit=99999999999999999999", "limit"),
        ("after_id=nobody", "after_id"),
        ("before_id=nobody", "before_id"),
        ("after_id=", "after_id"),
        ("lifecycle=young", "lifecycle"),
        ("lifecycle=active&lifecycle=", "lifecycle"),
    ],
)
async def test_a_wrong_page_is_refused_by_name(asked: Client, query: str, field: str) -> None:
    """Protects clients from a page they did not ask for, and those of Anthropic's SDK from another's envelope."""
    answer = await asked.get(f"/v1/models?{query}", headers=_NATIVE)
    assert answer.status == 400
    assert answer.headers["request-id"] == answer.headers["x-request-id"]
    envelope = await answer.json()
    assert (envelope["type"], envelope["error"]["type"]) == ("error", "invalid_request_error")
    assert field in envelope["error"]["message"]


@pytest.mark.parametrize(
    ("query", "lifecycles"),
    [
        ("", {"active", "deprecated"}),
        ("&lifecycle=active", {"active"}),
        ("&lifecycle=deprecated", {"deprecated"}),
        ("&lifecycle=active&lifecycle=deprecated", {"active", "deprecated"}),
        ("&lifecycle=retired", set()),
    ],
)
async def test_models_are_listed_by_their_lifecycle(asked: Client, query: str, lifecycles: set[str]) -> None:
    """Protects menus that leave out what is about to go; what has gone is never listed, as nobody serves it."""
    page = await _json(asked, f"/v1/models?limit=1000{query}", _NATIVE)
    assert isinstance(page["data"], list)
    assert {item["lifecycle"] for item in page["data"]} == lifecycles


async def test_a_model_is_described_as_anthropics_sdk_reads_it(asked: Client) -> None:
    """Protects its users from fields of another type than the SDK says: times are RFC 3339."""
    found = ModelInfo.model_validate(await _json(asked, "/v1/models/claude-sonnet-4-5", _NATIVE))
    assert found.lifecycle == "deprecated"
    assert found.retires_at == datetime.datetime(2026, 11, 30, tzinfo=datetime.UTC)
    assert ModelInfo.model_validate(await _json(asked, "/v1/models/opus", _NATIVE)).retires_at is None


@pytest.mark.parametrize("headers", [AUTHORIZED, _NATIVE], ids=["openai", "anthropic"])
async def test_an_unknown_model_is_told_in_the_callers_own_envelope(
    asked: Client, headers: dict[str, str]
) -> None:
    """Protects either SDK's way to read what went wrong."""
    answer = await asked.get("/v1/models/gpt-9", headers=headers)
    envelope = await answer.json()
    assert answer.status == 404
    if headers is _NATIVE:
        assert (envelope["type"], envelope["error"]["type"]) == ("error", "not_found_error")
    else:
        assert (envelope["error"]["code"], envelope["error"]["param"]) == ("model_not_found", "model")


@pytest.mark.parametrize("name", ["sonnet", "claude-sonnet-5-5"])
async def test_one_model_is_found_by_its_id_or_alias(asked: Client, name: str) -> None:
    """Protects clients that look a model up before they use it."""
    for headers in (AUTHORIZED, _NATIVE):
        assert (await _json(asked, f"/v1/models/{name}", headers))["id"] == "claude-sonnet-5-5"


async def test_the_providers_own_alias_is_answered_with_the_full_id(asked: Client) -> None:
    """Protects clients that look up a model by the short name the provider gave it."""
    found = await _json(asked, "/v1/models/claude-opus-4-5", _NATIVE)
    assert found["id"] == "claude-opus-4-5-20251101"


@pytest.mark.parametrize("name", ["gpt-9", "claude-nothing-1", "x%2F..%2Fy", "%00", "%FF", "a" * 500])
async def test_an_unknown_model_is_not_found(asked: Client, name: str) -> None:
    """Protects clients from a model nobody serves."""
    answer = await asked.get(f"/v1/models/{name}", headers=AUTHORIZED)
    assert answer.status == 404


async def test_only_models_that_a_credential_serves_are_listed() -> None:
    """Protects clients from choosing a model that nobody here may use."""
    house = bench(credentials=[credential("api-1", models=("claude-opus-5*",))])
    async with client(services(house), ROUTES) as asked:
        page = await _json(asked, "/v1/models", AUTHORIZED)
        assert _page_ids(page)
        assert all(name.startswith("claude-opus-5") for name in _page_ids(page))
        assert (await asked.get("/v1/models/sonnet", headers=AUTHORIZED)).status == 404


async def test_an_operators_own_name_is_answered_with_its_target(shared: Services) -> None:
    """Protects clients that use a name of the operator's making."""
    rules = AliasRules(exact=(("gpt-9", "claude-sonnet-5-5"),))
    shared.names = ModelNames(shared.catalog, rules, shared.clock)
    async with client(shared, ROUTES) as asked:
        assert (await _json(asked, "/v1/models/gpt-9", AUTHORIZED))["id"] == "claude-sonnet-5-5"


@pytest.mark.parametrize(("name", "shown"), [("claude-opus-5-5", "Claude Opus 5.5")])
async def test_a_model_has_a_name_for_people(asked: Client, name: str, shown: str) -> None:
    """Protects menus."""
    assert (await _json(asked, f"/v1/models/{name}", _NATIVE))["display_name"] == shown


@pytest.mark.parametrize("path", ["/health", "/live"])
async def test_a_living_server_says_so_and_for_how_long(shared: Services, path: str) -> None:
    """Protects probes, which restart what does not answer."""
    shared.clock.advance(65.0)  # type: ignore[attr-defined]  # it is the tests' own clock
    async with client(shared, ROUTES) as asked:
        found = await _json(asked, path, {})
    assert (found["status"], found["uptime_seconds"], found["active_sessions"]) == ("healthy", 65, 0)


@pytest.mark.parametrize(
    ("ready", "draining", "status", "word"),
    [
        (False, False, 503, "starting"),
        (True, False, 200, "ready"),
        (True, True, 503, "draining"),
        (False, True, 503, "draining"),
    ],
)
async def test_readiness_follows_start_and_drain(
    shared: Services, ready: bool, draining: bool, status: int, word: str
) -> None:
    """Protects clients from a server that is not there yet, or not for long."""
    shared.ready, shared.inflight.draining = ready, draining
    async with client(shared, ROUTES) as asked:
        answer = await asked.get("/ready")
        assert (answer.status, await answer.json()) == (status, {"status": word})
        assert (await asked.get("/live")).status == 200


async def test_a_loop_that_hangs_makes_the_live_probe_fail_and_no_other(shared: Services) -> None:
    """Protects clients from a process that only a restart helps, and one that was late for once from it."""
    looking = asyncio.create_task(shared.loop_lag.run(lambda: None))  # noqa: TID251 - a test's own
    async with client(shared, ROUTES) as asked:
        await asyncio.sleep(0)
        statuses = []
        for late_s in (0.0, 5.4, 0.2):
            shared.clock.advance(late_s)  # type: ignore[attr-defined]  # it is the tests' own clock
            statuses.append((await asked.get("/live")).status)
            assert (await asked.get("/health")).status == 200
        assert statuses == [200, 200, 503]
        assert (await (await asked.get("/live")).json())["status"] == "late"
    looking.cancel()


@pytest.mark.parametrize("needed", [True, False])
async def test_without_a_usable_credential_it_is_ready_unless_that_is_asked_for(needed: bool) -> None:
    """Protects operators whose balancers are to turn to other replicas, and all others from an outage."""
    house = bench()
    shared = services(house, configured=replace(DEFAULT_SETTINGS, ready_needs_credential=needed))
    shared.ready = True
    async with client(shared, ROUTES) as asked:
        assert (await asked.get("/ready")).status == 200
        for view in house.pool.snapshot():
            house.pool.disable(view.name)
        answer = await asked.get("/ready")
        word = "no_credential" if needed else "ready"
        assert (answer.status, await answer.json()) == (503 if needed else 200, {"status": word})
        assert (await asked.get("/live")).status == 200


@pytest.mark.parametrize(
    "path", ["/health", "/ready", "/v1/models", "/admin/pool", "/admin/pool/explain", "/admin/requests"]
)
async def test_head_answers_like_get_without_a_body(asked: Client, path: str) -> None:
    """Protects probes that ask for the head alone."""
    for headers in ({}, AUTHORIZED, ADMINISTRATOR):
        get, head = await asked.get(path, headers=headers), await asked.head(path, headers=headers)
        assert get.status == head.status
        assert await head.read() == b""
