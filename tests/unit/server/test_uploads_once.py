"""A file that is sent twice under one ``Idempotency-Key`` is uploaded once."""

import asyncio
import dataclasses
import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.access.keys import random_key
from proxy.access.rules import Rules
from proxy.secrets import Secret
from proxy.server.context import Services
from proxy.server.objects import OBJECT_ROUTES
from proxy.simulator import Simulator, Step
from proxy.tasks import finish_all
from tests.support.house import until
from tests.support.objects import BOUNDARY, MULTIPART, form_head, multipart
from tests.unit.dispatch.building import Bench, bench, credential
from tests.unit.server.building import AUTHORIZED, DEFAULT_SETTINGS, Client, client, services

_FORM = {**AUTHORIZED, "content-type": MULTIPART, "idempotency-key": "u-1"}
_PATH = "/v1/files"


@pytest.fixture
def house(simulator: Simulator) -> Bench:
    """One credential at a simulated Claude."""
    return bench(credentials=[credential("api-1", base_url=simulator.url, secret=Secret("k1"))])


@pytest.fixture
def shared(house: Bench, tmp_path: Path) -> Services:
    """What handlers share, with a folder of its own."""
    return services(house, configured=dataclasses.replace(DEFAULT_SETTINGS, data_dir=tmp_path))


@pytest.fixture
async def asking(shared: Services, tmp_path: Path) -> AsyncIterator[Client]:
    """A client of the routes of files; whatever it did, nothing of it is left in the folder."""
    async with client(shared, OBJECT_ROUTES) as opened:
        yield opened
    await finish_all(within_s=5)
    await shared.objects.upstream._ways_out.close()
    assert _named_files(tmp_path) == []
    assert _open_files(tmp_path) == []
    assert shared.admission.desk.orders._arriving == set()


