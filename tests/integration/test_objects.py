"""Files and batches over real sockets: they go to the credential that holds them, and to nobody else's clients."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import msgspec
import pytest
import pytest_asyncio

from proxy.simulator import Step
from tests.support.objects import (
    ALICE,
    BOB,
    MULTIPART,
    Storehouse,
    batch,
    fields_of,
    ids_of,
    multipart,
    params,
    storehouse,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

PREFIXES: Final = ("", "/hf")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Storehouse]:
    """A gateway of three credentials."""
    async with storehouse(tmp_path_factory.mktemp("objects")) as found:
        yield found


@pytest.fixture
def house(running: Storehouse) -> Storehouse:
    """The same, whose simulated Claude has no scripts of earlier tests."""
    running.simulator.script("*")
    running.simulator.objects.batches_linger = False
    running.simulator.objects.knows_ids = True
    return running


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_a_file_can_be_uploaded_seen_and_deleted(house: Storehouse, prefix: str) -> None:
    """Protects the life of a file, and that each of its calls goes where it lies."""
    sent = multipart(b"some words", filename="notes.txt")
    made = await house.ask("POST", f"{prefix}/v1/files", sent, headers={"content-type": MULTIPART})
    view = fields_of(made)
    assert (made.status, view["filename"], view["size_bytes"]) == (200, "notes.txt", 10)
    assert made.headers["x-carousel-attempts"] == "1"
    path = f"{prefix}/v1/files/{view['id']}"
    seen = await house.ask("GET", path)
    assert fields_of(seen) == view
    assert seen.headers["x-carousel-credential"] == made.headers["x-carousel-credential"]
    assert seen.headers["cache-control"] == "no-store"
    gone = await house.ask("DELETE", path)
    assert fields_of(gone) == {"id": view["id"], "type": "file_deleted"}
    assert (await house.ask("GET", path)).status == 404


async def test_uploads_take_turns(house: Storehouse) -> None:
    """Protects the rotation: files spread over the credentials."""
    holders = [house.holder(await house.upload()) for _ in range(3)]
    assert len(set(holders)) == 3


async def test_a_message_that_names_a_file_goes_to_whoever_holds_it(house: Storehouse) -> None:
    """Protects against asking a credential that has never seen the file, in every dialect and for each file."""
    for file_id in [await house.upload() for _ in range(3)]:
        for _ in range(2):
            answer = await house.says(params(file_id=file_id))
            assert answer.status == 200, answer.body
            assert house.simulator.record.requests[-1].key == house.holder(file_id)
        part = {"type": "file", "file": {"file_id": file_id}}
        chat = {"model": "claude-sonnet-5-5", "messages": [{"role": "user", "content": [part]}]}
        answer = await house.ask("POST", "/v1/chat/completions", msgspec.json.encode(chat))
        assert answer.status == 200, answer.body
        received = house.simulator.record.requests[-1]
        assert received.key == house.holder(file_id)
        assert (
            b'{"type":"document","source":{"type":"file","file_id":"%b"}}' % file_id.encode() in received.body
        )
        counted = {name: value for name, value in params(file_id=file_id).items() if name != "max_tokens"}
        answer = await house.ask("POST", "/v1/messages/count_tokens", msgspec.json.encode(counted))
        assert answer.status == 200, answer.body


async def test_a_batch_runs_to_its_results(house: Storehouse) -> None:
    """Protects the life of a batch: created, listed, ended, read, deleted."""
    batch_id = await house.batched(params("one"), params("two"))
    path = f"/v1/messages/batches/{batch_id}"
    view = fields_of(await house.ask("GET", path))
    assert (view["processing_status"], view["results_url"]) == ("ended", f"{path}/results")
    results = await house.ask("GET", f"{path}/results")
    lines = [msgspec.json.decode(line, type=dict[str, object]) for line in results.body.splitlines()]
    assert [line["custom_id"] for line in lines] == ["r0", "r1"]
    assert results.headers["content-type"] == "application/x-jsonl"
    assert batch_id in ids_of(await house.ask("GET", "/v1/messages/batches"))
    assert fields_of(await house.ask("DELETE", path))["type"] == "message_batch_deleted"
    assert batch_id not in ids_of(await house.ask("GET", "/v1/messages/batches"))


async def test_a_batch_can_be_canceled(house: Storehouse) -> None:
    """Protects the one call that stops work that is paid for."""
    house.simulator.objects.batches_linger = True
    path = f"/v1/messages/batches/{await house.batched()}"
    assert (await house.ask("GET", f"{path}/results")).status == 404
    assert fields_of(await house.ask("POST", f"{path}/cancel"))["processing_status"] == "canceling"
    assert fields_of(await house.ask("GET", path))["processing_status"] == "ended"
    assert b'"canceled"' in (await house.ask("GET", f"{path}/results")).body


async def test_a_batch_that_names_a_file_goes_to_whoever_holds_it(house: Storehouse) -> None:
    """Protects batches from a credential that cannot read what they name."""
    for file_id in [await house.upload() for _ in range(3)]:
        batch_id = await house.batched(params("first"), params(file_id=file_id))
        assert house.holder(batch_id) == house.holder(file_id)


async def test_batches_take_turns_whatever_files_their_client_has(house: Storehouse) -> None:
    """Protects the rotation: a batch that names no file may go anywhere."""
    await house.upload()
    assert len({house.holder(await house.batched()) for _ in range(3)}) == 3


@pytest.mark.parametrize("kind", ["files", "batches"])
async def test_nobody_sees_what_belongs_to_another_client(house: Storehouse, kind: str) -> None:
    """Protects every route that takes an id: for other clients there is no such object, and none hears of it."""
    root = "/v1/files" if kind == "files" else "/v1/messages/batches"
    theirs = await (house.upload() if kind == "files" else house.batched())
    before = house.simulator.record.requests_total
    calls = [
        ("GET", ""),
        ("DELETE", ""),
        *([("GET", "/content")] if kind == "files" else [("GET", "/results"), ("POST", "/cancel")]),
    ]
    for method, part in calls:
        answer = await house.ask(method, f"{root}/{theirs}{part}", key=BOB)
        assert (answer.status, answer.error.error.type) == (404, "not_found_error")
    for cursor in ("after_id", "before_id"):
        assert (await house.ask("GET", f"{root}?{cursor}={theirs}", key=BOB)).status == 404
    assert theirs not in ids_of(await house.ask("GET", root, key=BOB))
    if kind == "files":
        assert ids_of(await house.ask("GET", f"{root}?ids[]={theirs}", key=BOB)) == []
        for spelled in ('"file_id"', '"\\u0066ile_id"', '"file\\u005Fid"'):
            body = msgspec.json.encode(params(file_id=theirs)).replace(b'"file_id"', spelled.encode())
            answer = await house.ask("POST", "/v1/messages", body, key=BOB)
            assert answer.status == 404
            assert "messages[0].content[1].source.file_id" in answer.error.error.message
            many = batch(params()).replace(msgspec.json.encode(params()), body)
            answer = await house.ask("POST", "/v1/messages/batches", many, key=BOB)
            assert answer.status == 404
            assert "requests[0].params.messages[0]" in answer.error.error.message
    assert house.simulator.record.requests_total == before
    assert (await house.ask("GET", f"{root}/{theirs}", key=ALICE)).status == 200


@pytest.mark.parametrize(
    ("part", "field"),
    [
        ({"type": "file", "file": {"file_id": "ID"}}, "file"),
        ({"type": "image_url", "image_url": {"file_id": "ID"}}, "image_url"),
        ({"type": "file", "file": {"file_id": "ID", "type": "bash_code_execution_output"}}, "file"),
    ],
)
async def test_a_chat_names_no_file_of_another_client(
    house: Storehouse, part: dict[str, object], field: str
) -> None:
    """Protects files from every way a chat can name one, also where the name is dressed up as a tool's."""
    theirs = await house.upload()
    before = house.simulator.record.requests_total
    chat = {"model": "claude-sonnet-5-5", "messages": [{"role": "user", "content": [part]}]}
    body = msgspec.json.encode(chat).replace(b'"ID"', f'"{theirs}"'.encode())
    answer = await house.ask("POST", "/v1/chat/completions", body, key=BOB)
    assert answer.status == 404
    assert answer.error.error.param == f"messages[0].content[0].{field}.file_id"
    assert house.simulator.record.requests_total == before


