"""Files and batches with the official Anthropic SDK: what its users write has to work unchanged."""

from collections.abc import AsyncIterator
from typing import Final

import anthropic
import pytest
import pytest_asyncio
from anthropic.types import DeletedFile, FileMetadata
from anthropic.types.messages import (
    DeletedMessageBatch,
    MessageBatch,
    MessageBatchIndividualResponse,
    MessageBatchSucceededResult,
)

from tests.support.sdk import (
    ECHO,
    GREETING,
    MODEL,
    AnthropicUser,
    Judged,
    iterated,
    judged,
    saying,
    settled,
    told,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

_TEXT: Final = ("notes.txt", b"some words", "text/plain")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def judge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Judged]:
    """A gateway in front of a simulated Claude."""
    async with judged(tmp_path_factory.mktemp("objects")) as running:
        yield running


@pytest.fixture(params=[True, False], ids=["sync", "async"])
def sync(request: pytest.FixtureRequest) -> bool:
    """Whether the sync client is used."""
    return bool(request.param)


@pytest.fixture(params=["", "/hf"], ids=["v1", "hf"])
def user(judge: Judged, sync: bool, request: pytest.FixtureRequest) -> AnthropicUser:
    """A user whose pool is healthy."""
    return judge.anthropic(judge.pool(), sync=sync, prefix=str(request.param))


async def _uploaded(user: AnthropicUser) -> FileMetadata:
    return await told(user.client.files.upload, FileMetadata, file=_TEXT)


async def test_a_file_lives_from_upload_to_deletion(user: AnthropicUser) -> None:
    """Protects every call of the files API."""
    made = await _uploaded(user)
    assert (made.filename, made.size_bytes, made.mime_type) == ("notes.txt", 10, "text/plain")
    seen = await told(user.client.files.retrieve_metadata, FileMetadata, file_id=made.id)
    assert seen == made
    with pytest.raises(anthropic.BadRequestError, match="not downloadable"):
        await told(user.client.files.download, object, file_id=made.id)
    gone = await told(user.client.files.delete, DeletedFile, file_id=made.id)
    assert gone.id == made.id
    with pytest.raises(anthropic.NotFoundError):
        await told(user.client.files.retrieve_metadata, FileMetadata, file_id=made.id)


async def test_what_a_tool_made_can_be_downloaded(judge: Judged, user: AnthropicUser) -> None:
    """Protects the bytes of a download."""
    made = await _uploaded(user)
    judge.simulator.objects.files[made.id].content = b"\x89PNG and more"
    answer = await told(user.client.files.download, object, file_id=made.id)
    read = getattr(answer, "read")  # noqa: B009 - of either client's own kind
    assert await settled(read()) == b"\x89PNG and more"


async def test_lists_go_through_all_pages(user: AnthropicUser) -> None:
    """Protects the SDK's own paging, which most users iterate with."""
    made = [(await _uploaded(user)).id for _ in range(5)]
    seen: list[object] = []
    await iterated(user.client.files.list, seen, limit=2)
    assert [getattr(one, "id", "") for one in seen] == made[::-1]
    batches = [(await _created(user)).id for _ in range(3)]
    seen = []
    await iterated(user.client.messages.batches.list, seen, limit=2)
    assert [getattr(one, "id", "") for one in seen] == batches[::-1]


def _naming(file_id: str) -> list[dict[str, object]]:
    source = {"type": "file", "file_id": file_id}
    content = [{"type": "text", "text": GREETING}, {"type": "document", "source": source}]
    return [{"role": "user", "content": content}]


async def test_a_message_can_name_a_file(judge: Judged, user: AnthropicUser) -> None:
    """Protects the reason for uploading: whichever credential holds it, each question finds it."""
    made = [(await _uploaded(user)).id for _ in range(3)]
    for file_id in made:
        await user.asks(messages=_naming(file_id))
        events: list[object] = []
        await user.streams(events, messages=_naming(file_id))
        assert getattr(events[-1], "type", "") == "message_stop"
    stranger = judge.anthropic(judge.pool(), sync=True)
    with pytest.raises(anthropic.NotFoundError, match=r"source\.file_id"):
        await stranger.asks(messages=_naming(made[0]))


async def _created(user: AnthropicUser, *texts: str) -> MessageBatch:
    requests = [
        {"custom_id": f"r{number}", "params": {"model": MODEL, "max_tokens": 99, "messages": [saying(text)]}}
        for number, text in enumerate(texts or (GREETING,))
    ]
    return await told(user.client.messages.batches.create, MessageBatch, requests=requests)


async def test_a_batch_lives_from_creation_to_deletion(user: AnthropicUser) -> None:
    """Protects every call of the batches API; its results come from where the client has a key."""
    batches = user.client.messages.batches
    made = await _created(user, GREETING, GREETING)
    assert (made.processing_status, made.request_counts.processing) == ("in_progress", 2)
    ended = await told(batches.retrieve, MessageBatch, message_batch_id=made.id)
    assert ended.processing_status == "ended"
    results: list[object] = []
    await iterated(batches.results, results, message_batch_id=made.id)
    for number, one in enumerate(results):
        assert isinstance(one, MessageBatchIndividualResponse)
        assert one.custom_id == f"r{number}"
        assert isinstance(one.result, MessageBatchSucceededResult)
        assert getattr(one.result.message.content[0], "text", "") == ECHO
    assert len(results) == 2
    gone = await told(batches.delete, DeletedMessageBatch, message_batch_id=made.id)
    assert gone.id == made.id


async def test_a_batch_can_be_canceled(judge: Judged, user: AnthropicUser) -> None:
    """Protects the call that stops what costs."""
    judge.simulator.objects.batches_linger = True
    try:
        made = await _created(user)
        canceled = await told(user.client.messages.batches.cancel, MessageBatch, message_batch_id=made.id)
    finally:
        judge.simulator.objects.batches_linger = False
    assert canceled.processing_status == "canceling"
