"""Settings of Claude Code as a credential."""

from typing import Final

from proxy.secrets import Secret
from proxy.settings import values
from proxy.settings.setting import Group, Setting

_SECTION: Final = "CLAUDE_CODE__CLAUDE__"

CLAUDE_CODE: Final = Setting(
    name="CLAUDE_CODE",
    parse=values.boolean,
    default=False,
    shown_default="false",
    text="Whether this machine's own Claude Code login is a credential.",
    group=Group.CODE,
)
CLAUDE_API_KEYS: Final[Setting[Secret | None]] = Setting(
    name="CLAUDE_API_KEYS",
    parse=values.raw_secret,
    default=None,
    shown_default="none",
    text="A JSON list of Claude Code keys: name, token, base_url and status of each.",
    group=Group.CODE,
    secret=True,
)
CLAUDE_BINARY_PATH: Final[Setting[str | None]] = Setting(
    name="CLAUDE_BINARY_PATH",
    parse=values.plain,
    default=None,
    shown_default="the bundled one",
    text="The Claude Code program.",
    group=Group.CODE,
)
COMMAND: Final[Setting[str | None]] = Setting(
    name=f"{_SECTION}COMMAND",
    parse=values.plain,
    default=None,
    shown_default="claude",
    text="The same, if CLAUDE_BINARY_PATH is not set.",
    group=Group.CODE,
)
TIMEOUT_SECONDS: Final[Setting[float | None]] = Setting(
    name=f"{_SECTION}TIMEOUT_SECONDS",
    parse=values.number(1, 86_400),
    default=None,
    shown_default="REQUEST_TIMEOUT",
    text="REQUEST_TIMEOUT for Claude Code alone.",
    group=Group.CODE,
)
MAX_CONCURRENT_SESSIONS: Final[Setting[int | None]] = Setting(
    name=f"{_SECTION}MAX_CONCURRENT_SESSIONS",
    parse=values.integer(1, 1000),
    default=None,
    shown_default="by cores and memory",
    text="Most Claude Code processes in all.",
    group=Group.CODE,
)
USE_INTERACTIVE_SESSIONS: Final = Setting(
    name=f"{_SECTION}USE_INTERACTIVE_SESSIONS",
    parse=values.boolean,
    default=True,
    shown_default="true",
    text="Whether processes serve more than one request.",
    group=Group.CODE,
)

CLAUDE_CODE_SETTINGS: Final[tuple[Setting[object], ...]] = (
    *(CLAUDE_CODE, CLAUDE_API_KEYS),
    *(CLAUDE_BINARY_PATH, COMMAND),
    *(TIMEOUT_SECONDS, MAX_CONCURRENT_SESSIONS, USE_INTERACTIVE_SESSIONS),
)
"""In the order in which documents list them."""

IMPLYING: Final[tuple[Setting[object], ...]] = CLAUDE_CODE_SETTINGS[2:]
"""Those that make this machine's own login a credential where no other is configured."""
