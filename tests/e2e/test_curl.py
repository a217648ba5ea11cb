"""curl in both dialects, as people paste it from the provider's own documentation."""

import asyncio
import os
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
import pytest
import pytest_asyncio

from proxy.simulator import Step
from tests.support.gateway import CLIENT_KEY
from tests.support.house import House, Spoken, body_of, house

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.needs("curl")]

LIMIT_S: Final = 60.0
HEADERS: Final = {
    Spoken.CHAT: (f"Authorization: Bearer {CLIENT_KEY}",),
    Spoken.MESSAGES: (f"x-api-key: {CLIENT_KEY}", "anthropic-version: 2023-06-01"),
}
GREETING: Final = 'You said: "Hello!"'


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """A gateway of one key, in front of a simulated Claude."""
    async with house(tmp_path_factory.mktemp("curl"), keys=("k1",)) as found:
        yield found


@asynccontextmanager
async def curl(running: House, spoken: Spoken, *arguments: str) -> AsyncIterator[Process]:
    """A running curl with the key in the header its dialect's users put it in; ended in the end."""
    headers = [part for header in HEADERS[spoken] for part in ("-H", header)]
    process = await asyncio.create_subprocess_exec(
        "curl",
        "--silent",
        "--show-error",
        *headers,
        *arguments,
        env={"PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1"},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def asking(running: House, spoken: Spoken, *, stream: bool) -> tuple[str, ...]:
    """The arguments of a question."""
    body = body_of(spoken, stream=stream, text="Hello!").decode()
    return (running.server.url + spoken.value, "-H", "Content-Type: application/json", "-d", body)


async def printed(running: House, spoken: Spoken, *arguments: str) -> str:
    """All that a curl prints; it has to end well."""
    async with curl(running, spoken, *arguments) as process:
        said, _ = await asyncio.wait_for(process.communicate(), LIMIT_S)
    assert process.returncode == 0
    return said.decode()


@pytest.mark.parametrize("spoken", Spoken)
async def test_a_whole_answer_is_printed_with_its_headers(running: House, spoken: Spoken) -> None:
    """Protects whoever looks at an answer for the first time."""
    head, _, body = (await printed(running, spoken, "-i", *asking(running, spoken, stream=False))).partition(
        "\r\n\r\n"
    )
    assert head.startswith("HTTP/1.1 200 OK")
    assert "content-type: application/json" in head.lower()
    assert "x-request-id: req_" in head.lower()
    assert GREETING in str(msgspec.json.decode(body))


@pytest.mark.parametrize(
    ("spoken", "end"), [(Spoken.CHAT, "data: [DONE]"), (Spoken.MESSAGES, 'data: {"type":"message_stop"}')]
)
async def test_a_stream_is_printed_to_its_end(running: House, spoken: Spoken, end: str) -> None:
    """Protects the streaming examples: every event, and a transfer that curl takes for whole."""
    said = await printed(running, spoken, "-N", *asking(running, spoken, stream=True))
    assert said.rstrip().endswith(end)
    assert said.count("data: {") > 3


@pytest.mark.parametrize("spoken", Spoken)
async def test_events_are_printed_while_the_model_still_speaks(running: House, spoken: Spoken) -> None:
    """Protects streaming itself: what has been said is on the screen although the end never comes."""
    running.simulator.script("k1", [Step("stall_mid", after=4)])
    async with curl(running, spoken, "-N", *asking(running, spoken, stream=True)) as process:
        assert process.stdout is not None
        said = b""
        while b"You " not in said:
            block = await asyncio.wait_for(process.stdout.read(65536), LIMIT_S)
            assert block
            said += block
        assert process.returncode is None


@pytest.mark.parametrize("spoken", Spoken)
async def test_models_are_printed_in_the_shape_of_the_dialect(running: House, spoken: Spoken) -> None:
    """Protects looking up which models there are."""
    listed = msgspec.json.decode(
        await printed(running, spoken, running.server.url + "/v1/models"), type=dict[str, object]
    )
    assert ("object" in listed) is (spoken is Spoken.CHAT)
    assert ("has_more" in listed) is (spoken is Spoken.MESSAGES)


async def test_tokens_are_counted(running: House) -> None:
    """Protects the endpoint that costs nothing."""
    url = running.server.url + "/v1/messages/count_tokens"
    body = '{"model":"claude-sonnet-5-5","messages":[{"role":"user","content":"Hello!"}]}'
    said = await printed(running, Spoken.MESSAGES, url, "-H", "Content-Type: application/json", "-d", body)
    assert list(msgspec.json.decode(said, type=dict[str, int])) == ["input_tokens"]


async def test_a_file_of_two_megabytes_is_sent_whole(running: House, tmp_path: Path) -> None:
    """Protects curl's question whether a large body is welcome (``Expect: 100-continue``), which has to be answered."""
    text = "word " * 400_000
    file = tmp_path / "body.json"
    file.write_bytes(body_of(Spoken.MESSAGES, stream=False, text=text))
    arguments = ("-H", "Content-Type: application/json", "-H", "Expect: 100-continue", "-d", f"@{file}")
    said = await printed(running, Spoken.MESSAGES, running.server.url + Spoken.MESSAGES.value, *arguments)
    assert "message" in said
    assert running.simulator.record.requests[-1].body_bytes > len(text)