@pytest.mark.parametrize("dressed", [{}, {"type": "tool_use"}], ids=["plain", "as a tool's"])
@pytest.mark.parametrize("kind", ["input_file", "input_image"])
async def test_a_response_names_its_clients_own_files_alone(
    house: Storehouse, kind: str, dressed: dict[str, str]
) -> None:
    """Protects files from responses, also where what a request says is dressed up, and in what goes on from them."""
    theirs = await house.upload()
    before = house.simulator.record.requests_total
    said = {"role": "user", "content": [{"type": kind, "file_id": theirs}]}
    body = msgspec.json.encode({"model": "claude-sonnet-5-5", "input": [said], **dressed})
    refused = await house.ask("POST", "/v1/responses", body, key=BOB)
    assert (refused.status, refused.error.error.param) == (404, "input[0].content[0].file_id")
    assert "image_url" not in refused.error.error.message
    assert house.simulator.record.requests_total == before
    if kind == "input_file" and not dressed:
        made = await house.ask("POST", "/v1/responses", body)
        on = {"model": "claude-sonnet-5-5", "input": "Again", "previous_response_id": fields_of(made)["id"]}
        again = await house.ask("POST", "/v1/responses", msgspec.json.encode(on))
        assert (made.status, again.status) == (200, 200)
        keys = [received.key for received in house.simulator.record.requests[-2:]]
        assert keys == [house.holder(theirs)] * 2


