"""All settings, put together from their groups."""

from collections.abc import Callable
from typing import Final, Literal, assert_never

from proxy.secrets import Secret
from proxy.settings import shapes, values
from proxy.settings.caching import CACHE_SETTINGS
from proxy.settings.claude_code import CLAUDE_CODE_SETTINGS
from proxy.settings.code_policy import CODE_POLICY_SETTINGS
from proxy.settings.conversations import CONVERSATION_SETTINGS
from proxy.settings.fallbacks import FALLBACK_DROPS_CLAUDE_OPTIONS, FALLBACK_SETTINGS, MODEL_FALLBACKS
from proxy.settings.limits import LIMIT_SETTINGS
from proxy.settings.media import MEDIA_SETTINGS
from proxy.settings.policy import POLICY_FIELDS, PolicyField
from proxy.settings.scale import SCALE_SETTINGS
from proxy.settings.setting import Group, Setting
from proxy.settings.shapes import Address, ModelAliases
from proxy.settings.tracing import TRACING_SETTINGS
from proxy.settings.web import WEB_SETTINGS

LogFormat = Literal["text", "json"]
Strategy = Literal["round_robin", "least_busy", "weighted", "fill_first"]
ThinkingChoice = Literal["think", "reasoning_content", "both", "none"]

LOOPBACK: Final = Address("127.0.0.1", 8080)
EVERYWHERE: Final = Address("0.0.0.0", 8080)  # noqa: S104 - a container is reached from outside it
ANTHROPIC_URL: Final = "https://api.anthropic.com"

_NO_THINKING: Final[tuple[ThinkingChoice, ...]] = ("think", "reasoning_content", "both", "none")
_STRATEGIES: Final[tuple[Strategy, ...]] = ("round_robin", "least_busy", "weighted", "fill_first")
_FORMATS: Final[tuple[LogFormat, ...]] = ("text", "json")

