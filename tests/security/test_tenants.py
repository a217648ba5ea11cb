"""What one client has made does not exist for another, on any route that takes an id."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final

import msgspec
import pytest
import pytest_asyncio

from proxy.server.app import ROUTES
from proxy.server.routes import Access
from tests.support.house import MODEL
from tests.support.objects import ALICE, BOB, Storehouse, fields_of, storehouse

pytestmark = pytest.mark.asyncio(loop_scope="module")

_SECRET: Final = "canary-of-alice"
_ID: Final = re.compile(r"\{(\w+)\}")
_OF_EVERYBODY: Final = {"/v1/models/{model}", "/openai/deployments/{model}/chat/completions"}
_ID_ROUTES: Final = sorted(
    {
        (route.method, route.path, prefix)
        for route in ROUTES
        for prefix in route.prefixes
        if route.access is Access.CLIENT and _ID.search(route.path) and route.path not in _OF_EVERYBODY
    }
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Storehouse]:
    """A gateway of two clients."""
    async with storehouse(tmp_path_factory.mktemp("tenants")) as running:
        yield running


async def _made(house: Storehouse, path: str, body: Mapping[str, object]) -> str:
    answer = await house.ask("POST", path, msgspec.json.encode(body))
    assert answer.status in {200, 201}, answer.body
    return str(fields_of(answer)["id"])


async def _file(house: Storehouse) -> str:
    return await house.upload(_SECRET.encode())


async def _batch(house: Storehouse) -> str:
    return await house.batched()


async def _conversation(house: Storehouse) -> str:
    return await _made(house, "/v1/conversations", {"metadata": {"a": _SECRET}})


async def _project(house: Storehouse) -> str:
    return await _made(house, "/v1/projects", {"name": _SECRET})


async def _session(house: Storehouse) -> str:
    return await _made(house, "/v1/sessions", {"title": _SECRET})


async def _response(house: Storehouse) -> str:
    return await _made(house, "/v1/responses", {"model": MODEL, "input": _SECRET})


_MAKERS: Final[Mapping[str, Callable[[Storehouse], Awaitable[str]]]] = {
    "/v1/files": _file,
    "/v1/messages/batches": _batch,
    "/v1/conversations": _conversation,
    "/v1/projects": _project,
    "/v1/sessions": _session,
    "/v1/responses": _response,
}


async def test_every_route_that_takes_an_id_is_of_a_kind_this_file_knows() -> None:
    """Protects against a new kind of object that nobody has tried to steal."""
    assert {path.partition("/{")[0] for _, path, _ in _ID_ROUTES} == set(_MAKERS)
    assert len(_ID_ROUTES) == 2 * 17


@pytest.mark.parametrize(("method", "path", "prefix"), _ID_ROUTES)
async def test_an_object_of_another_client_is_not_there(
    house: Storehouse, method: str, path: str, prefix: str
) -> None:
    """Protects what clients make: a stranger reads of it what is read of an id that never was, and moves nothing."""
    root = path.partition("/{")[0]
    theirs = await _MAKERS[root](house)
    never = theirs[:-6] + ("000000" if not theirs.endswith("000000") else "111111")
    calls = house.simulator.record.requests_total
    told = []
    for named in (theirs, never):
        answer = await house.ask(method, prefix + _ID.sub(named, path), key=BOB)
        assert answer.status == 404
        assert _SECRET.encode() not in answer.body
        told.append(re.sub(rb"req_[0-9a-f]{24}", b"", answer.body.replace(named.encode(), b"ID")))
    assert told[0] == told[1]
    assert house.simulator.record.requests_total == calls
    kept = await house.ask("GET", f"{root}/{theirs}", key=ALICE)
    assert kept.status == 200


@pytest.mark.parametrize("root", [root for root in _MAKERS if root != "/v1/responses"])
async def test_a_list_holds_what_its_own_client_has_made(house: Storehouse, root: str) -> None:
    """Protects ids and names, which are the beginning of every theft."""
    theirs = await _MAKERS[root](house)
    mine, others = [await house.ask("GET", root, key=key) for key in (ALICE, BOB)]
    assert mine.status == others.status == 200
    assert theirs.encode() in mine.body
    assert theirs.encode() not in others.body
    assert _SECRET.encode() not in others.body


@pytest.mark.parametrize("root", _MAKERS)
async def test_an_id_cannot_be_guessed(house: Storehouse, root: str) -> None:
    """Protects objects of ours from who counts; those of files and batches are the provider's own."""
    ids = [await _MAKERS[root](house) for _ in range(3)]
    assert len(set(ids)) == len(ids)
    if root not in {"/v1/files", "/v1/messages/batches"}:
        for one in ids:
            assert len(one.partition("_")[2] or one.replace("-", "")) >= 32
            assert sum(one.startswith(other[:12]) for other in ids) == 1


async def test_no_answer_of_the_api_may_be_kept_by_a_cache_on_the_way(house: Storehouse) -> None:
    """Protects one client's answers from being given to another by a proxy in between."""
    for root in _MAKERS:
        theirs = await _MAKERS[root](house)
        for path in (f"{root}/{theirs}", f"{root}/unknown", "/v1/models"):
            answer = await house.ask("GET", path)
            assert answer.headers.get("cache-control") == "no-store", path
