"""The command line of a child: a fixed template, into which a model, paths, ids, tools and rules go once checked.

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
_TOOL: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,127}")
_RULE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,127}|(Read|Edit)\(/(/[\w .+@=:~-]+)+/\*\*\)")
_LEAST_BUDGET: Final = "1e-09"
_SERVERS: Final = msgspec.json.encode({"mcpServers": {SERVER: {"type": "sdk", "name": SERVER}}}).decode()
_WITH_CLIENT_TOOLS: Final = ("--mcp-config", _SERVERS, "--allowedTools", NAME)


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What differs from child to child.

    Attributes:
        model: the model id; empty for the program's own choice.
        system_file: the file of the system prompt; None for none.
        resume: the id of the transcript it goes on with; None for a new one.
        once: whether it stops after one request upstream, for good.
        tells: whether it tells an answer as it comes, and not only what became of it.
        client_tools: whether it can call the tools of clients.
        session: the id a new transcript gets that outlives the child; None for one that does not.
        keeps: whether the transcript outlives the child.
        tools: tools of its own that it has.
        allowed: permission rules: what it may do without asking.
        denied: tools it must not use.
        servers_file: the file of its MCP servers; None for none.
        calls: most requests upstream in one turn; None where somebody else counts them.
        debug: whether it complains of everything.
    """

    model: str = ""
    system_file: Path | None = None
    resume: str | None = None
    once: bool = False
    tells: bool = True
    client_tools: bool = False
    session: str | None = None
    keeps: bool = False
    tools: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
    servers_file: Path | None = None
    calls: int | None = None
    debug: bool = False


def model_fits(model: str) -> bool:
    """Whether a model id can stand on a command line: what begins with a dash would be an option."""
    return _MODEL.fullmatch(model) is not None


def is_session(name: str) -> bool:
    """Whether a name is the id of a transcript, which nothing else that may be looked for looks like."""
    return _SESSION.fullmatch(name) is not None


def command(program: Path, line: Line) -> list[str]:
    """The program and its arguments. Raises ValueError for a value that does not belong there."""
    _check(program, line)
    system = (
        ("--system-prompt", "")
        if line.system_file is None
        else ("--system-prompt-file", str(line.system_file))
    )
    return [
        str(program),
        *("--output-format", "stream-json", "--verbose"),
        *system,
        *("--tools", ",".join(line.tools)),
        *(("--allowedTools", ",".join(line.allowed)) if line.allowed else ()),
        *(("--disallowedTools", ",".join(line.denied)) if line.denied else ()),
        *(("--mcp-config", str(line.servers_file)) if line.servers_file is not None else ()),
        *(_WITH_CLIENT_TOOLS if line.client_tools else ()),
        *(("--max-turns", str(line.calls)) if line.calls is not None else ()),
        *(("--max-budget-usd", _LEAST_BUDGET) if line.once else ()),
        *(("--model", line.model) if line.model else ()),
        *("--permission-mode", "dontAsk"),
        *((f"--resume={line.resume}",) if line.resume is not None else ()),
        *(("--session-id", line.session) if line.session is not None else ()),
        *(("--include-partial-messages",) if line.tells else ()),
        "--strict-mcp-config",
        "--setting-sources=",
        "--disable-slash-commands",
        *(() if line.keeps else ("--no-session-persistence",)),
        *(("--debug-to-stderr",) if line.debug else ()),
        *("--input-format", "stream-json"),
    ]


def _check(program: Path, line: Line) -> None:
    if line.model and not model_fits(line.model):
        raise ValueError("not a model id")
    if any(name is not None and not is_session(name) for name in (line.resume, line.session)):
        raise ValueError("not the id of a transcript")
    files = (line.system_file, line.servers_file)
    if not all(path is None or path.is_absolute() for path in (program, *files)):
        raise ValueError("not an absolute path")
    if not all(_TOOL.fullmatch(name) for name in (*line.tools, *line.denied)):
        raise ValueError("not the name of a tool")
    if not all(_RULE.fullmatch(rule) for rule in line.allowed):
        raise ValueError("not a permission rule")
