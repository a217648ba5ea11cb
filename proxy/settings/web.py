"""Settings of claude.ai sessions."""

from typing import Final

from proxy.settings import shapes, values
from proxy.settings.setting import Group, Setting
from proxy.settings.shapes import WebSession

CLAUDE_WEB_URL: Final = "https://claude.ai"

SESSIONS: Final[Setting[tuple[WebSession, ...]]] = Setting(
    name="SESSIONS",
    parse=shapes.sessions,
    default=(),
    shown_default="none",
    text="claude.ai session cookies, each cookie or cookie:organization, with commas between.",
    group=Group.WEB,
    secret=True,
)
CLAUDE_WEB_BASE_URL: Final = Setting(
    name="CLAUDE_WEB_BASE_URL",
    parse=values.base_url,
    default=CLAUDE_WEB_URL,
    shown_default=CLAUDE_WEB_URL,
    text="Where claude.ai sessions are used.",
    group=Group.WEB,
)
CHAT_DELETE: Final = Setting(
    name="CHAT_DELETE",
    parse=values.boolean,
    default=True,
    shown_default="true",
    text="Whether conversations are deleted after use.",
    group=Group.WEB,
)
MAX_CHAT_HISTORY_LENGTH: Final = Setting(
    name="MAX_CHAT_HISTORY_LENGTH",
    parse=values.integer(1, 10_000_000),
    default=10_000,
    shown_default="10000",
    text="Characters of history above which it is sent as a file.",
    group=Group.WEB,
)
NO_ROLE_PREFIX: Final = Setting(
    name="NO_ROLE_PREFIX",
    parse=values.boolean,
    default=False,
    shown_default="false",
    text="Leaves out the role before each message.",
    group=Group.WEB,
)
PROMPT_DISABLE_ARTIFACTS: Final = Setting(
    name="PROMPT_DISABLE_ARTIFACTS",
    parse=values.boolean,
    default=False,
    shown_default="false",
    text="Asks the model for no artifacts.",
    group=Group.WEB,
)
ENABLE_MIRROR_API: Final = Setting(
    name="ENABLE_MIRROR_API",
    parse=values.boolean,
    default=False,
    shown_default="false",
    text="Opens the API for callers' own claude.ai sessions; one process only.",
    group=Group.WEB,
)
MIRROR_API_PREFIX: Final = Setting(
    name="MIRROR_API_PREFIX",
    parse=values.url_prefix,
    default="/mirror",
    shown_default="/mirror",
    text="The path of that API.",
    group=Group.WEB,
)

WEB_SETTINGS: Final[tuple[Setting[object], ...]] = (
    *(SESSIONS, CLAUDE_WEB_BASE_URL, CHAT_DELETE),
    *(MAX_CHAT_HISTORY_LENGTH, NO_ROLE_PREFIX, PROMPT_DISABLE_ARTIFACTS),
    *(ENABLE_MIRROR_API, MIRROR_API_PREFIX),
)
