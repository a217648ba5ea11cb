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
)
LATER_SETTINGS: Final[tuple[Setting[object], ...]] = (
    *_WEB,
    *_CLAUDE_CODE,
)
