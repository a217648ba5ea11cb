"""The first screen of the README, run as a reader pastes it."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from typing import Final

import msgspec
import pytest
import pytest_asyncio

from tests.support.program import ROOT, Program, started

pytestmark = pytest.mark.asyncio(loop_scope="module")

_FENCED: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_WRITTEN_ADDRESS: Final = "127.0.0.1:8080"
_LIMIT_S: Final = 60.0
FIRST_SCREEN: Final = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## ")[0]
BLOCKS: Final = _FENCED.findall(FIRST_SCREEN)


class Said(msgspec.Struct):
    """The text of a message or a delta."""

    content: str | None = None


class Choice(msgspec.Struct):
    """A choice, of an answer or of a chunk."""

    message: Said | None = None
    delta: Said | None = None


class Answer(msgspec.Struct):
    """An answer, or a chunk of one."""

    choices: list[Choice]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Program]:
    """What ``make run`` starts, in a folder without any configuration."""
    folder = tmp_path_factory.mktemp("readme")
    async with started(folder, "serve", "--demo-if-unconfigured") as program:
        yield program


def blocks(language: str, containing: str) -> list[str]:
    """The blocks of a language that hold a text."""
    return [text for kind, text in BLOCKS if kind == language and containing in text]


async def pasted(running: Program, language: str, text: str) -> str:
    """What a block prints when it is run in the server's folder; only the address is replaced."""
    assert _WRITTEN_ADDRESS in text or running.url in text
    text = text.replace(_WRITTEN_ADDRESS, running.url.removeprefix("http://"))
    command = ["sh", "-c", text] if language == "sh" else [sys.executable, "-c", text]
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=running.folder,
        env={"PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, complaints = await asyncio.wait_for(process.communicate(), _LIMIT_S)
    assert process.returncode == 0, complaints.decode()
    return printed.decode()


def streamed_text(printed: str) -> str:
    """The text of the chunks a streamed answer was printed as."""
    lines = [line.removeprefix("data: ") for line in printed.splitlines() if line.startswith("data: {")]
    chunks = [msgspec.json.decode(line, type=Answer) for line in lines]
    deltas = [choice.delta for chunk in chunks for choice in chunk.choices]
    return "".join(delta.content or "" for delta in deltas if delta is not None)


async def test_every_block_of_the_first_screen_is_run_by_this_file() -> None:
    """Protects against a block nobody runs: a new one has to get a test here."""
    run_here = [
        *blocks("sh", "make run"),
        *blocks("sh", "curl http"),
        *blocks("sh", "curl -N"),
        *blocks("python", "from openai"),
        *blocks("python", "from anthropic"),
    ]
    assert sorted(run_here) == sorted(text for _, text in BLOCKS)
    assert len(run_here) == 5


async def test_make_run_starts_what_these_tests_start() -> None:
    """Protects the tests of this file from speaking of another command than the one the README names."""
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\nrun:")[2].partition("\n\n")[0]
    (start,) = blocks("sh", "make run")
    assert start.endswith("\nmake run\n")
    assert recipe.rstrip().endswith("app.py serve --demo-if-unconfigured")


async def test_the_banner_says_that_this_is_a_demo(running: Program) -> None:
    """Protects against taking the simulated Claude for the real one."""
    assert "DEMO MODE" in running.output
    assert "ANTHROPIC_API_KEY" in running.output


@pytest.mark.needs("curl")
async def test_the_first_curl_is_answered(running: Program) -> None:
    """Protects the first thing anybody types."""
    (block,) = blocks("sh", "curl http")
    answer = msgspec.json.decode(await pasted(running, "sh", block), type=Answer)
    message = answer.choices[0].message
    assert message is not None
    assert (message.content or "").startswith('[demo] You said: "Hello!"')


@pytest.mark.needs("curl")
async def test_the_streaming_curl_shows_the_answer_in_pieces(running: Program) -> None:
    """Protects the second thing anybody types: many chunks, and the end mark."""
    (block,) = blocks("sh", "curl -N")
    printed = await pasted(running, "sh", block)
    assert streamed_text(printed).startswith('[demo] You said: "Tell me a story."')
    assert printed.count("data: {") > 3
    assert printed.rstrip().endswith("data: [DONE]")


@pytest.mark.parametrize("package", ["openai", "anthropic"])
async def test_the_sdk_snippets_print_an_answer(running: Program, package: str) -> None:
    """Protects the snippets people begin their own programs with."""
    (block,) = blocks("python", f"from {package}")
    assert (await pasted(running, "python", block)).startswith('[demo] You said: "Hello!"')


@pytest.mark.needs("curl")
async def test_the_line_the_server_prints_can_be_pasted(running: Program) -> None:
    """Protects the curl in the banner, whose address and key file are those of this very start."""
    found = await running.wrote(r"Try it:\n((?:  .*\n)+)")
    answer = msgspec.json.decode(await pasted(running, "sh", found[1]), type=Answer)
    message = answer.choices[0].message
    assert message is not None
    assert (message.content or "").startswith("[demo]")
