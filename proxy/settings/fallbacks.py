"""The settings of what is asked when nothing else is left: other APIs, and other models."""

from collections.abc import Callable
from typing import Final

from proxy.settings import shapes, values
from proxy.settings.setting import Group, Setting

FALLBACKS: Final = 5


def _fallback(
    number: int, what: str, parse: Callable[[str], object], shown: str, text: str
) -> Setting[object]:
    return Setting(
        name=f"FALLBACK_API_{what}_{number}",
        parse=parse,
        default=None,
        shown_default=shown,
        text=text,
        group=Group.CREDENTIALS,
        secret=what == "KEY",
    )


def _fallbacks(number: int) -> tuple[Setting[object], ...]:
    return (
        _fallback(number, "NAME", values.word, f"fallback-{number}", f"Name of fallback {number}."),
        _fallback(
            number,
            "URL",
            values.base_url,
            "none",
            f"Address of fallback {number}, asked when no other is left.",
        ),
        _fallback(number, "KEY", values.secret, "none", f"Key of fallback {number}."),
        _fallback(number, "MODEL", values.model_id, "the client's", f"Model of fallback {number}."),
    )


FALLBACK_SETTINGS: Final = tuple(_fallbacks(number) for number in range(1, FALLBACKS + 1))

FALLBACK_DROPS_CLAUDE_OPTIONS: Final = Setting(
    name="FALLBACK_DROPS_CLAUDE_OPTIONS",
    parse=values.boolean,
    default=False,
    shown_default="false",
    text="Lets a fallback answer without a request's Claude Code options.",
    group=Group.CREDENTIALS,
)
MODEL_FALLBACKS: Final[Setting[tuple[tuple[str, str], ...]]] = Setting(
    name="MODEL_FALLBACKS",
    parse=shapes.model_fallbacks,
    default=(),
    shown_default="none",
    text="Pairs old=new (patterns allowed): new is asked when no credential can answer for old; in their order.",
    group=Group.REQUESTS,
)