def _named_files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def _open_files(folder: Path) -> list[Path]:
    """Files in a folder this process has open, those without a name among them."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            found.append(descriptor.readlink())
        except FileNotFoundError:
            continue
    return [path for path in found if path.is_relative_to(folder)]


async def test_an_answer_that_was_lost_is_given_again(
    asking: Client, simulator: Simulator, house: Bench
) -> None:
    """Protects clients whose connection broke from a second file, whatever boundary they make up next."""
    first = await asking.post(_PATH, data=multipart(b"words", filename="canary.txt"), headers=_FORM)
    form = multipart(b"words", filename="canary.txt").replace(BOUNDARY.encode(), b"another")
    again = await asking.post(
        _PATH, data=form, headers=_FORM | {"content-type": 'multipart/form-data; boundary="another"'}
    )
    assert (first.status, again.status) == (200, 200)
    assert await first.json() == await again.json()
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert [entry.what for entry in simulator.objects.ledger] == ["made"]
    kept = [row[0] for row in await house.store.access._carry_out("SELECT body FROM idempotency")]
    assert len(kept) == 1
    assert "canary" not in kept[0]


async def test_a_key_stands_for_one_file(asking: Client, simulator: Simulator) -> None:
    """Protects a client with a bug from the answer to another upload."""
    assert (await asking.post(_PATH, data=multipart(b"words"), headers=_FORM)).status == 200
    other = await asking.post(_PATH, data=multipart(b"other words"), headers=_FORM)
    assert other.status == 409
    assert "another request" in (await other.json())["error"]["message"]
    assert len(simulator.objects.ledger) == 1


async def test_while_one_is_under_way_the_other_is_told_to_wait(
    asking: Client, shared: Services, simulator: Simulator
) -> None:
    """Protects the upstream from both halves of a double click; an SDK asks again by itself, and finds the first."""
    simulator.script("k1", [Step("delay", seconds=0.3)])
    rest = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        form = multipart(b"words")
        yield form[:40]
        await rest.wait()
        yield form[40:]

    first = asyncio.get_running_loop().create_task(
        asking.session.post(asking.make_url(_PATH), data=slow(), headers=_FORM)
    )
    await until(lambda: bool(shared.admission.desk.orders._arriving))
    second = await asking.post(_PATH, data=multipart(b"words"), headers=_FORM)
    assert (second.status, second.headers["retry-after"], second.headers["x-should-retry"]) == (
        409,
        "1",
        "true",
    )
    rest.set()
    await until(lambda: any(one.body_complete_s is not None for one in simulator.record.requests))
    assert (await asking.post(_PATH, data=multipart(b"words"), headers=_FORM)).status == 409
    answered = await (await first).json()
    again = await asking.post(_PATH, data=multipart(b"words"), headers=_FORM)
    assert await again.json() == answered
    assert len(simulator.objects.ledger) == 1


async def test_a_client_that_leaves_after_all_was_said_finds_the_answer(
    asking: Client, house: Bench, simulator: Simulator
) -> None:
    """Protects clients that were cut off while their file went on, or in the very moment in which it was made."""
    form = multipart(b"words" * 2_000_000)
    simulator.script("k1", [Step("delay", seconds=0.3)])
    upload = asyncio.get_running_loop().create_task(
        asking.session.post(asking.make_url(_PATH), data=io.BytesIO(form), headers=_FORM)
    )
    await until(lambda: bool(simulator.record.requests))
    upload.cancel()
    await until(lambda: bool(house.store.objects.rows) and house.pool.in_flight == 0)
    await finish_all(within_s=5)
    again = await asking.post(_PATH, data=io.BytesIO(form), headers=_FORM)
    assert (await again.json())["id"] == house.store.objects.rows[0].id
    assert again.headers["idempotent-replayed"] == "true"
    assert len(simulator.objects.ledger) == 1


async def test_an_upload_that_breaks_off_leaves_nothing(
    asking: Client, shared: Services, simulator: Simulator, tmp_path: Path
) -> None:
    """Protects the disk, and the key, which may be used for the whole file afterwards."""
    never = asyncio.Event()

    async def broken() -> AsyncIterator[bytes]:
        yield form_head() + b"x" * 3_000_000
        await never.wait()

    upload = asyncio.get_running_loop().create_task(
        asking.session.post(asking.make_url(_PATH), data=broken(), headers=_FORM)
    )
    await until(lambda: bool(_open_files(tmp_path)))
    assert _named_files(tmp_path) == []
    upload.cancel()
    await until(lambda: not _open_files(tmp_path) and not shared.admission.desk.orders._arriving)
    assert simulator.record.requests_total == 0
    assert (await asking.post(_PATH, data=multipart(b"words"), headers=_FORM)).status == 200


async def test_another_owners_key_is_another_order(
    asking: Client, shared: Services, simulator: Simulator
) -> None:
    """Protects files from whoever guesses the word somebody else has chosen."""
    key = random_key()
    await shared.admission.desk.stored.add("other", Rules(), key)
    headers = {"x-api-key": key.reveal(), "content-type": MULTIPART, "idempotency-key": "u-1"}
    first, second = [
        await asking.post(_PATH, data=multipart(b"words"), headers=each) for each in (_FORM, headers)
    ]
    assert (await first.json())["id"] != (await second.json())["id"]
    assert "idempotent-replayed" not in second.headers
    assert len(simulator.objects.ledger) == 2


async def test_what_was_refused_may_be_sent_again(asking: Client, simulator: Simulator) -> None:
    """Protects clients from being told for a day that nothing was done."""
    simulator.script("k1", [Step("status", status=400)])
    assert (await asking.post(_PATH, data=multipart(b"words"), headers=_FORM)).status == 400
    answer = await asking.post(_PATH, data=multipart(b"words"), headers=_FORM)
    assert answer.status == 200
    assert "idempotent-replayed" not in answer.headers


async def test_what_nobody_heard_of_is_not_done_again(asking: Client, simulator: Simulator) -> None:
    """Protects against two files where the first one's answer was lost behind us."""
    simulator.script("k1", [Step("reset_before_headers")])
    assert (await asking.post(_PATH, data=multipart(b"words"), headers=_FORM)).status == 502
    answer = await asking.post(_PATH, data=multipart(b"words"), headers=_FORM)
    assert answer.status == 409
    assert "is not known" in (await answer.json())["error"]["message"]
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("order", ["", "two words", "x" * 256])
async def test_a_key_that_is_none_is_refused_before_the_body(
    asking: Client, simulator: Simulator, order: str
) -> None:
    """Protects clients from an upload for nothing."""
    answer = await asking.post(_PATH, data=multipart(b"words"), headers=_FORM | {"idempotency-key": order})
    assert answer.status == 400
    assert "Idempotency-Key" in (await answer.json())["error"]["message"]
    assert simulator.record.requests_total == 0


async def test_too_many_at_the_same_time_have_to_wait(asking: Client, shared: Services) -> None:
    """Protects the disk from everybody's files at once."""
    orders = shared.admission.desk.orders
    for number in range(8):
        orders.arriving(f"owner-{number // 2}", f"u-{number}")
    answer = await asking.post(_PATH, data=multipart(b"words"), headers=_FORM)
    assert (answer.status, answer.headers["retry-after"]) == (429, "1")
    for number in range(8):
        orders.arrived(f"owner-{number // 2}", f"u-{number}")


@pytest.mark.parametrize("declared", [True, False])
async def test_a_file_larger_than_allowed_is_refused(
    house: Bench, tmp_path: Path, declared: bool, simulator: Simulator
) -> None:
    """Protects the disk from a body that never ends."""
    policy = dataclasses.replace(DEFAULT_SETTINGS.policy, file_max_bytes=2_000_000)
    configured = dataclasses.replace(DEFAULT_SETTINGS, data_dir=tmp_path, policy=policy)

    async def endless() -> AsyncIterator[bytes]:
        yield form_head()
        for _ in range(50):
            yield b"x" * 100_000

    async with client(services(house, configured=configured), OBJECT_ROUTES) as asked:
        body = io.BytesIO(form_head() + b"x" * 3_000_000) if declared else endless()
        answer = await asked.post(_PATH, data=body, headers=_FORM)
        assert answer.status == 413
    await until(lambda: not _open_files(tmp_path))
    assert simulator.record.requests_total == 0
