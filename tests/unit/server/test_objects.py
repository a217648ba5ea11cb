"""Creating files and batches when something goes wrong beside the upload itself."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from proxy.access.keys import random_key
from proxy.access.rules import Rules
from proxy.pool import Lease, Walk, Want
from proxy.secrets import Secret
from proxy.server.context import Services
from proxy.server.objects import OBJECT_ROUTES
from proxy.simulator import Simulator, Step
from proxy.store.base import StoreError
from tests.support.house import until
from tests.support.objects import MULTIPART, batch, multipart, params
from tests.unit.dispatch.building import Bench, bench, credential
from tests.unit.server.building import AUTHORIZED, Client, client, services, settings

_IMPATIENT = settings(RELAY_BODY_STALL_S="0.1")
_FORM = {**AUTHORIZED, "content-type": MULTIPART}


@pytest.fixture
def house(simulator: Simulator) -> Bench:
    """One credential at a simulated Claude."""
    return bench(credentials=[credential("api-1", base_url=simulator.url, secret=Secret("k1"))])


@pytest.fixture
async def asking(house: Bench) -> AsyncIterator[Client]:
    """A client of the routes of files and batches."""
    async with _asking(services(house)) as opened:
        yield opened


@pytest.fixture
async def impatient(house: Bench) -> AsyncIterator[Client]:
    """The same, of a server that waits a tenth of a second for bodies."""
    async with _asking(services(house, configured=_IMPATIENT)) as opened:
        yield opened


@asynccontextmanager
async def _asking(shared: Services) -> AsyncIterator[Client]:
    async with client(shared, OBJECT_ROUTES) as opened:
        yield opened
    await shared.objects.upstream._ways_out.close()


@pytest.mark.parametrize("kind", ["files", "batches"])
async def test_what_cannot_be_put_down_is_taken_back(
    house: Bench, asking: Client, simulator: Simulator, kind: str
) -> None:
    """Protects clients from paying for what they could never find again."""
    house.store.objects.problem = StoreError("the disk is full")
    if kind == "files":
        answer = await asking.post("/v1/files", data=multipart(b"words"), headers=_FORM)
    else:
        answer = await asking.post("/v1/messages/batches", data=batch(params()), headers=AUTHORIZED)
    assert answer.status == 503
    assert "taken back" in await answer.text()
    assert [entry.what for entry in simulator.objects.ledger] == [
        "made",
        "deleted" if kind == "files" else "canceled",
    ]
    assert house.pool.in_flight == 0


async def test_what_was_made_for_a_client_that_left_is_its_own_all_the_same(
    house: Bench, asking: Client, simulator: Simulator
) -> None:
    """Protects against objects nobody owns: all was said, so it may be there, and the client can find it."""
    simulator.script("k1", [Step("delay", seconds=0.3)])
    upload = asyncio.get_running_loop().create_task(
        asking.session.post(asking.make_url("/v1/files"), data=multipart(b"words"), headers=_FORM)
    )
    await until(lambda: any(one.body_complete_s is not None for one in simulator.record.requests))
    upload.cancel()
    await until(lambda: bool(house.store.objects.rows))
    await until(lambda: house.pool.in_flight == 0)
    (row,) = house.store.objects.rows
    assert [entry.id for entry in simulator.objects.ledger] == [row.id]
    assert (row.alias, row.fingerprint, row.media_type) == ("api-1", "print of api-1", "text/plain")
    assert row.client not in {"", "env-1"}


@pytest.mark.parametrize(
    "content_type", ["application/json", "multipart/form-data", "multipart/form-data; boundary=a\tb"]
)
async def test_a_file_comes_in_a_form(asking: Client, simulator: Simulator, content_type: str) -> None:
    """Protects the upstream from headers that are no form's, and clients from a riddle."""
    answer = await asking.post(
        "/v1/files", data=b"words", headers={**AUTHORIZED, "content-type": content_type}
    )
    assert answer.status == 400
    assert "multipart/form-data" in await answer.text()
    assert simulator.record.requests_total == 0


@pytest.mark.parametrize("body", ["no json", "{}", '{"id":"../admin"}', '{"id":7}'])
async def test_an_answer_that_names_no_object_is_the_upstreams_failure(
    house: Bench, asking: Client, simulator: Simulator, body: str
) -> None:
    """Protects addresses from what an upstream calls its objects."""
    simulator.script("k1", [Step("raw", status=200, body=body, headers={"content-type": "application/json"})])
    answer = await asking.post("/v1/files", data=multipart(b"words"), headers=_FORM)
    assert answer.status == 502
    assert house.store.objects.rows == []


async def test_a_body_that_stops_arriving_ends_the_upload(
    house: Bench, impatient: Client, simulator: Simulator
) -> None:
    """Protects places from clients that fell silent in the middle; the credential is not to blame."""
    never = asyncio.Event()

    async def silent() -> AsyncIterator[bytes]:
        yield multipart(b"words")[:-4]
        await never.wait()

    answer = await impatient.post("/v1/files", data=silent(), headers=_FORM)
    assert answer.status == 408
    never.set()
    await until(lambda: not simulator.record.in_flight)
    assert simulator.objects.ledger == []
    (view,) = house.pool.snapshot()
    assert (view.failed, view.abandoned) == (0, 1)


