"""Settings of other kinds of credentials and of features to come: checked, so that a mistake shows today."""

from collections.abc import Callable
from typing import Final

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
    _later(Group.CODE, "PROJECT_ROOT", values.plain, "DATA_DIR/projects", "The folder of projects."),
)
_CONVERSATIONS: Final = (
    _later(
        Group.CONVERSATIONS,
        "CONVERSATIONS",
        values.one_of("auto", "on", "off"),
        "auto",
        "Whether histories are kept: auto, on or off.",
    ),
    _later(
        Group.CONVERSATIONS,
        "MAX_HISTORY_MESSAGES",
        values.integer(1, 100_000),
        "20",
        "Most messages of a kept history.",
        f"{_CODE}CONVERSATION__MAX_HISTORY_MESSAGES",
    ),
    _later(
        Group.CONVERSATIONS,
        "SESSION_TIMEOUT_MINUTES",
        values.integer(1, 1_000_000),
        "30",
        "Minutes after its last use at which a history is deleted.",
        f"{_CODE}CONVERSATION__SESSION_TIMEOUT_MINUTES",
    ),
)

LATER_SETTINGS: Final[tuple[Setting[object], ...]] = (
    *_WEB,
    *_CLAUDE_CODE,
    *_CONVERSATIONS,
    *(REDIS_URL, WORKERS),
)
