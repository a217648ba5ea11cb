"""Uploads and downloads on their way through: nothing is held, and what breaks off leaves nothing behind."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import msgspec
import pytest
import pytest_asyncio

from proxy.simulator import EndedBy, Simulator, Step
from proxy.simulator.uploads import UploadFault
from tests.support.house import eventually, until
from tests.support.objects import (
    ALICE,
    KEYS,
    MULTIPART,
    Storehouse,
    batch,
    fields_of,
    form_head,
    large_form,
    multipart,
    params,
    storehouse,
)
from tests.support.soak import sized

pytestmark = pytest.mark.asyncio(loop_scope="module")

_MIB: Final = 1024 * 1024
_GROWTH_KB: Final = 32 * 1024
_FORM: Final = {"content-type": MULTIPART}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Storehouse]:
    """A gateway of three credentials that takes small batches only."""
    settings = {"RELAY_BATCH_MAX_BYTES": str(16 * _MIB), "RELAY_UNARY_TIMEOUT_S": "5"}
    async with storehouse(tmp_path_factory.mktemp("uploads"), settings) as found:
        yield found


@pytest.fixture
def house(running: Storehouse) -> Storehouse:
    """The same, without scripts and faults of earlier tests."""
    running.simulator.script("*")
    running.simulator.objects.upload_faults.clear()
    return running


async def _grown_kb(house: Storehouse, work: asyncio.Task[None]) -> int:
    """By how much the gateway's memory grows at most while something is done."""
    before_kb = most_kb = house.resident_kb()
    while not work.done():
        most_kb = max(most_kb, house.resident_kb())
        await asyncio.wait([work], timeout=0.02)
    await work
    return most_kb - before_kb


@pytest.mark.long
async def test_an_upload_passes_through_without_being_held(house: Storehouse) -> None:
    """Protects the memory of the gateway: 400 MB in full, 40 MB in the short form."""
    size_bytes = sized(full=400, short=40) * _MIB
    await house.upload()

    async def work() -> None:
        answer = await house.ask("POST", "/v1/files", large_form(size_bytes), headers=_FORM)
        assert fields_of(answer)["size_bytes"] == size_bytes

    assert await _grown_kb(house, asyncio.get_running_loop().create_task(work())) <= _GROWTH_KB


@pytest.mark.long
async def test_results_pass_through_without_being_held(house: Storehouse) -> None:
    """Protects the memory of the gateway from a reader: 200 MB in full, 40 MB in the short form."""
    house.simulator.objects.padding_mib = sized(full=200, short=40)
    path = f"/v1/messages/batches/{await house.batched()}"
    await house.ask("GET", path)

    async def work() -> None:
        headers = {"x-api-key": ALICE, "anthropic-version": "2023-06-01"}
        size_bytes = 0
        async with house.session.get(f"{house.server.url}{path}/results", headers=headers) as answer:
            async for piece in answer.content.iter_any():
                size_bytes += len(piece)
        assert size_bytes > house.simulator.objects.padding_mib * _MIB * 0.9

    try:
        assert await _grown_kb(house, asyncio.get_running_loop().create_task(work())) <= _GROWTH_KB
    finally:
        house.simulator.objects.padding_mib = 0


@pytest.mark.parametrize("declared", [True, False], ids=["declared length", "chunked"])
async def test_a_client_that_leaves_in_the_middle_stops_the_upload(house: Storehouse, declared: bool) -> None:
    """Protects the upstream from half a file: its connection is closed soon, and there is no file."""
    made = len(house.simulator.objects.ledger)
    before = house.simulator.record.requests_total
    host, port = house.server.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    length = "content-length: 1000000" if declared else "transfer-encoding: chunked"
    head = f"POST /v1/files HTTP/1.1\r\nhost: a\r\nx-api-key: {ALICE}\r\ncontent-type: {MULTIPART}\r\n{length}\r\n\r\n"
    begin = form_head() + b"x" * 300_000
    writer.write(head.encode() + (begin if declared else b"%x\r\n%b\r\n" % (len(begin), begin)))
    await writer.drain()
    await until(lambda: house.simulator.record.requests_total > before)
    received = house.simulator.record.requests[-1]
    writer.transport.abort()
    await until(lambda: received.ended_by is not None)
    assert received.ended_by is EndedBy.CLIENT
    assert len(house.simulator.objects.ledger) == made
    await until(lambda: house.simulator.record.open_connections == 0 or not house.simulator.record.in_flight)

    async def given_back() -> bool:
        return all(one["in_flight"] == 0 for one in await house.server.pool())

    await eventually(given_back)
    assert all(one["failed"] == 0 for one in await house.server.pool())


@pytest.mark.parametrize(("fault", "status"), [(0, 502), (413, 413)], ids=["reset", "refused"])
async def test_an_upstream_that_ends_an_upload_in_the_middle_is_told_of(
    house: Storehouse, fault: int, status: int
) -> None:
    """Protects clients from waiting, and from a second attempt with half a body."""
    for key in KEYS:
        house.simulator.objects.upload_faults[key] = UploadFault(2 * _MIB, fault)
    made = len(house.simulator.objects.ledger)
    before = house.simulator.record.requests_total
    answer = await house.ask("POST", "/v1/files", large_form(3 * _MIB), headers=_FORM)
    assert answer.status == status
    assert answer.error.type == "error"
    assert house.simulator.record.requests_total == before + 1
    assert len(house.simulator.objects.ledger) == made