ADDRESS: Final = Setting(
    name="ADDRESS",
    parse=values.optional(shapes.address),
    default=None,
    shown_default="127.0.0.1:8080; in the image 0.0.0.0:8080",
    text="Where the server listens, as host:port; IPv6 in brackets.",
    group=Group.SERVER,
)
HOST: Final = Setting(
    name="HOST",
    aliases=("CLAUDE_CODE__SERVER__HOST",),
    parse=values.optional(shapes.host),
    default=None,
    shown_default="the host of ADDRESS",
    text="Replaces the host while ADDRESS is not set.",
    group=Group.SERVER,
)
PORT: Final = Setting(
    name="PORT",
    aliases=("CLAUDE_CODE__SERVER__PORT",),
    parse=values.optional(shapes.port),
    default=None,
    shown_default="the port of ADDRESS",
    text="Replaces the port while ADDRESS is not set; 0 lets the system choose.",
    group=Group.SERVER,
)
DRAIN_DELAY: Final = Setting(
    name="DRAIN_DELAY",
    parse=values.number(0, 600),
    default=0.0,
    shown_default="0",
    text="Seconds after SIGTERM in which new connections are still taken.",
    group=Group.SERVER,
)
DRAIN_SECONDS: Final = Setting(
    name="DRAIN_SECONDS",
    parse=values.number(0, 600),
    default=25.0,
    shown_default="25",
    text="Seconds running streams are given to end after SIGTERM.",
    group=Group.SERVER,
)
READY_NEEDS_CREDENTIAL: Final = Setting(
    name="READY_NEEDS_CREDENTIAL",
    parse=values.boolean,
    default=False,
    shown_default="false",
    text="Whether /ready says 503 while no credential can be used.",
    group=Group.SERVER,
)
CONFIG_FILE: Final = Setting(
    name="CONFIG_FILE",
    parse=values.optional(values.plain),
    default=None,
    shown_default="config/local.toml, if it exists",
    text="A TOML file whose [section] key is CLAUDE_CODE__SECTION__KEY.",
    group=Group.SERVER,
)
IN_IMAGE: Final = Setting(
    name="CAROUSEL_IN_IMAGE",
    parse=values.boolean,
    default=False,
    shown_default="false",
    text="Set by the container image: ADDRESS and DATA_DIR then have the image's defaults.",
    group=Group.SERVER,
)
CLIENT_KEYS: Final[Setting[tuple[Secret, ...]]] = Setting(
    name="API_KEYS",
    aliases=("API_KEY", "APIKEY", "CLAUDE_PROXY_API_KEY"),
    parse=values.secrets,
    default=(),
    shown_default="one is made at the first start",
    text="Keys clients may use, with commas between; those of all names add up.",
    group=Group.ACCESS,
    secret=True,
    keeps_empty=True,
    joins=True,
)
REQUIRE_AUTH: Final = Setting(
    name="REQUIRE_AUTH",
    parse=values.boolean,
    default=True,
    shown_default="true",
    text="Whether clients need a key; with false any key or none will do, except for administration.",
    group=Group.ACCESS,
)
ADMIN_KEY: Final = Setting(
    name="ADMIN_KEY",
    parse=values.optional(values.long_secret),
    default=None,
    shown_default="one is made at the first start",
    text="The key of the administrator, at least 16 characters; it opens no model.",
    group=Group.ACCESS,
    secret=True,
    keeps_empty=True,
)
SECRET_KEY: Final = Setting(
    name="SECRET_KEY",
    parse=values.optional(values.long_secret),
    default=None,
    shown_default="one is made at the first start",
    text="Signs what the server hands out, at least 16 characters.",
    group=Group.ACCESS,
    secret=True,
    keeps_empty=True,
)
ANTHROPIC_API_KEYS: Final[Setting[tuple[Secret, ...]]] = Setting(
    name="ANTHROPIC_API_KEYS",
    aliases=("ANTHROPIC_API_KEY",),
    parse=values.secrets,
    default=(),
    shown_default="none",
    text="Anthropic API keys, with commas between; those of both names add up.",
    group=Group.CREDENTIALS,
    secret=True,
    joins=True,
)
ANTHROPIC_BASE_URL: Final = Setting(
    name="ANTHROPIC_BASE_URL",
    parse=values.base_url,
    default=ANTHROPIC_URL,
    shown_default=ANTHROPIC_URL,
    text="Where Anthropic API keys are used, unless a credential names its own address.",
    group=Group.CREDENTIALS,
)
SESSIONS_FILE: Final = Setting(
    name="SESSIONS_FILE",
    parse=values.optional(values.plain),
    default=None,
    shown_default="sessions.json, if it exists",
    text="The file of credentials.",
    group=Group.CREDENTIALS,
)
PROXY: Final = Setting(
    name="PROXY",
    parse=values.optional(values.proxy_url),
    default=None,
    shown_default="none",
    text="Way out of every credential without its own: http, https, socks4, socks5 or socks5h.",
    group=Group.CREDENTIALS,
    secret=True,
)
ANTHROPIC_MODEL: Final = Setting(
    name="ANTHROPIC_MODEL",
    parse=values.optional(values.model_id),
    default=None,
    shown_default="the newest Sonnet",
    text="The model of requests that name none.",
    group=Group.REQUESTS,
)
MODEL_TEMPERATURE: Final = Setting(
    name="MODEL_TEMPERATURE",
    parse=values.optional(values.number(0, 1)),
    default=None,
    shown_default="none",
    text="Temperature of requests that name none, where the model takes one.",
    group=Group.REQUESTS,
)
MAX_TOKENS: Final = Setting(
    name="MAX_TOKENS",
    parse=values.optional(values.integer(1, 10_000_000)),
    default=None,
    shown_default="by model",
    text="Output tokens allowed to requests that name no number; never lowers what a client asks.",
    group=Group.REQUESTS,
)
REQUEST_TIMEOUT: Final = Setting(
    name="REQUEST_TIMEOUT",
    parse=values.optional(values.number(1, 86_400)),
    default=None,
    shown_default="the numbers of the relay",
    text="Seconds for a whole answer that is not streamed, and of silence between a stream's events.",
    group=Group.REQUESTS,
)
MODEL_ALIASES: Final = Setting(
    name="MODEL_ALIASES",
    parse=shapes.model_aliases,
    default=ModelAliases(),
    shown_default="on",
    text="on, off, or pairs old=new (patterns allowed) that are added to the built-in ones.",
    group=Group.REQUESTS,
)
THINKING_FORMAT: Final[Setting[ThinkingChoice | None]] = Setting(
    name="THINKING_FORMAT",
    parse=values.one_of(*_NO_THINKING),
    default=None,
    shown_default="think for -think ids, else reasoning_content",
    text="How OpenAI clients see thinking: think, reasoning_content, both or none.",
    group=Group.REQUESTS,
)
AUTO_CACHE: Final = Setting(
    name="AUTO_CACHE",
    parse=values.boolean,
    default=True,
    shown_default="true",
    text="Whether long conversations of OpenAI clients that set no cache_control are marked for the prompt cache.",
    group=Group.REQUESTS,
)
MODEL_CATALOG_FILE: Final = Setting(
    name="MODEL_CATALOG_FILE",
    parse=values.optional(values.plain),
    default=None,
    shown_default="none",
    text="A JSON file laid over the built-in catalog of models.",
    group=Group.REQUESTS,
)
DATA_DIR: Final = Setting(
    name="DATA_DIR",
    parse=values.optional(values.plain),
    default=None,
    shown_default="./data; in the image /data",
    text="The folder of everything the server keeps, readable by its own user only.",
    group=Group.STORAGE,
)
DATABASE_URL: Final = Setting(
    name="DATABASE_URL",
    parse=values.optional(values.sqlite_path),
    default=None,
    shown_default="DATA_DIR/carousel.db",
    text="sqlite:///path moves the database.",
    group=Group.STORAGE,
)
LOG_LEVEL: Final[Setting[values.LogLevel]] = Setting(
    name="LOG_LEVEL",
    aliases=("RUST_LOG",),
    parse=values.log_level,
    default="info",
    shown_default="info",
    text="Least severity that is logged: debug, info, warning, error or critical.",
    group=Group.STORAGE,
)
LOG_FORMAT: Final[Setting[LogFormat]] = Setting(
    name="LOG_FORMAT",
    parse=values.one_of(*_FORMATS),
    default="text",
    shown_default="text",
    text="Log lines as text or json.",
    group=Group.STORAGE,
)


