"""Images that clients name by path or by URL, through the whole house."""

import binascii
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from tests.support.house import MODEL, House, Spoken, house
from tests.support.pictures import png

pytestmark = pytest.mark.asyncio(loop_scope="module")

DATA = binascii.b2a_base64(png(7, 9), newline=False).decode()
FIELD = "messages[0].content[1].image_url.url"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that is open to requests, within one that is not."""
    folder = tmp_path_factory.mktemp("house")
    (folder / "images").mkdir()
    (folder / "images" / "a.png").write_bytes(png(7, 9))
    (folder / "images" / "link.png").symlink_to(folder / "closed.png")
    (folder / "closed.png").write_bytes(png(6, 6))
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(folder: Path) -> AsyncIterator[House]:
    """A gateway that reads files of one directory, and fetches nothing."""
    settings = {"CLAUDE_CODE__FILE_ACCESS__ADDITIONAL_DIRS": f'["{folder}/images"]'}
    async with house(folder, settings, keys=("k1",)) as found:
        yield found


def _body(url: str, *, stream: bool = False) -> bytes:
    content = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url}}]
    return msgspec.json.encode(
        {"model": MODEL, "messages": [{"role": "user", "content": content}], "stream": stream}
    )


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("scheme", ["", "file://"])
async def test_an_image_named_by_its_path_is_shown_to_the_model(
    running: House, folder: Path, scheme: str, *, stream: bool
) -> None:
    """Protects those who send paths to a gateway on their own machine, unary and streamed."""
    running.simulator.reset()
    answer = await running.send(Spoken.CHAT, _body(f"{scheme}{folder}/images/a.png", stream=stream))
    assert answer.status == 200
    (received,) = running.simulator.record.requests
    assert f'{{"type":"base64","media_type":"image/png","data":"{DATA}"}}'.encode() in received.body
    assert str(folder).encode() not in received.body


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "path", ["closed.png", "images/link.png", "images/../closed.png", "images/none.png", "sessions.json"]
)
async def test_every_other_path_is_a_400_that_names_field_and_setting(
    running: House, folder: Path, path: str, *, stream: bool
) -> None:
    """Protects every other file, and clients from a riddle; nothing goes upstream."""
    running.simulator.reset()
    answer = await running.send(Spoken.CHAT, _body(f"{folder}/{path}", stream=stream))
    assert (answer.status, answer.error.error.param) == (400, FIELD)
    assert answer.error.error.type == "invalid_request_error"
    assert "CLAUDE_CODE_ROOTS" in answer.error.error.message
    assert str(folder).encode() not in answer.body
    assert running.simulator.record.requests == []


async def test_a_url_reaches_the_api_unfetched(running: House) -> None:
    """Protects this machine from fetching what the API fetches itself."""
    running.simulator.reset()
    answer = await running.send(Spoken.CHAT, _body("https://images.invalid/a.png"))
    assert answer.status == 200
    (received,) = running.simulator.record.requests
    assert b'{"type":"url","url":"https://images.invalid/a.png"}' in received.body
