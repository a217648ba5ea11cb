"""The table of settings as a whole."""

from collections import Counter

from proxy.settings.table import ALL_SETTINGS

KNOWN = {
    *("ADDRESS", "HOST", "PORT", "DRAIN_DELAY", "DRAIN_SECONDS", "CONFIG_FILE", "CAROUSEL_IN_IMAGE"),
    "READY_NEEDS_CREDENTIAL",
    *("API_KEYS", "REQUIRE_AUTH", "ADMIN_KEY", "SECRET_KEY"),
    *("ANTHROPIC_API_KEYS", "ANTHROPIC_BASE_URL", "SESSIONS_FILE", "PROXY"),
    *("SESSIONS", "CLAUDE_WEB_BASE_URL", "CHAT_DELETE", "MAX_CHAT_HISTORY_LENGTH", "NO_ROLE_PREFIX"),
    "PROMPT_DISABLE_ARTIFACTS",
    *("ANTHROPIC_MODEL", "MODEL_TEMPERATURE", "MAX_TOKENS", "REQUEST_TIMEOUT", "RETRY_COUNT"),
    *("FALLBACK_DROPS_CLAUDE_OPTIONS", "MODEL_FALLBACKS"),
    *("MODEL_ALIASES", "THINKING_FORMAT", "AUTO_CACHE", "MODEL_CATALOG_FILE"),
    *("CACHE_ENABLED", "CACHE_TTL_SECONDS", "CACHE_MAX_ENTRIES", "CACHE_MAX_BYTES"),
    *("IMAGE_FETCH", "CLAUDE_CODE_ROOTS", "CLAUDE_CODE__FILE_ACCESS__ADDITIONAL_DIRS"),
    *("CLAUDE_CODE", "CLAUDE_API_KEYS", "CLAUDE_BINARY_PATH", "CLAUDE_CODE__CLAUDE__COMMAND"),
    "CLAUDE_CODE__CLAUDE__TIMEOUT_SECONDS",
    "CLAUDE_CODE__CLAUDE__MAX_CONCURRENT_SESSIONS",
    "CLAUDE_CODE__CLAUDE__USE_INTERACTIVE_SESSIONS",
    *("CLAUDE_CODE_TOOLS", "CLAUDE_CODE_MCP", "CLAUDE_CODE_DEBUG", "SHELL_ENV_FILE"),
    "CLAUDE_CODE__FILE_ACCESS__SKIP_PERMISSIONS",
    *(f"CLAUDE_CODE__MCP__{name}" for name in ("ENABLED", "CONFIG_FILE", "STRICT", "DEBUG")),
    *("DATA_DIR", "DATABASE_URL", "LOG_LEVEL", "LOG_FORMAT", "RESPONSES_TTL"),
    *("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_SERVICE_NAME", "OTEL_SDK_DISABLED"),
    *("CONVERSATIONS", "MAX_HISTORY_MESSAGES", "SESSION_TIMEOUT_MINUTES", "PROJECT_ROOT"),
    *("REQUESTS_PER_MINUTE", "RATE_LIMIT_REQUESTS_PER_MINUTE", "TOKENS_PER_MINUTE"),
    *("WRONG_KEYS_PER_MINUTE", "WRONG_KEYS_BLOCK_SECONDS", "CORS_ORIGINS", "TRUSTED_PROXIES"),
    *("REDIS_URL", "WORKERS", "ENABLE_MIRROR_API", "MIRROR_API_PREFIX"),
}
SECRET = {
    "API_KEYS",
    "ADMIN_KEY",
    "SECRET_KEY",
    "ANTHROPIC_API_KEYS",
    "PROXY",
    "SESSIONS",
    "REDIS_URL",
    "OTEL_EXPORTER_OTLP_HEADERS",
} | {
    "CLAUDE_API_KEYS",
    *(f"FALLBACK_API_KEY_{number}" for number in range(1, 6)),
}


def test_no_name_belongs_to_two_settings() -> None:
    """Protects against one line of a file that changes two things."""
    names = Counter(name for setting in ALL_SETTINGS for name in setting.names)
    assert [name for name, times in names.items() if times > 1] == []


def test_the_settings_are_the_known_ones() -> None:
    """Protects configurations from a name that is gone, or is spelled another way."""
    names = {setting.name for setting in ALL_SETTINGS}
    own = {name for name in names if not name.startswith(("POOL_", "QUEUE_", "RELAY_", "FALLBACK_API_"))}
    assert own == KNOWN


def test_every_secret_setting_is_marked_as_one() -> None:
    """Protects secrets from being documented, warned about and read like plain values."""
    assert {setting.name for setting in ALL_SETTINGS if setting.secret} == SECRET


def test_every_default_passes_its_own_parser_where_it_is_literal() -> None:
    """Protects the documentation from defaults that could not be typed in."""
    for setting in ALL_SETTINGS:
        if setting.default is not None and not setting.secret and " " not in setting.shown_default:
            assert setting.parse(setting.shown_default) == setting.default, setting.name
