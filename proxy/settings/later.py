"""Settings of features to come: checked, so that a mistake shows today."""

from collections.abc import Callable
from typing import Final

from proxy.settings import values
from proxy.settings.setting import Group, Setting


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
LATER_SETTINGS: Final[tuple[Setting[object], ...]] = _WEB
