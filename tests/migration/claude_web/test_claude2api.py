"""Moving here from Claude2Api: its own configurations and curl lines, run against the program as users start it."""

import asyncio
import base64
import os
import random
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import pytest

from proxy.simulator import Simulator, Step
from proxy.simulator.multipart import file_part
from tests.migration.claude_web.examples import (
    CHAT,
    COMPOSE,
    DIRECT,
    DOCKER,
    IMAGE,
    SETTINGS,
    environment,
    filled,
)
from tests.support.pictures import jpeg, segment
from tests.support.program import ROOT, Program, started
from tests.support.proxies import Sort, front, real_proxy
from tests.support.web_sessions import nothing_left, place_of

pytestmark = pytest.mark.needs("curl")

_KEY: Final = "123"
_SESSIONS: Final = ("sk-ant-sid01-xxxx", "sk-ant-sid01-yyyy")
_LIMIT_S: Final = 60.0


class _Said(msgspec.Struct):
    """The text of a message or a delta."""

    content: str | None = None


class _Choice(msgspec.Struct):
    """A choice, of an answer or of a chunk."""

    message: _Said | None = None
    delta: _Said | None = None


class _Answer(msgspec.Struct):
    """An answer, or a chunk of one."""

    choices: list[_Choice]


class _Attachment(msgspec.Struct):
    """A text file of a question to the site."""

    file_name: str
    extracted_content: str


class _Question(msgspec.Struct):
    """A question as the site got it."""

    prompt: str
    thinking_mode: str = "off"
    attachments: list[_Attachment] = []


@dataclass(frozen=True, slots=True)
class Printed:
    """What a curl line printed."""

    status: int
    body: str

    @property
    def text(self) -> str:
        """The text of a whole answer."""
        message = msgspec.json.decode(self.body, type=_Answer).choices[0].message
        return "" if message is None else message.content or ""

    @property
    def streamed_text(self) -> str:
        """The text of a streamed answer, which has to have come to its end."""
        assert self.body.rstrip().endswith("data: [DONE]")
        lines = [line.removeprefix("data: ") for line in self.body.splitlines() if line.startswith("data: {")]
        chunks = [msgspec.json.decode(line, type=_Answer) for line in lines]
        deltas = [choice.delta for chunk in chunks for choice in chunk.choices]
        return "".join(delta.content or "" for delta in deltas if delta is not None)


@dataclass(frozen=True, slots=True)
class Moved:
    """The program with somebody's settings from there, in front of a simulated claude.ai."""

    program: Program
    simulator: Simulator

    async def curl(self, example: str, *, key: str = _KEY, image: str = "") -> Printed:
        """Run a curl line in a shell."""
        address = f"localhost:{self.program.url.rpartition(':')[2]}"
        text = filled(example, address=address, key=key, image=image)
        process = await asyncio.create_subprocess_exec(
            *("sh", "-c", text.replace("curl ", "curl -sS -w '\\n%{http_code}' ", 1)),
            env={"PATH": os.environ["PATH"], "NO_PROXY": "localhost"},
            stdout=asyncio.subprocess.PIPE,
        )
        printed, _ = await asyncio.wait_for(process.communicate(), _LIMIT_S)
        assert process.returncode == 0
        body, _, status = printed.decode().rpartition("\n")
        return Printed(int(status), body)

    @property
    def questions(self) -> list[_Question]:
        """What the site was asked."""
        asked = [one for one in self.simulator.record.requests if one.path.endswith("/completion")]
        return [msgspec.json.decode(one.body, type=_Question) for one in asked]


@asynccontextmanager
async def moved(
    folder: Path, simulator: Simulator, written: str = DOCKER, **settings: str
) -> AsyncIterator[Moved]:
    """Start the program with the settings a text names, on a free port, and with others of one's own."""
    chosen = {
        "CLAUDE_WEB_BASE_URL": place_of(simulator.url),
        "DATA_DIR": str(folder / "data"),
        **environment(written),
        "ADDRESS": "127.0.0.1:0",
        **settings,
    }
    async with started(folder, "serve", **chosen) as program:
        yield Moved(program, simulator)


