"""What the program knows about one setting."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

T_co = TypeVar("T_co", covariant=True)


class Group(StrEnum):
    """The headings under which settings are documented."""

    SERVER = "Server"
    ACCESS = "Who may use it"
    CREDENTIALS = "Credentials"
    REQUESTS = "Requests and models"
    STORAGE = "Storage and logs"
    POOL = "Numbers of the pool and the relay"
    WEB = "claude.ai sessions"
    CODE = "Claude Code"
    LIMITS = "Limits"
    CONVERSATIONS = "Conversations and cache"
    SCALE = "Several processes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting(Generic[T_co]):
    """One setting: how it is named, read and documented.

    Attributes:
        name: its name in the environment, and the one used in the documentation.
        aliases: other names of the same setting.
        parse: from text to value; raises `InvalidValueError`.
        default: the value where nothing is set.
        shown_default: the default as the documentation shows it.
        text: what it does, one sentence.
        group: its heading.
        secret: whether its value must never be shown; it can then also be read from a file by ``NAME_FILE``.
        keeps_empty: whether an empty value is a mistake; elsewhere it is the same as none.
        joins: whether its names add up to one list; elsewhere two names with different values are a mistake.
    """

    name: str
    aliases: tuple[str, ...] = ()
    parse: Callable[[str], T_co]
    default: T_co
    shown_default: str = ""
    text: str
    group: Group
    secret: bool = False
    keeps_empty: bool = False
    joins: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """All its names, the documented one first."""
        return (self.name, *self.aliases)
