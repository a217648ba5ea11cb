"""Settings of conversations that are remembered, and of the projects clients work in."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from proxy.settings import values
from proxy.settings.setting import Group, Setting

Remembering = Literal["auto", "on", "off"]
_MODES: Final[tuple[Remembering, ...]] = ("auto", "on", "off")
_CODE: Final = "CLAUDE_CODE__CONVERSATION__"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationSettings:
    """What is remembered of conversations.

    Attributes:
        mode: ``auto`` for requests that name a conversation and for answers of Claude Code, ``on`` for every chat,
            ``off`` for none.
        most_messages: of a history; older whole turns are forgotten.
        timeout_s: seconds after its last use at which a history is deleted.
        project_root: the folder of projects, absolute.
    """

    mode: Remembering = "auto"
    most_messages: int = 20
    timeout_s: int = 1800
    project_root: Path = Path("/nonexistent")


CONVERSATIONS: Final[Setting[Remembering]] = Setting(
    name="CONVERSATIONS",
    parse=values.one_of(*_MODES),
    default="auto",
    shown_default="auto",
    text="Whose histories are kept: auto (of requests that name a conversation, and of Claude Code's), on, or off.",
    group=Group.CONVERSATIONS,
)
MAX_HISTORY_MESSAGES: Final = Setting(
    name="MAX_HISTORY_MESSAGES",
    aliases=(f"{_CODE}MAX_HISTORY_MESSAGES",),
    parse=values.integer(1, 100_000),
    default=20,
    shown_default="20",
    text="Most messages of a kept history; the oldest whole turns go first.",
    group=Group.CONVERSATIONS,
)
SESSION_TIMEOUT_MINUTES: Final = Setting(
    name="SESSION_TIMEOUT_MINUTES",
    aliases=(f"{_CODE}SESSION_TIMEOUT_MINUTES",),
    parse=values.integer(1, 1_000_000),
    default=30,
    shown_default="30",
    text="Minutes after its last use at which a history is deleted.",
    group=Group.CONVERSATIONS,
)
PROJECT_ROOT: Final = Setting(
    name="PROJECT_ROOT",
    parse=values.optional(values.plain),
    default=None,
    shown_default="DATA_DIR/projects",
    text="The folder of projects; each client key has a folder of its own in it.",
    group=Group.CODE,
)

CONVERSATION_SETTINGS: Final[tuple[Setting[object], ...]] = (
    *(CONVERSATIONS, MAX_HISTORY_MESSAGES, SESSION_TIMEOUT_MINUTES),
    PROJECT_ROOT,
)
