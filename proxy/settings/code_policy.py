"""What a request may ask of Claude Code by ``claude_options``: nothing, unless the operator says so."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from proxy.settings import values
from proxy.settings.problems import InvalidValueError
from proxy.settings.resolve import Resolver
from proxy.settings.setting import Group, Setting
from proxy.settings.sources import Findings, warn_if_readable

_CODE: Final = "CLAUDE_CODE__"
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_FILE_MAX_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class CodePolicy:
    """What requests may ask for.

    Attributes:
        tools: names of the program's own tools.
        roots: directories below which it may work, and files may be named; absolute.
        servers: the MCP servers there are, by name, each as JSON.
        named_servers: those that requests may name.
        servers_join: whether all of them join every request that brings no tools of its own.
        debug: whether requests may have the program's complaints logged.
        skip_permissions: whether requests may have tools used outside the directory they run in.
        log_servers: whether what MCP servers print is logged.
    """

    tools: frozenset[str] = frozenset()
    roots: tuple[Path, ...] = ()
    servers: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    named_servers: frozenset[str] = frozenset()
    servers_join: bool = False
    debug: bool = False
    skip_permissions: bool = False
    log_servers: bool = False


def names(text: str) -> tuple[str, ...]:
    """``none``, or names of tools or servers, with commas between."""
    if text.lower() == "none":
        return ()
    found = values.words(text)
    if any(_NAME.fullmatch(name) is None for name in found):
        raise InvalidValueError("expected names of letters, digits, _ and -, with commas between")
    return found


TOOLS: Final[Setting[tuple[str, ...]]] = Setting(
    name="CLAUDE_CODE_TOOLS",
    parse=names,
    default=(),
    shown_default="none",
    text="Tools of Claude Code that requests may have run on this machine.",
    group=Group.CODE,
)
NAMED_SERVERS: Final[Setting[tuple[str, ...]]] = Setting(
    name="CLAUDE_CODE_MCP",
    parse=names,
    default=(),
    shown_default="none",
    text="MCP servers of the file that requests may name.",
    group=Group.CODE,
)
DEBUG: Final = Setting(
    name="CLAUDE_CODE_DEBUG",
    parse=values.boolean,
    default=False,
    shown_default="false",
    text="Whether requests may have what Claude Code complains of logged, at level debug.",
    group=Group.CODE,
)
SKIP_PERMISSIONS: Final = Setting(
    name=f"{_CODE}FILE_ACCESS__SKIP_PERMISSIONS",
    parse=values.boolean,
    default=False,
    shown_default="false",
    text="Whether requests may have allowed tools used outside the directory they run in; never as root.",
    group=Group.CODE,
)
MCP_ENABLED: Final = Setting(
    name=f"{_CODE}MCP__ENABLED",
    parse=values.boolean,
    default=False,
    shown_default="false",
    text="Whether the MCP servers of the file join each request that brings no tools of its own.",
    group=Group.CODE,
)
MCP_FILE: Final[Setting[str | None]] = Setting(
    name=f"{_CODE}MCP__CONFIG_FILE",
    parse=values.plain,
    default=None,
    shown_default="none",
    text="A JSON file of MCP servers, by name under mcpServers.",
    group=Group.CODE,
)
MCP_STRICT: Final = Setting(
    name=f"{_CODE}MCP__STRICT",
    parse=values.boolean,
    default=True,
    shown_default="true",
    text="Accepted; only that file's servers are ever used.",
    group=Group.CODE,
)
MCP_DEBUG: Final = Setting(
    name=f"{_CODE}MCP__DEBUG",
    parse=values.boolean,
    default=False,
    shown_default="false",
    text="Whether what MCP servers print is logged, at level debug.",
    group=Group.CODE,
)

CODE_POLICY_SETTINGS: Final[tuple[Setting[object], ...]] = (
    *(TOOLS, NAMED_SERVERS, DEBUG, SKIP_PERMISSIONS),
    *(MCP_ENABLED, MCP_FILE, MCP_STRICT, MCP_DEBUG),
)
"""In the order in which documents list them."""


class _File(msgspec.Struct, rename="camel"):
    mcp_servers: dict[str, msgspec.Raw]


def code_policy(
    resolver: Resolver, file: Path | None, roots: tuple[Path, ...], findings: Findings
) -> CodePolicy:
    """What the settings allow; `file` is the absolute path of the MCP servers' file, `roots` the directories.

    Mistakes go to `findings`.
    """
    servers = _servers(file, findings) if file is not None else {}
    named = frozenset(resolver.get(NAMED_SERVERS))
    if missing := named.difference(servers):
        findings.wrong(NAMED_SERVERS.name, f"names {', '.join(sorted(missing))}, not in {MCP_FILE.name}")
    if resolver.get(MCP_ENABLED) and not servers:
        findings.wrong(MCP_ENABLED.name, f"needs servers in {MCP_FILE.name}")
    skips = resolver.get(SKIP_PERMISSIONS)
    if skips and os.geteuid() == 0:
        findings.wrong(SKIP_PERMISSIONS.name, "is not allowed for root; start the server as another user")
    if resolver.given(MCP_STRICT) and not resolver.get(MCP_STRICT):
        findings.warn(f"{MCP_STRICT.name}=false changes nothing: only servers of the file are used.")
    return CodePolicy(
        tools=frozenset(resolver.get(TOOLS)),
        roots=roots,
        servers=servers,
        named_servers=named,
        servers_join=resolver.get(MCP_ENABLED),
        debug=resolver.get(DEBUG),
        skip_permissions=skips,
        log_servers=resolver.get(MCP_DEBUG),
    )


def _servers(file: Path, findings: Findings) -> dict[str, bytes]:
    name = MCP_FILE.name
    try:
        with file.open("rb") as opened:
            text = opened.read(_FILE_MAX_BYTES + 1)
    except OSError as error:
        findings.wrong(name, f"cannot be read ({error.strerror})")
        return {}
    warn_if_readable(file, findings)
    try:
        found = msgspec.json.decode(text[:_FILE_MAX_BYTES], type=_File).mcp_servers
        told = {
            server: msgspec.json.decode(raw, type=dict[str, msgspec.Raw]) for server, raw in found.items()
        }
    except (ValueError, RecursionError):
        findings.wrong(name, 'is no JSON object {"mcpServers": {NAME: {...}}}')
        return {}
    if any(_NAME.fullmatch(server) is None for server in told):
        findings.wrong(name, "has a server whose name is not of letters, digits, _ and -")
        return {}
    return {server: bytes(raw) for server, raw in found.items()}
