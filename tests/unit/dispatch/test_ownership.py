"""Who owns which object, and who holds the files a request names."""

import asyncio

import pytest

from proxy.dialects.files import NamedFile
from proxy.dispatch.ownership import Made, Ownership, shown
from proxy.errors import GatewayError, InvalidRequest, NotFound
from proxy.exchange import Operation
from proxy.store.base import Cut, StoreError
from tests.unit.dispatch.building import Bench, bench

FILES = Operation.FILES


@pytest.fixture
def house() -> Bench:
    """Three credentials and a store."""
    return bench()


@pytest.fixture
def ownership(house: Bench) -> Ownership:
    """Who owns what among them."""
    return Ownership(house.store.objects, house.journal, house.clock)


async def _made(ownership: Ownership, object_id: str, credential: str, *, media_type: str = "") -> None:
    made = Made(id=object_id, credential=credential, media_type=media_type, created_unix_ms=5)
    await ownership.remember("alice", FILES, made)


async def test_files_are_known_of_from_the_first_one_on(ownership: Ownership) -> None:
    """Protects the hot path before the first file, and the owner check after it."""
    assert not await ownership.found_files()
    await _made(ownership, "file_1", "api-1")
    assert ownership.some_files


async def test_a_store_that_cannot_tell_counts_as_one_with_files(house: Bench, ownership: Ownership) -> None:
    """Protects the owner check from a store in trouble: it is made rather than left out."""
    house.store.objects.problem = StoreError("full")
    assert await ownership.found_files()
    with pytest.raises(GatewayError) as caught:
        await ownership.held("alice", FILES, ["file_1"])
    assert caught.value.status == 503


async def test_the_first_file_of_another_process_is_noticed(house: Bench, ownership: Ownership) -> None:
    """Protects the owner check where several processes share one store."""
    looking = asyncio.get_running_loop().create_task(ownership.look_for_files())
    await asyncio.sleep(0)
    other = Ownership(house.store.objects, house.journal, house.clock)
    await _made(other, "file_1", "api-1")
    assert not ownership.some_files
    assert await ownership.found_files()
    looking.cancel()


async def test_what_lies_with_a_key_is_found_under_its_present_alias(
    house: Bench, ownership: Ownership
) -> None:
    """Protects owners from a change of the settings: the key counts, and only then its alias."""
    await _made(ownership, "file_1", "api-1")
    await _made(ownership, "file_2", "api-2")
    await _made(ownership, "file_3", "api-3")
    house.journal.follow({"renamed": "print of api-1", "api-2": "another print"})
    held = await ownership.held("alice", FILES, ["file_1", "file_2", "file_3"])
    assert (held["file_1"].credential, held["file_1"].certain) == ("renamed", True)
    assert (held["file_2"].credential, held["file_2"].certain) == ("api-2", False)
    assert held["file_3"].credential is None


async def test_the_holder_of_named_files_is_told_with_their_media_types(ownership: Ownership) -> None:
    """Protects requests that name files: one credential holds them all."""
    await _made(ownership, "file_1", "api-2", media_type="image/png")
    await _made(ownership, "file_2", "api-2")
    named = [NamedFile("file_1", "a"), NamedFile("file_2", "b"), NamedFile("file_1", "c")]
    bound = await ownership.holder("alice", named)
    assert (bound.credential, bound.media_types) == ("api-2", {"file_1": "image/png", "file_2": ""})
    assert await ownership.usual_holder("alice") == "api-2"
    assert await ownership.usual_holder("bob") is None


async def test_a_file_of_another_client_is_not_found_by_name(ownership: Ownership) -> None:
    """Protects clients from each other: the field is named, and nothing tells whether there is such a file."""
    await _made(ownership, "file_1", "api-2")
    for client, file_id in (("bob", "file_1"), ("alice", "file_\n9")):
        with pytest.raises(NotFound) as caught:
            await ownership.holder(client, [NamedFile(file_id, "x.file_id")])
        assert caught.value.message == f"x.file_id: File not found: {shown(file_id)}"
        assert caught.value.param == "x.file_id"


async def test_files_that_no_one_credential_holds_are_refused(house: Bench, ownership: Ownership) -> None:
    """Protects clients from half an answer; a credential that is gone is no client's mistake."""
    await _made(ownership, "file_1", "api-1")
    await _made(ownership, "file_2", "api-2")
    with pytest.raises(InvalidRequest) as elsewhere:
        await ownership.holder("alice", [NamedFile("file_1", "a"), NamedFile("file_2", "b")])
    assert elsewhere.value.param == "b"
    with pytest.raises(InvalidRequest):
        await ownership.holder("alice", [NamedFile("file_1", "a")], known="api-3")
    house.journal.follow({"api-2": "print of api-2"})
    with pytest.raises(GatewayError) as gone:
        await ownership.holder("alice", [NamedFile("file_1", "a")])
    assert (gone.value.status, gone.value.should_retry) == (503, False)


async def test_a_store_that_cannot_forget_costs_no_client_its_answer(
    house: Bench, ownership: Ownership
) -> None:
    """Protects a deletion that has been carried out; the upstream itself says later that there is none."""
    await _made(ownership, "file_1", "api-1")
    house.store.objects.problem = StoreError("full")
    await ownership.forget("alice", FILES, "file_1")
    house.store.objects.problem = None
    await ownership.forget("alice", FILES, "file_1")
    assert await ownership.page("alice", FILES, Cut(most=9)) == []
    assert house.store.objects.forgotten_unix_ms == house.clock.unix_ms()
