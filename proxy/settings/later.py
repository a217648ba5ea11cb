"""Settings of other kinds of credentials and of features to come: checked, so that a mistake shows today."""

from collections.abc import Callable
from typing import Final

from proxy.secrets import Secret
from proxy.settings import values
from proxy.settings.setting import Group, Setting

_CODE: Final = "CLAUDE_CODE__"


def _later(
    group: Group, name: str, parse: Callable[[str], object], shown: str, text: str, *aliases: str
) -> Setting[object]:
    return Setting(
        name=name,
        aliases=aliases,
        parse=parse,
        default=None,
        shown_default=shown,
        text=text,
        group=group,
        effective=False,
    )


CLAUDE_CODE: Final = Setting(
    name="CLAUDE_CODE",
    parse=values.boolean,
    default=False,
    shown_default="false",
    text="Whether this machine's own Claude Code login is a credential.",
    group=Group.CODE,
    effective=False,
)
CLAUDE_API_KEYS: Final[Setting[Secret | None]] = Setting(
    name="CLAUDE_API_KEYS",
    parse=values.raw_secret,
    default=None,
    shown_default="none",
    text="A JSON list of Claude Code keys: name, token, base_url and status of each.",
    group=Group.CODE,
    secret=True,
    effective=False,
)
REDIS_URL: Final = Setting(
    name="REDIS_URL",
    parse=values.optional(values.redis_url),
    default=None,
    shown_default="none",
    text="The Redis several processes share.",
    group=Group.SCALE,
    secret=True,
    effective=False,
)
WORKERS: Final = Setting(
    name="WORKERS",
    parse=values.integer(1, 64),
    default=1,
    shown_default="1",
    text="Processes; more than one needs REDIS_URL.",
    group=Group.SCALE,
    effective=False,
)


_WEB: Final = (
    _later(
        Group.WEB, "ENABLE_MIRROR_API", values.boolean, "false", "Opens the API for callers' own sessions."
    ),
    _later(Group.WEB, "MIRROR_API_PREFIX", values.url_prefix, "/mirror", "The path of that API."),
)
_CLAUDE_CODE: Final = (
    _later(Group.CODE, "CLAUDE_BINARY_PATH", values.plain, "the bundled one", "The Claude Code program."),
    _later(
        Group.CODE,
        f"{_CODE}CLAUDE__COMMAND",
        values.plain,
        "claude",
        "The same, if CLAUDE_BINARY_PATH is not set.",
    ),
    _later(
        Group.CODE,
        f"{_CODE}CLAUDE__TIMEOUT_SECONDS",
        values.number(1, 86_400),
        "REQUEST_TIMEOUT",
        "REQUEST_TIMEOUT for Claude Code alone.",
    ),
    _later(
        Group.CODE,
        f"{_CODE}CLAUDE__MAX_CONCURRENT_SESSIONS",
        values.integer(1, 1000),
        "by cores and memory",
        "Most Claude Code processes in all.",
    ),
    _later(
        Group.CODE,
        f"{_CODE}CLAUDE__USE_INTERACTIVE_SESSIONS",
        values.boolean,
        "true",
        "Whether processes serve more than one request.",
    ),
    _later(
        Group.CODE,
        f"{_CODE}FILE_ACCESS__SKIP_PERMISSIONS",
        values.boolean,
        "false",
        "Whether allowed tools may run without asking.",
    ),
    _later(
        Group.CODE, f"{_CODE}MCP__ENABLED", values.boolean, "false", "Whether MCP servers join each request."
    ),
    _later(Group.CODE, f"{_CODE}MCP__CONFIG_FILE", values.plain, "none", "The file of MCP servers."),
    _later(
        Group.CODE,
        f"{_CODE}MCP__STRICT",
        values.boolean,
        "true",
        "Accepted; only that file's servers are ever used.",
    ),
    _later(Group.CODE, f"{_CODE}MCP__DEBUG", values.boolean, "false", "Logs what MCP servers print."),
    _later(Group.CODE, "CLAUDE_CODE_TOOLS", values.words, "none", "Tools requests may name."),
    _later(Group.CODE, "CLAUDE_CODE_MCP", values.words, "none", "MCP servers requests may name."),
    _later(
        Group.CODE, "CLAUDE_CODE_DEBUG", values.boolean, "false", "Whether requests may ask for debug output."
    ),
    _later(
        Group.CODE, "SHELL_ENV_FILE", values.plain, "off", "The file the active key is written to for shells."
    ),
)
_CONVERSATIONS: Final = (
    _later(
        Group.CONVERSATIONS,
        "CACHE_ENABLED",
        values.boolean,
        "false",
        "Whether equal requests are answered from memory.",
        f"{_CODE}CACHE__ENABLED",
    ),
    _later(
        Group.CONVERSATIONS,
        "CACHE_TTL_SECONDS",
        values.integer(1, 31_536_000),
        "3600",
        "Life of such an answer.",
        f"{_CODE}CACHE__TTL_SECONDS",
    ),
    _later(
        Group.CONVERSATIONS,
        "CACHE_MAX_ENTRIES",
        values.integer(1, 10_000_000),
        "1000",
        "Most such answers.",
        f"{_CODE}CACHE__MAX_ENTRIES",
    ),
    _later(
        Group.CONVERSATIONS,
        "RESPONSES_TTL",
        values.integer(1, 31_536_000),
        "86400",
        "Seconds a stored response is kept.",
    ),
)

LATER_SETTINGS: Final[tuple[Setting[object], ...]] = (
    *_WEB,
    *(CLAUDE_CODE, CLAUDE_API_KEYS),
    *_CLAUDE_CODE,
    *_CONVERSATIONS,
    *(REDIS_URL, WORKERS),
)
