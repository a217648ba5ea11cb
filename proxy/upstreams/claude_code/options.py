"""From what a request asks by ``claude_options`` to what the program is let do: never more than the operator allows.

A refusal is a 403 that names the option and the setting that would allow it.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from proxy.dialects.claude_options import FIELD, ClaudeOptions, OutputFormat
from proxy.errors import ErrorKind, GatewayError, InvalidRequest
from proxy.settings import CodePolicy
from proxy.upstreams.claude_code.arguments import model_fits

_TOOL: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,127}")
_MCP_TOOL: Final = re.compile(r"mcp__(?P<server>[A-Za-z][A-Za-z0-9_-]{0,63}?)(__[A-Za-z0-9_-]{1,64})?")
_DIRECTORY: Final = re.compile(r"(/[\w .+@=:~-]+)+|/", re.UNICODE)
_ROOTS: Final = "CLAUDE_CODE_ROOTS"
_READING: Final = frozenset({"Read", "Glob", "Grep", "LS", "NotebookRead"})
_WRITING: Final = frozenset({"Edit", "MultiEdit", "NotebookEdit", "Write"})


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """How a child is started that does more than answer.

    Attributes:
        tools: the program's own tools it has.
        denied: tools it must not use.
        servers: the MCP servers it has, by name, each as JSON.
        everywhere: whether its tools may be used outside its directory.
        working_dir: where it runs; None for where the credential or nobody says.
        session: the id under which what is said is kept; empty for not at all.
        resumes: whether there is such a session already.
        owner: whose session it is.
        output_format: what its answer's text is.
        logs: whether it tells all it does, and that is logged.
        model: the model, where the request names none.
    """

    tools: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
    servers: Mapping[str, bytes] = {}
    everywhere: bool = False
    working_dir: Path | None = None
    session: str = ""
    resumes: bool = False
    owner: str = ""
    output_format: OutputFormat = "text"
    logs: bool = False
    model: str = ""

    @property
    def acts(self) -> bool:
        """Whether it may do anything on the machine."""
        return bool(self.tools or self.servers)

    @property
    def plain(self) -> bool:
        """Whether it is no more than an answer, of a program that can be asked on."""
        return not self.acts and not self.session

    def rules(self, working_dir: Path) -> tuple[str, ...]:
        """What it may do without asking, which nobody could answer, as permission rules for a directory.

        Source: "Configure permissions" in Claude Code's documentation: two slashes begin an absolute path, and the
        rules of Read and Edit hold for all tools that read and write files.
        """
        found: dict[str, None] = {}
        below = f"(/{working_dir}/**)"
        speakable = _DIRECTORY.fullmatch(str(working_dir)) is not None
        for tool in self.tools:
            if self.everywhere or tool not in _READING | _WRITING:
                found[tool] = None
            elif speakable:
                found[("Read" if tool in _READING else "Edit") + below] = None
        return (*found, *(f"mcp__{server}" for server in self.servers))


def plan_run(options: ClaudeOptions, policy: CodePolicy, *, folder: Path | None, joins: bool = True) -> Run:
    """The run a request asks for, but for its session; `folder` is that of its project, where it names one.

    MCP servers that join every request are left out unless it `joins` them. Raises GatewayError 403 for what the
    operator does not allow, and InvalidRequest.
    """
    servers = _servers(options, policy, joins=joins)
    if options.debug and not policy.debug:
        raise refused("debug", "CLAUDE_CODE_DEBUG")
    if options.auto_allow_permissions and not policy.skip_permissions:
        raise refused("auto_allow_permissions", "CLAUDE_CODE__FILE_ACCESS__SKIP_PERMISSIONS")
    if options.model is not None and not model_fits(options.model):
        raise _wrong("model", "It is not the id of a model.")
    denied = options.disallowed_tools or ()
    for at, name in enumerate(denied):
        if _TOOL.fullmatch(name) is None:
            raise _wrong(f"disallowed_tools[{at}]", "It is not the name of a tool.")
    tools = _tools(options.tools or (), policy, servers)
    return Run(
        tools=tuple(name for name in tools if name not in denied),
        denied=tuple(dict.fromkeys(denied)),
        servers=servers,
        everywhere=bool(options.auto_allow_permissions),
        working_dir=_working_dir(options.working_dir, policy, folder),
        output_format=options.output_format or "text",
        logs=bool(options.debug) or policy.log_servers,
        model=options.model or "",
    )


def joined_run(policy: CodePolicy) -> Run | None:
    """The run of a request without options; None where it is no more than a question."""
    if not policy.servers_join:
        return None
    return Run(servers=policy.servers, logs=policy.log_servers)


def allowed_dir(path: str, roots: Iterable[Path]) -> Path | None:
    """A directory, links resolved, if it is one of `roots` or lies below one; else None. Blocks."""
    if ".." in path.split("/") or not path.startswith("/") or "\0" in path:
        return None
    try:
        found = Path(os.path.realpath(path, strict=True))
        if not found.is_dir():
            return None
    except OSError:
        return None
    named = Path(os.path.normpath(path))
    for root in roots:
        # both ways of writing it lie below: the client's own, and the one without links
        if named.is_relative_to(root) and found.is_relative_to(os.path.realpath(root)):
            return found
    return None


def refused(option: str, setting: str) -> GatewayError:
    """The 403 for an option that `setting` would allow."""
    return GatewayError(
        403,
        ErrorKind.PERMISSION,
        f"{FIELD}.{option} is not allowed here; the operator's setting {setting} would allow it.",
        param=f"{FIELD}.{option}",
        code="option_not_allowed",
        should_retry=False,
    )


def _wrong(option: str, why: str) -> InvalidRequest:
    return InvalidRequest(f"{FIELD}.{option}: {why}", param=f"{FIELD}.{option}")


def _tools(names: Sequence[str], policy: CodePolicy, servers: Mapping[str, bytes]) -> tuple[str, ...]:
    """The program's own tools among `names`; those of a server come with it."""
    own: dict[str, None] = {}
    for at, name in enumerate(names):
        if _TOOL.fullmatch(name) is None:
            raise _wrong(f"tools[{at}]", "It is not the name of a tool.")
        if (found := _MCP_TOOL.fullmatch(name)) is not None:
            if found["server"] not in servers:
                raise refused(f"tools[{at}]", "CLAUDE_CODE_MCP")
        elif name not in policy.tools:
            raise refused(f"tools[{at}]", "CLAUDE_CODE_TOOLS")
        else:
            own[name] = None
    return tuple(own)