async def test_an_owner_without_a_store_is_asked_for_again_later(house: Bench, asking: Client) -> None:
    """Protects clients from a 404 for what is only not to be looked up now."""
    house.store.objects.problem = StoreError("locked")
    answer = await asking.get("/v1/files/file_1", headers=AUTHORIZED)
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")


async def test_a_client_that_leaves_while_it_waits_for_a_place_waits_no_more(simulator: Simulator) -> None:
    """Protects places from uploads nobody sends any more."""
    only = credential("api-1", base_url=simulator.url, secret=Secret("k1"), max_concurrency=1)
    house = bench(credentials=[only], queue_wait_s=600.0)
    shared = services(house)
    walk = Walk(house.policy, house.clock, house.dispatcher.budget, house.clock.now_s + 600, random.Random(1))
    assert isinstance(house.pool.pick(Want("files", "files", "client"), walk), Lease)
    async with client(shared, OBJECT_ROUTES) as opened:
        upload = asyncio.get_running_loop().create_task(
            opened.session.post(opened.make_url("/v1/files"), data=multipart(b"words"), headers=_FORM)
        )
        await until(lambda: "Queue: 1" in repr(house.pool))
        upload.cancel()
        await until(lambda: "Queue: 0" in repr(house.pool))
    await shared.objects.upstream._ways_out.close()
    assert simulator.record.requests_total == 0


@asynccontextmanager
async def _restricted(house: Bench, rules: Rules) -> AsyncIterator[tuple[Client, dict[str, str]]]:
    """A client whose key has rules, and the headers it sends."""
    shared, key = services(house), random_key()
    await shared.admission.desk.stored.add("work", rules, key)
    async with client(shared, OBJECT_ROUTES) as opened:
        yield opened, {"x-api-key": key.reveal(), "content-type": MULTIPART}
    assert shared.admission.limiter.running("work") == 0
    await shared.objects.upstream._ways_out.close()


async def test_requests_about_objects_count_against_the_limits_of_a_key(
    house: Bench, simulator: Simulator
) -> None:
    """Protects upstreams from a key that has used up its requests, and tells it how its limits stand."""
    async with _restricted(house, Rules(requests_per_minute=2, concurrency=1)) as (asking, headers):
        made = await asking.post("/v1/files", data=multipart(b"words"), headers=headers)
        assert (made.status, made.headers["x-ratelimit-remaining-requests"]) == (200, "1")
        missing = await asking.get("/v1/files/file_1", headers=headers)
        assert (missing.status, missing.headers["x-ratelimit-remaining-requests"]) == (404, "0")
        before = simulator.record.requests_total
        refused = await asking.get("/v1/files", headers=headers)
        assert (refused.status, refused.headers["x-ratelimit-limit-requests"]) == (429, "2")
        assert "retry-after" in refused.headers
    assert simulator.record.requests_total == before


@pytest.mark.parametrize(
    "rules",
    [Rules(models=("claude-haiku-*",)), Rules(budget_micro_usd=1), Rules(tokens_per_minute=1)],
    ids=["models", "budget", "tokens"],
)
async def test_a_batch_is_no_way_around_what_a_key_is_limited_to(
    house: Bench, simulator: Simulator, rules: Rules
) -> None:
    """Protects dear models and budgets: nobody looks at what the requests of a batch ask for, or what they cost."""
    async with _restricted(house, rules) as (asking, headers):
        batches = "/v1/messages/batches"
        answer = await asking.post(batches, data=batch(params()), headers=headers)
        assert answer.status == 403
        assert msgspec.json.decode(await answer.read())["error"]["type"] == "permission_error"
        assert simulator.record.requests_total == 0
        assert (await asking.post(f"{batches}/msgbatch_1/cancel", headers=headers)).status == 404
        assert (await asking.post("/v1/files", data=multipart(b"words"), headers=headers)).status == 200


async def test_objects_are_kept_to_the_credentials_a_key_may_use(simulator: Simulator) -> None:
    """Protects credentials that were bought for other clients from their files and batches."""
    house = bench(
        credentials=[
            credential(f"api-{number}", base_url=simulator.url, secret=Secret(f"k{number}"))
            for number in (1, 2)
        ]
    )
    async with _restricted(house, Rules(credentials=frozenset({"api-2"}))) as (asking, headers):
        for _ in range(3):
            answer = await asking.post("/v1/files", data=multipart(b"words"), headers=headers)
            assert (answer.status, answer.headers["x-carousel-credential"]) == (200, "api-2")
        answer = await asking.post("/v1/messages/batches", data=batch(params()), headers=headers)
        assert (answer.status, answer.headers["x-carousel-credential"]) == (200, "api-2")


async def test_a_key_that_may_use_nobody_who_has_files_is_told_so(house: Bench, simulator: Simulator) -> None:
    """Protects operators from looking for a fault where there is a rule."""
    async with _restricted(house, Rules(credentials=frozenset({"api-9"}))) as (asking, headers):
        answer = await asking.post("/v1/files", data=multipart(b"words"), headers=headers)
        assert answer.status == 403
        assert "may use none of the credentials that could do this" in await answer.text()
    assert simulator.record.requests_total == 0
