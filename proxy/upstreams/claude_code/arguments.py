"""The command line of a child: a fixed template, into which a model, two paths and an id are put once they are checked.

Whatever else a client says goes to the child as data: by its standard input, a file, or the listener. Source: "CLI
reference" in Claude Code's documentation.
"""

import re
from pathlib import Path
from typing import Final

import msgspec

from proxy.upstreams.claude_code.client_tools import NAME, SERVER

_MODEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@\[\]-]{0,127}")
_SESSION: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LEAST_BUDGET: Final = "1e-09"
_ONCE: Final = ("--max-turns", "1", "--max-budget-usd", _LEAST_BUDGET)
_SERVERS: Final = msgspec.json.encode({"mcpServers": {SERVER: {"type": "sdk", "name": SERVER}}}).decode()
_WITH_CLIENT_TOOLS: Final = ("--mcp-config", _SERVERS, "--allowedTools", NAME)


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What differs from child to child.

    Attributes:
        model: the model id; empty for the program's own choice.
        system_file: the file of the system prompt; None for none.
        resume: the id of the transcript it goes on with; None for a new one.
        once: whether it stops after one request upstream, for good.
        client_tools: whether it can call the tools of clients.
    """

    model: str = ""
    system_file: Path | None = None
    resume: str | None = None
    once: bool = False
    client_tools: bool = False


def model_fits(model: str) -> bool:
    """Whether a model id can stand on a command line: what begins with a dash would be an option."""
    return _MODEL.fullmatch(model) is not None


def command(program: Path, line: Line) -> list[str]:
    """The program and its arguments. Raises ValueError for a value that does not belong there."""
    if line.model and not model_fits(line.model):
        raise ValueError("not a model id")
    if line.resume is not None and _SESSION.fullmatch(line.resume) is None:
        raise ValueError("not the id of a transcript")
    if not program.is_absolute() or (line.system_file is not None and not line.system_file.is_absolute()):
        raise ValueError("not an absolute path")
    system = (
        ("--system-prompt", "")
        if line.system_file is None
        else ("--system-prompt-file", str(line.system_file))
    )
    return [
        str(program),
        *("--output-format", "stream-json", "--verbose"),
        *system,
        *("--tools", ""),
        *(_ONCE if line.once else ()),
        *(_WITH_CLIENT_TOOLS if line.client_tools else ()),
        *(("--model", line.model) if line.model else ()),
        *("--permission-mode", "dontAsk"),
        *((f"--resume={line.resume}",) if line.resume is not None else ()),
        "--include-partial-messages",
        "--strict-mcp-config",
        "--setting-sources=",
        "--disable-slash-commands",
        "--no-session-persistence",
        *("--input-format", "stream-json"),
    ]
