"""Settings of several processes that serve together."""

from typing import Final

from proxy.secrets import Secret
from proxy.settings import values
from proxy.settings.setting import Group, Setting

REDIS_URL: Final[Setting[Secret | None]] = Setting(
    name="REDIS_URL",
    parse=values.optional(values.redis_url),
    default=None,
    shown_default="none",
    text="The Redis several processes share; needs SECRET_KEY, the same for all of them.",
    group=Group.SCALE,
    secret=True,
)
WORKERS: Final = Setting(
    name="WORKERS",
    parse=values.integer(1, 64),
    default=1,
    shown_default="1",
    text="Processes; more than one needs REDIS_URL.",
    group=Group.SCALE,
)

SCALE_SETTINGS: Final[tuple[Setting[object], ...]] = (REDIS_URL, WORKERS)
