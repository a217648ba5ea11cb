"""The settings of how much may be asked, how often a key may be guessed, and from where."""

import re
from typing import Final

from proxy.settings import values
from proxy.settings.problems import InvalidValueError
from proxy.settings.setting import Group, Setting

EVERY_ORIGIN: Final = "*"
_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")


def origins(text: str) -> tuple[str, ...]:
    """Web origins (``https://chat.example.com``) with commas between, or ``*`` alone for all of them."""
    found = tuple(word.lower() for word in values.words(text))
    if found == (EVERY_ORIGIN,):
        return found
    if not all(_ORIGIN.fullmatch(word) for word in found):
        raise InvalidValueError(
            "expected origins such as https://chat.example.com, without a path, or * alone"
        )
    return found


REQUESTS_PER_MINUTE: Final[Setting[int | None]] = Setting(
    name="REQUESTS_PER_MINUTE",
    parse=values.optional(values.integer(1, 10_000_000)),
    default=None,
    shown_default="none",
    text="Requests a minute of the whole server.",
    group=Group.LIMITS,
)
CLIENT_REQUESTS_PER_MINUTE: Final[Setting[int | None]] = Setting(
    name="RATE_LIMIT_REQUESTS_PER_MINUTE",
    parse=values.optional(values.integer(1, 10_000_000)),
    default=None,
    shown_default="none",
    text="Requests a minute of each client key that has no number of its own.",
    group=Group.LIMITS,
)
TOKENS_PER_MINUTE: Final[Setting[int | None]] = Setting(
    name="TOKENS_PER_MINUTE",
    parse=values.optional(values.integer(1, 10_000_000_000)),
    default=None,
    shown_default="none",
    text="Tokens a minute of the whole server.",
    group=Group.LIMITS,
)
WRONG_KEYS_PER_MINUTE: Final = Setting(
    name="WRONG_KEYS_PER_MINUTE",
    parse=values.integer(1, 1_000_000),
    default=10,
    shown_default="10",
    text="Wrong keys a minute from one address, after which further ones are answered with 429.",
    group=Group.LIMITS,
)
WRONG_KEYS_BLOCK_SECONDS: Final = Setting(
    name="WRONG_KEYS_BLOCK_SECONDS",
    parse=values.number(1, 86_400),
    default=900.0,
    shown_default="900",
    text="Longest time of that; it begins with a minute and doubles.",
    group=Group.LIMITS,
)
CORS_ORIGINS: Final[Setting[tuple[str, ...] | None]] = Setting(
    name="CORS_ORIGINS",
    parse=values.optional(origins),
    default=None,
    shown_default="none",
    text="Web origins whose pages may call the API, or *.",
    group=Group.LIMITS,
)
TRUSTED_PROXIES: Final[Setting[tuple[str, ...] | None]] = Setting(
    name="TRUSTED_PROXIES",
    parse=values.optional(values.networks),
    default=None,
    shown_default="none",
    text="Networks whose forwarding headers are believed.",
    group=Group.LIMITS,
)

LIMIT_SETTINGS: Final[tuple[Setting[object], ...]] = (
    *(REQUESTS_PER_MINUTE, CLIENT_REQUESTS_PER_MINUTE, TOKENS_PER_MINUTE),
    *(WRONG_KEYS_PER_MINUTE, WRONG_KEYS_BLOCK_SECONDS, CORS_ORIGINS, TRUSTED_PROXIES),
)