def example_with(example: str, changes: Mapping[str, str]) -> str:
    """An example in which a user has put other words."""
    for old, new in changes.items():
        assert old in example
        example = example.replace(old, new)
    return example


@pytest.mark.parametrize("written", [DOCKER, DIRECT], ids=["docker", "direct"])
async def test_the_settings_and_the_chat_example_work_as_they_are(
    tmp_path: Path, simulator: Simulator, written: str
) -> None:
    """Protects users of the other program: their environment starts this one, and their first line streams."""
    async with moved(tmp_path, simulator, written) as found:
        printed = await found.curl(CHAT)
        assert printed.status == 200
        assert printed.streamed_text == 'You said: "Hello, Claude!"'
        assert printed.body.count("data: {") > 3
        await nothing_left(simulator, made=1)


@pytest.mark.needs("tinyproxy", "openssl")
async def test_the_compose_file_works_with_its_proxy(tmp_path: Path, simulator: Simulator) -> None:
    """Protects those behind a proxy: the site sees nobody else, and code comes in the answer, as the file says."""
    async with (
        real_proxy(Sort.HTTP, tmp_path) as proxy,
        front(simulator, tmp_path) as outside,
        moved(
            *(tmp_path, simulator, COMPOSE),
            PROXY=proxy.url,
            CLAUDE_WEB_BASE_URL=outside.url,
            SSL_CERT_FILE=str(outside.trust),
        ) as found,
    ):
        printed = await found.curl(CHAT)
        assert printed.status == 200
        assert printed.streamed_text.startswith('You said: "')
        await nothing_left(simulator, made=1)
        assert {one.peer.rpartition(":")[0] for one in simulator.record.requests} == {proxy.source}
        (question,) = found.questions
        assert "Hello, Claude!" in question.prompt
        assert "never as artifacts" in question.prompt


async def test_the_address_is_the_one_that_was_set(tmp_path: Path, simulator: Simulator) -> None:
    """Protects other machines' way to it: the documents' address is not loopback alone."""
    written = environment(DIRECT)["ADDRESS"].replace("8080", "0")
    async with moved(tmp_path, simulator, DIRECT, ADDRESS=written) as found:
        assert "listens on http://0.0.0.0:" in found.program.output


async def test_an_image_arrives_byte_for_byte(tmp_path: Path, simulator: Simulator) -> None:
    """Protects image analysis, with the broken quote of the example mended."""
    picture = jpeg(640, 480, before=segment(random.Random(7).randbytes(60_000)))
    async with moved(tmp_path, simulator) as found:
        printed = await found.curl(IMAGE, image=base64.b64encode(picture).decode())
        assert printed.status == 200
        assert printed.text.startswith('You said: "What\'s in this image?" (file ')
        (sent,) = (one for one in simulator.record.requests if one.path.endswith("/upload"))
        part = file_part(sent.header("content-type") or "", sent.body)
        assert part is not None
        assert (part.content == picture, part.media_type) == (True, "image/jpeg")
        (stored,) = simulator.site.ledger.files.values()
        assert len(stored.used_in) == 1
        await nothing_left(simulator, made=1)


async def test_the_key_is_needed(tmp_path: Path, simulator: Simulator) -> None:
    """Protects the account from whoever does not have the key."""
    async with moved(tmp_path, simulator) as found:
        assert (await found.curl(CHAT, key="1234")).status == 401
        assert simulator.record.requests_total == 0


async def test_the_path_for_hugging_face_answers(tmp_path: Path, simulator: Simulator) -> None:
    """Protects those who are there, where the plain path may be blocked."""
    async with moved(tmp_path, simulator) as found:
        printed = await found.curl(example_with(CHAT, {"/v1/": "/hf/v1/"}))
        assert (printed.status, printed.streamed_text) == (200, 'You said: "Hello, Claude!"')