async def test_files_of_two_credentials_cannot_be_read_at_once(house: Storehouse) -> None:
    """Protects clients from an answer that has read half of what they named."""
    one, other = [await house.upload(), await house.upload()]
    assert house.holder(one) != house.holder(other)
    request = params(file_id=one)
    request["messages"] = [*params(file_id=one)["messages"], *params(file_id=other)["messages"]]  # type: ignore[misc]  # lists, as JSON has them
    answer = await house.says(request)
    assert answer.status == 400
    assert "messages[1].content[1].source.file_id" in answer.error.error.message


async def test_a_list_shows_what_lies_with_all_credentials_page_by_page(tmp_path: Path) -> None:
    """Protects paging in both directions: every object once, newest first, whoever holds it."""
    async with storehouse(tmp_path) as house:
        made = [await house.upload(filename=f"{number}.txt") for number in range(7)]
        await house.upload(key=BOB)
        newest_first = made[::-1]
        seen: list[object] = []
        query = "?limit=3"
        while True:
            page = await house.ask("GET", f"/v1/files{query}")
            view = fields_of(page)
            seen += ids_of(page)
            if not view["has_more"]:
                assert view["next_page"] is None
                break
            query = (
                f"?limit=3&page={view['next_page']}"
                if len(seen) < 6
                else f"?limit=3&after_id={view['last_id']}"
            )
        assert seen == newest_first
        back = await house.ask("GET", f"/v1/files?limit=2&before_id={newest_first[4]}")
        assert ids_of(back) == newest_first[2:4]
        assert fields_of(back)["has_more"] is True
        await house.ask("DELETE", f"/v1/files/{newest_first[2]}")
        house.simulator.objects.knows_ids = False
        del house.simulator.objects.files[newest_first[3]]
        after = await house.ask("GET", f"/v1/files?limit=2&after_id={newest_first[2]}")
        assert ids_of(after) == newest_first[4:6]


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "after_id=a&before_id=b", "page=3"])
async def test_a_query_that_makes_no_sense_is_refused_by_name(house: Storehouse, query: str) -> None:
    """Protects clients from a list that is not the one they asked for."""
    answer = await house.ask("GET", f"/v1/files?{query}")
    assert answer.status == 400
    assert answer.error.error.message.split()[0] in {"limit", "after_id", "page"}


async def test_downloads_come_as_something_to_be_saved(house: Storehouse) -> None:
    """Protects browsers: what was uploaded once, or made by a tool, never runs under the gateway's address."""
    file_id = await house.upload(b"<script>alert(1)</script>", filename="a.html")
    refused = await house.ask("GET", f"/v1/files/{file_id}/content")
    assert (refused.status, refused.error.error.message) == (400, "File is not downloadable.")
    stored = house.simulator.objects.files[file_id]
    stored.content, stored.view["mime_type"] = b"<script>alert(1)</script>", "text/html"
    answer = await house.ask("GET", f"/v1/files/{file_id}/content")
    assert answer.body == b"<script>alert(1)</script>"
    assert answer.headers["content-disposition"] == "attachment"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("sandbox")
    head = await house.ask("HEAD", f"/v1/files/{file_id}/content")
    assert (head.status, head.body) == (200, b"")


async def test_what_the_owner_says_of_its_state_is_told(house: Storehouse) -> None:
    """Protects the truth about an owner that is out: a limit is 429 with its time, and nobody else is asked."""
    file_id = await house.upload()
    key = house.holder(file_id)
    limited = Step("status", status=429, headers={"retry-after": "7"})
    house.simulator.script(key, [limited])
    before = house.simulator.record.requests_total
    answer = await house.says(params(file_id=file_id))
    assert (answer.status, answer.headers["retry-after"]) == (429, "7")
    assert "holds this" in answer.error.error.message
    assert house.simulator.record.requests_total == before + 1
    again = await house.says(params(file_id=file_id))
    assert again.status == 429
    assert house.simulator.record.requests_total == before + 1
    assert (await house.ask("GET", f"/v1/files/{file_id}")).status == 200