def _servers(options: ClaudeOptions, policy: CodePolicy, *, joins: bool) -> dict[str, bytes]:
    names, told = options.servers()
    allowed = policy.named_servers if not policy.servers_join else frozenset(policy.servers)
    for name in (*names, *told):
        if name not in allowed:
            raise refused("mcp_config", "CLAUDE_CODE_MCP")
    for name, raw in told.items():
        if _same(raw) != _same(msgspec.Raw(policy.servers[name])):
            raise refused("mcp_config", "CLAUDE_CODE__MCP__CONFIG_FILE")
    chosen = {name: policy.servers[name] for name in (*names, *told)}
    return {**policy.servers, **chosen} if policy.servers_join and joins else chosen


def _same(raw: msgspec.Raw) -> bytes:
    """JSON in one way of writing it."""
    return msgspec.json.encode(msgspec.json.decode(raw), order="deterministic")


def _working_dir(path: str | None, policy: CodePolicy, folder: Path | None) -> Path | None:
    if path is None:
        return folder
    roots = policy.roots if folder is None else (*policy.roots, folder)
    if folder is not None and not path.startswith("/"):
        path = f"{folder}/{path}"
    if (found := allowed_dir(path, roots)) is None:
        raise refused("working_dir", _ROOTS)
    if _DIRECTORY.fullmatch(str(found)) is None:
        raise _wrong("working_dir", "Its path has characters that permission rules have no room for.")
    return found
