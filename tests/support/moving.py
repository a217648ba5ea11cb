"""Lines of other programs' documents, run as their users run them: in a shell, as Python, as Node."""

import asyncio
import os
import re
import shlex
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from proxy.simulator import Simulator
from tests.support.program import Program, started

_LIMIT_S: Final = 60.0
_ADDRESS: Final = re.compile(r"localhost:80\d\d")


class _Said(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Said | None = None
    delta: _Said | None = None


class _Answer(msgspec.Struct):
    choices: list[_Choice] = []


class Asked(msgspec.Struct):
    """What the upstream was asked."""

    model: str
    messages: list[dict[str, object]]
    max_tokens: int
    temperature: float | None = None
    system: list[dict[str, object]] | str = ""
    stream: bool = False
    tools: list[dict[str, object]] = []


@dataclass(frozen=True, slots=True)
class Printed:
    """What a line printed."""

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
    """The program with somebody's settings from elsewhere, in front of a simulated Claude."""

    program: Program
    simulator: Simulator

    def at_home(self, example: str, edits: Mapping[str, str] | None = None) -> str:
        """An example with this server's address in the place of its own, and with what a user changes in it."""
        for old, new in (edits or {}).items():
            assert old in example
            example = example.replace(old, new)
        return _ADDRESS.sub(f"localhost:{self.program.url.rpartition(':')[2]}", example)

    async def shell(self, example: str, edits: Mapping[str, str] | None = None) -> Printed:
        """Run a line in a shell."""
        quiet = self.at_home(example, edits).replace("curl ", "curl -sS ", 1)
        return Printed(await _run("sh", "-c", quiet))

    async def node(self, folder: Path, example: str, edits: Mapping[str, str] | None = None) -> str:
        """Run a program of Node in a folder that has what it imports; what it prints."""
        return await _run("node", "--input-type=commonjs", "-e", self.at_home(example, edits), folder=folder)

    def python(self, example: str, edits: Mapping[str, str] | None = None) -> dict[str, object]:
        """Run a Python example, to its end; the names it has made. Blocks."""
        names: dict[str, object] = {}
        exec(compile(self.at_home(example, edits), "example", "exec"), names)  # noqa: S102 - a text of the tests
        getattr(names["client"], "close")()  # noqa: B009 - the example says what it is, not its type
        return names

    @property
    def asked(self) -> list[Asked]:
        """What the upstream was asked."""
        return [
            msgspec.json.decode(one.body, type=Asked)
            for one in self.simulator.record.requests
            if one.path.partition("?")[0].endswith("/v1/messages")
        ]


@asynccontextmanager
async def moved(
    folder: Path, simulator: Simulator, settings: Mapping[str, str], *arguments: str
) -> AsyncIterator[Moved]:
    """Start the program in a folder with these settings, on a free port."""
    chosen = {"ANTHROPIC_BASE_URL": simulator.url, "DATA_DIR": str(folder / "data"), **settings}
    async with started(folder, "serve", *arguments, **{**chosen, "ADDRESS": "127.0.0.1:0"}) as program:
        yield Moved(program, simulator)


def environment(text: str) -> dict[str, str]:
    """The settings of a docker line, of lines of ``export``, or of a file like ``.env``."""
    words = [word for word in shlex.split(text, comments=True) if re.match(r"[A-Z][A-Z0-9_]*=", word)]
    return dict(word.split("=", 1) for word in words)


async def _run(*command: str, folder: Path | None = None) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "NO_PROXY": "localhost"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, complaints = await asyncio.wait_for(process.communicate(), _LIMIT_S)
    assert process.returncode == 0, complaints.decode()
    return printed.decode()
