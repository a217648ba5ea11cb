"""Settings of the cache of answers."""

from typing import Final

from proxy.settings import values
from proxy.settings.setting import Group, Setting

_CODE: Final = "CLAUDE_CODE__CACHE__"
_MIB: Final = 1024 * 1024

CACHE_ENABLED: Final = Setting(
    name="CACHE_ENABLED",
    aliases=(f"{_CODE}ENABLED",),
    parse=values.boolean,
    default=False,
    shown_default="false",
    text="Whether equal requests of a client key are answered from memory.",
    group=Group.CONVERSATIONS,
)
CACHE_TTL_SECONDS: Final = Setting(
    name="CACHE_TTL_SECONDS",
    aliases=(f"{_CODE}TTL_SECONDS",),
    parse=values.integer(1, 31_536_000),
    default=3600,
    shown_default="3600",
    text="Life of such an answer.",
    group=Group.CONVERSATIONS,
)
CACHE_MAX_ENTRIES: Final = Setting(
    name="CACHE_MAX_ENTRIES",
    aliases=(f"{_CODE}MAX_ENTRIES",),
    parse=values.integer(1, 10_000_000),
    default=1000,
    shown_default="1000",
    text="Most such answers; those used longest ago make room.",
    group=Group.CONVERSATIONS,
)
CACHE_MAX_BYTES: Final = Setting(
    name="CACHE_MAX_BYTES",
    parse=values.integer(_MIB, 1024 * 1024 * _MIB),
    default=64 * _MIB,
    shown_default="67108864",
    text="Most memory of such answers; one longer than an eighth of it is not kept.",
    group=Group.CONVERSATIONS,
)

CACHE_SETTINGS: Final[tuple[Setting[object], ...]] = (
    *(CACHE_ENABLED, CACHE_TTL_SECONDS, CACHE_MAX_ENTRIES, CACHE_MAX_BYTES),
)
