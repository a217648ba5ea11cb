"""Requests of megabytes and of ten thousand messages: whole at the upstream, and no other client waits for them."""

import base64
import random
from collections.abc import AsyncIterator, Callable
from io import BytesIO
from typing import Final

import msgspec
import pytest
import pytest_asyncio

from tests.support.apart import Apart, house_apart
from tests.support.gateway import CLIENT_KEY
from tests.support.house import MODEL, Answer, House, Spoken, read_answer

pytestmark = pytest.mark.asyncio(loop_scope="module")

BUSY_S: Final = 0.05
ROUNDS: Final = 6
MESSAGES: Final = 10_000
IMAGES: Final = 3
STORED_IMAGES: Final = 12
_HEAD: Final = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ")
IMAGE: Final = base64.b64encode(_HEAD + random.Random(0).randbytes(1_250_000)).decode()
LOOK: Final = {"type": "text", "text": "Look"}


class Block(msgspec.Struct):
    """What is looked at of a block that reached the upstream."""

    type: str
    text: str = ""
    source: dict[str, str] = {}
    id: str = ""
    tool_use_id: str = ""


class Message(msgspec.Struct):
    """A message that reached the upstream."""

    role: str
    content: str | list[Block]


class Received(msgspec.Struct):
    """A request that reached the upstream."""

    messages: list[Message]


def images_of_messages() -> bytes:
    """Five megabytes of images for Messages."""
    source = {"type": "base64", "media_type": "image/png", "data": IMAGE}
    return request_of(Spoken.MESSAGES, [saying([{"type": "image", "source": source}] * IMAGES + [LOOK])])


def images_of_chat() -> bytes:
    """The same for Chat Completions."""
    url = {"url": f"data:image/png;base64,{IMAGE}"}
    return request_of(Spoken.CHAT, [saying([{"type": "image_url", "image_url": url}] * IMAGES + [LOOK])])


def talk(spoken: Spoken) -> bytes:
    """Ten thousand short messages, and one more, so that the last one is the user's."""
    return request_of(
        spoken,
        [saying(f"word {number}", ("user", "assistant")[number % 2]) for number in range(MESSAGES + 1)],
    )