def _policy_setting(each: PolicyField) -> Setting[object]:
    default = each.default
    match default:
        case int():
            return _policy(each, values.integer(int(each.low), int(each.high)), str(default))
        case float():
            return _policy(each, values.number(each.low, each.high), f"{default:g}")
        case tuple():
            return _policy(
                each, values.ladder(each.low, each.high), ",".join(f"{step:g}" for step in default)
            )
        case _:
            assert_never(default)


def _policy(each: PolicyField, parse: Callable[[str], object], shown: str) -> Setting[object]:
    return Setting(
        name=each.name,
        parse=parse,
        default=each.default,
        shown_default=shown,
        text=each.text,
        group=Group.POOL,
    )


RESPONSES_TTL: Final = Setting(
    name="RESPONSES_TTL",
    parse=values.integer(1, 31_536_000),
    default=86_400,
    shown_default="86400",
    text="Seconds a stored response is kept after it was last made or continued from.",
    group=Group.CONVERSATIONS,
)
POOL_STRATEGY: Final[Setting[Strategy]] = Setting(
    name="POOL_STRATEGY",
    parse=values.one_of(*_STRATEGIES),
    default="round_robin",
    shown_default="round_robin",
    text="Who is next within a tier: round_robin, least_busy, weighted or fill_first.",
    group=Group.POOL,
)

POLICY: Final[dict[str, Setting[object]]] = {each.attribute: _policy_setting(each) for each in POLICY_FIELDS}
"""The setting of each number of `Policy`, by attribute."""

SERVER_SETTINGS: Final[tuple[Setting[object], ...]] = (
    *(ADDRESS, HOST, PORT, DRAIN_DELAY, DRAIN_SECONDS, READY_NEEDS_CREDENTIAL, CONFIG_FILE, IN_IMAGE),
    *(CLIENT_KEYS, REQUIRE_AUTH, ADMIN_KEY, SECRET_KEY),
    *(ANTHROPIC_API_KEYS, ANTHROPIC_BASE_URL, SESSIONS_FILE, PROXY),
    *(setting for group in FALLBACK_SETTINGS for setting in group),
    FALLBACK_DROPS_CLAUDE_OPTIONS,
    *(ANTHROPIC_MODEL, MODEL_TEMPERATURE, MAX_TOKENS, REQUEST_TIMEOUT),
    *(MODEL_ALIASES, MODEL_FALLBACKS, THINKING_FORMAT, AUTO_CACHE, MODEL_CATALOG_FILE),
    *MEDIA_SETTINGS,
    *(DATA_DIR, DATABASE_URL, LOG_LEVEL, LOG_FORMAT),
    *TRACING_SETTINGS,
    RESPONSES_TTL,
    POOL_STRATEGY,
    *POLICY.values(),
    *LIMIT_SETTINGS,
    *CACHE_SETTINGS,
)

ALL_SETTINGS: Final[tuple[Setting[object], ...]] = (
    *SERVER_SETTINGS,
    *WEB_SETTINGS,
    *CLAUDE_CODE_SETTINGS,
    *CODE_POLICY_SETTINGS,
    *CONVERSATION_SETTINGS,
    *SCALE_SETTINGS,
)
"""Every setting there is, in the order of the documentation."""