async def test_thinking_stands_before_the_answer(tmp_path: Path, simulator: Simulator) -> None:
    """Protects clients that look for ``<think>`` in the text, once the model's name asks for thinking."""
    async with moved(tmp_path, simulator) as found:
        printed = await found.curl(example_with(CHAT, {"-20250219": "-20250219-think"}))
        thought, end, said = printed.streamed_text.partition("</think>")
        assert thought.startswith("<think>")
        assert (end, said.strip()) == ("</think>", 'You said: "Hello, Claude!"')
        assert [one.thinking_mode for one in found.questions] == ["extended"]


async def test_a_long_history_goes_as_a_file_and_a_short_one_does_not(
    tmp_path: Path, simulator: Simulator
) -> None:
    """Protects long conversations, at the length the settings name."""
    async with moved(tmp_path, simulator) as found:
        for length in (9_000, 11_000):
            long = example_with(CHAT, {"Hello, Claude!": "a" * length})
            assert (await found.curl(long)).status == 200
        short, long_one = found.questions
        assert (short.prompt, short.attachments) == ("a" * 9_000, [])
        (context,) = long_one.attachments
        assert context.file_name == "context.txt"
        assert context.extracted_content.count("a" * 11_000) == 1
        assert "aaa" not in long_one.prompt


_SYSTEM: Final = {'"messages": [': '"messages": [{"role": "system", "content": "Be brief."},'}


@pytest.mark.parametrize(
    ("bare", "prompt"),
    [
        ("false", "System: Be brief.\n\nHuman: Hello, Claude!"),
        ("true", "Be brief.\n\nHello, Claude!"),
    ],
)
async def test_roles_stand_before_messages_unless_they_are_turned_off(
    tmp_path: Path, simulator: Simulator, bare: str, prompt: str
) -> None:
    """Protects prompts that people have tuned with either setting."""
    async with moved(tmp_path, simulator, NO_ROLE_PREFIX=bare) as found:
        assert (await found.curl(example_with(CHAT, _SYSTEM))).status == 200
        assert [one.prompt for one in found.questions] == [prompt]


async def test_conversations_stay_where_they_are_not_to_be_deleted(
    tmp_path: Path, simulator: Simulator
) -> None:
    """Protects the history of those who turned deletion off."""
    async with moved(tmp_path, simulator, CHAT_DELETE="false") as found:
        assert (await found.curl(CHAT)).status == 200
        found.program.send(signal.SIGTERM)
        assert await found.program.ended() == 0
    (kept,) = simulator.site.ledger.alive
    assert not kept.temporary


async def test_a_failed_call_is_tried_again(tmp_path: Path, simulator: Simulator) -> None:
    """Protects clients from one bad moment of the site, and leaves nothing of it behind."""
    async with moved(tmp_path, simulator) as found:
        simulator.script(_SESSIONS[0], [Step("status", status=500, call="complete")])
        assert (await found.curl(CHAT)).streamed_text == 'You said: "Hello, Claude!"'
        await nothing_left(simulator, made=2)


@pytest.mark.parametrize(
    ("step", "status"),
    [(Step("web_limit", call="complete", resets_in_s=7000), 429), (Step("dead_cookie"), 503)],
    ids=["limit", "dead"],
)
async def test_no_other_session_is_asked_after_one_was_told_to_stop(
    tmp_path: Path, simulator: Simulator, step: Step, status: int
) -> None:
    """Protects persons' accounts, where the other program would go on with the next one: the page says so."""
    async with moved(tmp_path, simulator) as found:
        simulator.script(_SESSIONS[0], then=step)
        assert [(await found.curl(CHAT)).status for _ in range(3)] == [status] * 3
        assert simulator.record.of(_SESSIONS[1]) == []


def test_the_page_names_every_setting_of_the_other_program() -> None:
    """Protects those who move from searching: each setting stands in the part of the page that is for them."""
    page = (ROOT / "docs" / "claude-web.md").read_text(encoding="utf-8")
    part = page.partition("## Moving here from Claude2Api")[2]
    assert [name for name in SETTINGS if f"`{name}`" not in part] == []
    assert {name for text in (DOCKER, COMPOSE, DIRECT) for name in environment(text)} == set(SETTINGS)