async def test_a_limited_credential_sends_the_client_to_the_next(tmp_path: Path) -> None:
    """Protects uploads from a single limited key: the client is told to send it again, and that goes elsewhere."""
    async with storehouse(tmp_path) as house:
        for key in KEYS[:2]:
            house.simulator.script(key, then=Step("status", status=429, headers={"retry-after": "60"}))
        told = [await house.ask("POST", "/v1/files", multipart(b"a"), headers=_FORM) for _ in range(3)]
        assert sorted(one.status for one in told) == [200, 503, 503]
        for one in told:
            if one.status == 503:
                assert (one.headers["x-should-retry"], one.headers["retry-after"]) == ("true", "1")
        house.simulator.script(KEYS[2], then=Step("status", status=429, headers={"retry-after": "60"}))
        await house.ask("POST", "/v1/files", multipart(b"a"), headers=_FORM)
        last = await house.ask("POST", "/v1/files", multipart(b"a"), headers=_FORM)
        assert (last.status, last.headers["retry-after"]) == (429, "60")


async def _refused_at_once(house: Storehouse, length: str, body: bytes) -> bytes:
    """What a client reads that does not wait to be done with its body."""
    host, port = house.server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /v1/messages/batches HTTP/1.1\r\nhost: a\r\nx-api-key: {ALICE}\r\n{length}\r\n\r\n"
    writer.write(head.encode() + body)
    try:
        return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
    finally:
        writer.transport.abort()


async def test_bodies_over_the_limit_are_refused_declared_or_not(house: Storehouse) -> None:
    """Protects the limit in both ways of sending, before an upstream has made anything."""
    made = len(house.simulator.objects.ledger)
    before = house.simulator.record.requests_total
    answer = await _refused_at_once(house, f"content-length: {16 * _MIB + 1}", b"")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert house.simulator.record.requests_total == before
    piece = b"%x\r\n%b\r\n" % (_MIB, b" " * _MIB)
    answer = await _refused_at_once(house, "transfer-encoding: chunked", piece * 17)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert len(house.simulator.objects.ledger) == made


async def test_a_file_named_late_in_a_large_batch_has_to_lie_where_the_batch_goes(tmp_path: Path) -> None:
    """Protects a batch from a credential that can read only half of it; it goes to the holder where that is known."""
    async with storehouse(tmp_path) as house:
        padding = [params("x" * _MIB) for _ in range(6)]
        only = await house.upload()
        for _ in range(3):
            batch_id = await house.batched(*padding, params(file_id=only))
            assert house.holder(batch_id) == house.holder(only)
        await house.upload()
        made = len(house.simulator.objects.ledger)
        answer = await house.ask("POST", "/v1/messages/batches", batch(*padding, params(file_id=only)))
        assert answer.status == 400
        assert "requests[6].params.messages[0].content[1].source.file_id" in answer.error.error.message
        assert len(house.simulator.objects.ledger) == made
        stranger = await house.ask(
            "POST", "/v1/messages/batches", batch(*padding, params(file_id="file_of_nobody"))
        )
        assert stranger.status == 404
        first = await house.batched(params(file_id=only), *padding)
        assert house.holder(first) == house.holder(only)


async def test_ownership_outlives_a_restart_and_follows_the_key(tmp_path: Path) -> None:
    """Protects what clients have from a restart: the same key holds it, whatever its place in the settings."""
    simulator = Simulator()
    async with storehouse(tmp_path, simulator=simulator) as house:
        kept = [await house.upload() for _ in range(3)]
        port = int(simulator.url.rpartition(":")[2])
    await simulator.start(port=port)
    settings = {"ANTHROPIC_API_KEYS": ",".join(KEYS[::-1]), "ANTHROPIC_BASE_URL": simulator.url}
    async with storehouse(tmp_path, settings) as house:
        for file_id in kept:
            assert (await house.ask("GET", f"/v1/files/{file_id}")).status == 200
            before = simulator.record.requests_total
            answer = await house.says(params(file_id=file_id))
            assert answer.status == 200
            assert simulator.record.requests[-1].key == next(
                entry.key for entry in simulator.objects.ledger if entry.id == file_id
            )
            assert simulator.record.requests_total == before + 1
    await simulator.stop()


async def test_a_download_that_breaks_off_does_not_look_whole(house: Storehouse) -> None:
    """Protects readers from results that merely stop."""
    path = f"/v1/messages/batches/{await house.batched()}"
    await house.ask("GET", path)
    house.simulator.objects.padding_mib = 4
    for key in KEYS:
        house.simulator.script(key, then=Step("cut_at_byte", at_byte=2_000_000, how="close"))
    try:
        answer = await house.ask("GET", f"{path}/results")
    finally:
        house.simulator.objects.padding_mib = 0
        for key in KEYS:
            house.simulator.script(key)
    assert (answer.status, answer.broken_off) == (200, True)
    msgspec.json.decode(answer.body.splitlines()[0])
