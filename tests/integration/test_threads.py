"""Message threads, whose turns hold nothing of what came before: they go where the thread is held.

Source: the ``thread`` parameter of the beta Messages page of Anthropic's API reference.
"""

from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio

from proxy.dialects.sse import SseDecoder
from tests.support.gateway import ADMIN_KEY
from tests.support.house import MODEL, Answer, House, Spoken, house

pytestmark = pytest.mark.asyncio(loop_scope="module")

HEADERS = {"anthropic-beta": "message-threads-2026-08-12"}
KEYS = ("k1", "k2", "k3", "k4")


class Said(msgspec.Struct):
    """The id of an answer."""

    id: str


class Begun(msgspec.Struct):
    """The event in which a stream tells its id."""

    message: Said


class Refusal(msgspec.Struct):
    """What SDKs act on."""

    details: dict[str, object]


class Refused(msgspec.Struct):
    """An error with details."""

    error: Refusal


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """A gateway of four keys, each of an organization of its own."""
    async with house(tmp_path_factory.mktemp("threads"), keys=KEYS) as found:
        yield found


async def turn(running: House, follows: str = "", *, stream: bool = False, text: str = "Go on") -> Answer:
    """One turn of a thread: its first, or the one that follows an answer."""
    thread = {"type": "continue", "previous_message_id": follows} if follows else {"type": "create"}
    body = {
        "model": MODEL,
        "max_tokens": 1000,
        "stream": stream,
        "thread": thread,
        "messages": [{"role": "user", "content": text}],
    }
    return await running.send(Spoken.MESSAGES, msgspec.json.encode(body), headers=HEADERS)


def id_of(answer: Answer, *, stream: bool) -> str:
    """The id of a whole or a streamed answer."""
    assert answer.status == 200, answer.body
    if not stream:
        return msgspec.json.decode(answer.body, type=Said).id
    return msgspec.json.decode(SseDecoder(10_000).feed(answer.body)[0].data, type=Begun).message.id


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_every_turn_is_answered_by_who_holds_the_thread(running: House, *, stream: bool) -> None:
    """Protects threads from rotation, under which three of four turns would find nothing."""
    for _ in KEYS:
        first = await turn(running, stream=stream)
        home, last = first.headers["x-carousel-credential"], id_of(first, stream=stream)
        for number in range(2, 5):
            answer = await turn(running, last, stream=stream)
            last = id_of(answer, stream=stream)
            assert answer.headers["x-carousel-credential"] == home
            assert answer.headers["x-carousel-attempts"] == "1"
            assert f"({2 * number - 1} messages" in answer.body.decode() or stream


async def test_a_turn_can_be_followed_twice(running: House) -> None:
    """Protects clients that try another branch from the same answer."""
    first = await turn(running)
    follows = id_of(first, stream=False)
    answers = [await turn(running, follows, text=text) for text in ("One", "Two", "Three")]
    assert {answer.headers["x-carousel-credential"] for answer in answers} == {
        first.headers["x-carousel-credential"]
    }


async def test_a_thread_whose_holder_is_out_of_use_is_told_to_be_lost(running: House) -> None:
    """Protects the SDKs' own way out: told so by these details, they send the whole conversation again."""
    first = await turn(running)
    home = first.headers["x-carousel-credential"]
    url = f"{running.server.url}/admin/pool/{home}"
    admin = {"authorization": f"Bearer {ADMIN_KEY}"}
    async with running.session.post(f"{url}/disable", headers=admin) as done:
        assert done.status == 200
    try:
        answer = await turn(running, id_of(first, stream=False))
    finally:
        async with running.session.post(f"{url}/enable", headers=admin) as done:
            assert done.status == 200
    assert (answer.status, answer.error.error.type) == (404, "not_found_error")
    details = msgspec.json.decode(answer.body, type=Refused).error.details
    assert details == {"error_code": "thread_not_found"}
    assert (await turn(running, id_of(first, stream=False))).status == 200