def calls_of_chat() -> bytes:
    """The same made of calls and their results, which is the most there is to translate."""
    turns: list[dict[str, object]] = [saying("word 0")]
    for number in range(1, MESSAGES // 2 + 1):
        call = {"id": f"call_{number}", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        turns.append({"role": "assistant", "content": None, "tool_calls": [call]})
        turns.append({"role": "tool", "tool_call_id": f"call_{number}", "content": f"word {number}"})
    return request_of(Spoken.CHAT, turns)


def saying(content: object, role: str = "user") -> dict[str, object]:
    """A message."""
    return {"role": role, "content": content}


def request_of(spoken: Spoken, messages: list[dict[str, object]]) -> bytes:
    """A request with these messages."""
    limit = {"max_tokens": 100} if spoken is Spoken.MESSAGES else {}
    return msgspec.json.encode({"model": MODEL, "messages": messages, **limit})


def check_images(received: Received, _sent: bytes) -> None:
    """Every image has arrived as it was."""
    (message,) = received.messages
    assert not isinstance(message.content, str)
    *images, text = message.content
    assert [image.source["data"] == IMAGE for image in images] == [True] * IMAGES
    assert text.text == "Look"


def check_talk(received: Received, _sent: bytes) -> None:
    """Every message has arrived, in its place."""
    texts = [
        message.content if isinstance(message.content, str) else message.content[0].text
        for message in received.messages
    ]
    assert texts == [f"word {number}" for number in range(MESSAGES + 1)]


def check_calls(received: Received, _sent: bytes) -> None:
    """Every call and every result has arrived, in its place."""
    assert len(received.messages) == MESSAGES + 1
    blocks = [message.content[0] for message in received.messages if not isinstance(message.content, str)]
    ids = [block.id or block.tool_use_id for block in blocks if block.type != "text"]
    assert ids == [f"call_{1 + number // 2}" for number in range(MESSAGES)]


Checked = Callable[[Received, bytes], None]
CASES: Final[dict[str, tuple[Spoken, Callable[[], bytes], Checked]]] = {
    "images, Messages": (Spoken.MESSAGES, images_of_messages, check_images),
    "images, Chat": (Spoken.CHAT, images_of_chat, check_images),
    "messages, Messages": (Spoken.MESSAGES, lambda: talk(Spoken.MESSAGES), check_talk),
    "messages, Chat": (Spoken.CHAT, lambda: talk(Spoken.CHAT), check_talk),
    "calls, Chat": (Spoken.CHAT, calls_of_chat, check_calls),
}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def apart(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[House, Apart]]:
    """A gateway in a process of its own, with a probe in its loop."""
    async with house_apart(tmp_path_factory.mktemp("large")) as found:
        yield found


async def sent(running: House, spoken: Spoken, body: bytes) -> Answer:
    """The answer to a body that is sent from a file, as the client wants large ones."""
    headers = {"content-type": "application/json", "authorization": f"Bearer {CLIENT_KEY}"}
    async with running.session.post(
        running.server.url + spoken.value, data=BytesIO(body), headers=headers
    ) as response:
        return await read_answer(response)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_a_large_request_is_answered_whole_and_holds_up_nobody(
    apart: tuple[House, Apart], case: tuple[Spoken, Callable[[], bytes], Checked]
) -> None:
    """Protects long conversations, and the streams of everybody else while one is read, translated and sent.

    Caches, and the clock of the processor, may be cold at first, so the best of some rounds is looked at.
    """
    running, gateway = apart
    spoken, make, check = case
    body = make()
    busy_s: list[float] = []
    while len(busy_s) < ROUNDS and min(busy_s, default=BUSY_S) >= BUSY_S:
        running.simulator.reset()
        await gateway.longest_busy_s()
        answer = await sent(running, spoken, body)
        busy_s.append(await gateway.longest_busy_s())
        assert answer.status == 200, answer.body
        (received,) = running.simulator.record.requests
        check(msgspec.json.decode(received.body, type=Received), body)
        if spoken is Spoken.MESSAGES:
            assert received.body == body
    assert min(busy_s) < BUSY_S, busy_s


class Made(msgspec.Struct):
    """What is looked at of a response."""

    id: str


async def test_a_large_stored_response_is_gone_on_from_and_holds_up_nobody(
    apart: tuple[House, Apart],
) -> None:
    """Protects everybody's streams from long conversations that are kept here: stored, read again and sent on."""
    running, gateway = apart
    url, headers = f"{running.server.url}/v1/responses", {"authorization": f"Bearer {CLIENT_KEY}"}
    image = {"type": "input_image", "image_url": f"data:image/png;base64,{IMAGE}"}
    look = {"type": "input_text", "text": "Look"}
    first: dict[str, object] = {"model": MODEL, "input": [saying([image] * STORED_IMAGES + [look])]}

    async def asked(fields: dict[str, object]) -> Made:
        body = BytesIO(msgspec.json.encode(fields))
        async with running.session.post(url, data=body, headers=headers) as response:
            answer = await read_answer(response)
        assert answer.status == 200, answer.body
        return msgspec.json.decode(answer.body, type=Made)

    busy_s: list[float] = []
    while len(busy_s) < ROUNDS and min(busy_s, default=BUSY_S) >= BUSY_S:
        running.simulator.reset()
        await gateway.longest_busy_s()
        made = await asked(first)
        await asked({"model": MODEL, "input": "Again", "previous_response_id": made.id})
        busy_s.append(await gateway.longest_busy_s())
        received = msgspec.json.decode(running.simulator.record.requests[-1].body, type=Received)
        assert [message.role for message in received.messages] == ["user", "assistant", "user"]
        images = received.messages[0].content[:-1]
        assert [isinstance(block, Block) and block.source["data"] == IMAGE for block in images] == [
            True
        ] * STORED_IMAGES
    assert min(busy_s) < BUSY_S, busy_s
