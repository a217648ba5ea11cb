"""Files and batches of the simulated API: each organization's own, with a ledger of what became of them."""

import msgspec
import pytest

from proxy.simulator import Simulator
from proxy.simulator.uploads import UploadFault
from tests.support.objects import MULTIPART, batch, multipart, params
from tests.unit.simulator.client import Answer, ask, converse, parse, request_bytes

_FORM = {"content-type": MULTIPART}


async def _upload(simulator: Simulator, content: bytes = b"words", *, key: str = "k") -> str:
    answer = await ask(simulator, multipart(content), path="/v1/files", key=key, headers=_FORM)
    assert answer.status == 200, answer.body
    return str(answer.json()["id"])


async def _get(simulator: Simulator, path: str, *, key: str = "k") -> Answer:
    return await ask(simulator, method="GET", path=path, key=key)


async def test_a_file_belongs_to_the_organization_of_its_key(simulator: Simulator) -> None:
    """Keys of one organization share it, and nobody else hears of it; a message may name it likewise."""
    simulator.assign("sibling", "org")
    simulator.assign("k", "org")
    file_id = await _upload(simulator)
    for key, status in (("k", 200), ("sibling", 200), ("stranger", 404)):
        assert (await _get(simulator, f"/v1/files/{file_id}", key=key)).status == status
        assert (await ask(simulator, params(file_id=file_id), key=key)).status == status
    assert [(entry.what, entry.key) for entry in simulator.objects.ledger] == [("made", "k")]


async def test_lists_have_pages_and_take_ids(simulator: Simulator) -> None:
    """Newest first; ids that are nobody's are left out."""
    made = [await _upload(simulator) for _ in range(3)]
    page = (await _get(simulator, "/v1/files?limit=2")).json()
    assert (page["first_id"], page["last_id"], page["has_more"]) == (made[2], made[1], True)
    rest = (await _get(simulator, f"/v1/files?after_id={made[1]}")).json()
    assert (rest["first_id"], rest["has_more"]) == (made[0], False)
    some = await _get(simulator, f"/v1/files?ids[]={made[0]}&ids[]=file_x")
    assert msgspec.json.decode(some.body)["data"][0]["id"] == made[0]


async def test_what_a_tool_made_can_be_downloaded_and_nothing_else(simulator: Simulator) -> None:
    """The content of uploads is not kept, as the real API gives none of it back."""
    assert (await _get(simulator, f"/v1/files/{await _upload(simulator)}/content")).status == 400
    simulator.assign("k", "org")
    made = simulator.objects.make_file("org", b"\x89PNG")
    answer = await _get(simulator, f"/v1/files/{made}/content")
    assert (answer.headers["content-type"], answer.body) == ("image/png", b"\x89PNG")


async def test_a_batch_ends_when_it_is_looked_at_or_canceled(simulator: Simulator) -> None:
    """Tests need both: a batch that is done, and one that goes on."""
    made = (await ask(simulator, batch(params()), path="/v1/messages/batches")).json()
    path = f"/v1/messages/batches/{made['id']}"
    assert made["processing_status"] == "in_progress"
    assert (await _get(simulator, path)).json()["processing_status"] == "ended"
    assert b'"type":"succeeded"' in (await _get(simulator, f"{path}/results")).body
    simulator.objects.batches_linger = True
    other = (await ask(simulator, batch(params()), path="/v1/messages/batches")).json()
    path = f"/v1/messages/batches/{other['id']}"
    assert (await ask(simulator, method="DELETE", path=path)).status == 400
    assert (await ask(simulator, path=f"{path}/cancel")).json()["processing_status"] == "canceling"
    assert (await _get(simulator, path)).json()["processing_status"] == "ended"
    assert b'"type":"canceled"' in (await _get(simulator, f"{path}/results")).body


@pytest.mark.parametrize(("status", "expected"), [(0, 0), (413, 413)])
async def test_an_upload_can_be_ended_in_its_middle(simulator: Simulator, status: int, expected: int) -> None:
    """By a reset or by an answer, before its last byte has come; either way there is no file."""
    simulator.objects.upload_faults["k"] = UploadFault(1000, status)
    wire = request_bytes(multipart(b"x" * 5000), path="/v1/files", headers=_FORM)
    answer, was_reset = await converse(simulator, wire[:-100])
    assert parse(answer, was_reset=was_reset).status == expected
    assert simulator.objects.files == {}
