"""Reading the whole configuration in one go."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, cast

import msgspec

from proxy.secrets import Secret
from proxy.settings import (
    caching,
    claude_code,
    code_policy,
    conversations,
    fallbacks,
    limits,
    media,
    scale,
    table,
    tracing,
    web,
)
from proxy.settings.conversations import ConversationSettings
from proxy.settings.media import MediaSettings
from proxy.settings.model import (
    AccessSettings,
    CacheSettings,
    ClaudeCodeSettings,
    CredentialSources,
    Fallback,
    LimitSettings,
    MirrorSettings,
    RequestDefaults,
    Settings,
    TracingSettings,
    WebSettings,
)
from proxy.settings.policy import Policy
from proxy.settings.problems import ConfigurationError
from proxy.settings.resolve import Resolver
from proxy.settings.shapes import Address
from proxy.settings.sources import SECTION_PREFIX, Findings, Layer, read_layers
from proxy.settings.table import ALL_SETTINGS

_SHORT_KEY_CHARACTERS: Final = 16
_DATABASE: Final = "carousel.db"
_PROJECTS: Final = "projects"
_TAKEN: Final = frozenset(
    {
        *("v1", "hf", "openai", "admin", "dashboard", "health", "live"),
        *("ready", "stats", "metrics", "openapi.json"),
    }
)
"""How the paths of other endpoints begin."""


def load_settings(
    flags: Mapping[str, str], environ: Mapping[str, str], working_dir: Path, *, env_file: Path | None = None
) -> Settings:
    """Read flags, environment, ``.env`` and the TOML file, check everything, and return what results.

    Args:
        flags: by setting name (``ADDRESS``).
        environ: the process's environment, or a test's.
        working_dir: where ``.env`` lies and relative paths begin.
        env_file: a file that must exist, in place of ``.env``.

    Raises:
        ConfigurationError: with every mistake there is; none of them shows a value.
        ValueError: a flag that is no setting.
    """
    findings = Findings()
    layers = read_layers(flags, environ, working_dir, env_file, findings)
    resolver = Resolver(layers, ALL_SETTINGS, working_dir, findings)
    if unknown := set(flags) - resolver.names:
        raise ValueError(f"no such settings: {', '.join(sorted(unknown))}")
    for setting in ALL_SETTINGS:
        # every mistake is named at once, also those in settings that are looked at later
        resolver.get(setting)
    _warn_of_unknown_names(layers, resolver, findings)
    _check_workers(resolver, findings)
    mirror = _mirror(resolver, findings)
    address = _address(resolver, findings)
    access = _access(resolver, address, findings)
    sources = _sources(resolver, _Paths(working_dir), layers, findings)
    policy = _policy(resolver, findings)
    found = _media(resolver, _Paths(working_dir), findings)
    code = _claude_code(resolver, _Paths(working_dir), found.roots, findings)
    settings = _settings(resolver, _Paths(working_dir), address, access, sources, policy)
    settings = replace(
        settings,
        media=found,
        mirror=mirror,
        claude_code=code,
        conversations=_conversations(resolver, _Paths(working_dir), settings.data_dir),
        warnings=tuple(findings.warnings),
    )
    if findings.problems:
        raise ConfigurationError(findings.problems)
    return settings


class _Paths:
    """Makes the operator's paths absolute."""

    def __init__(self, working_dir: Path) -> None:
        self._working_dir = working_dir

    def at(self, text: str) -> Path:
        # A shell expands "~", the environment and .env do not.
        home = text == "~" or text.startswith("~/")
        return (self._working_dir / (Path(text).expanduser() if home else text)).absolute()


def _settings(
    resolver: Resolver,
    paths: _Paths,
    address: Address,
    access: AccessSettings,
    sources: CredentialSources,
    policy: Policy,
) -> Settings:
    in_image = resolver.get(table.IN_IMAGE)
    data_dir = paths.at(resolver.get(table.DATA_DIR) or ("/data" if in_image else "data"))
    database = resolver.get(table.DATABASE_URL)
    catalog = resolver.get(table.MODEL_CATALOG_FILE)
    return Settings(
        address=address,
        in_image=in_image,
        access=access,
        limits=_limits(resolver),
        sources=sources,
        defaults=RequestDefaults(
            model=resolver.get(table.ANTHROPIC_MODEL),
            temperature=resolver.get(table.MODEL_TEMPERATURE),
            max_tokens=resolver.get(table.MAX_TOKENS),
            thinking_format=resolver.get(table.THINKING_FORMAT),
            auto_cache=resolver.get(table.AUTO_CACHE),
            fallback_drops_claude_options=resolver.get(fallbacks.FALLBACK_DROPS_CLAUDE_OPTIONS),
            web=_web(resolver),
        ),
        aliases=resolver.get(table.MODEL_ALIASES),
        model_fallbacks=resolver.get(fallbacks.MODEL_FALLBACKS),
        model_catalog_file=paths.at(catalog) if catalog else None,
        data_dir=data_dir,
        database=paths.at(database) if database else data_dir / _DATABASE,
        log_level=resolver.get(table.LOG_LEVEL),
        log_format=resolver.get(table.LOG_FORMAT),
        drain_delay_s=resolver.get(table.DRAIN_DELAY),
        drain_s=resolver.get(table.DRAIN_SECONDS),
        ready_needs_credential=resolver.get(table.READY_NEEDS_CREDENTIAL),
        responses_ttl_s=resolver.get(table.RESPONSES_TTL),
        strategy=resolver.get(table.POOL_STRATEGY),
        policy=policy,
        redis_url=resolver.get(scale.REDIS_URL),
        workers=resolver.get(scale.WORKERS),
        tracing=_tracing(resolver),
        warnings=(),
        cache=_cache(resolver),
    )


def _warn_of_unknown_names(layers: tuple[Layer, ...], resolver: Resolver, findings: Findings) -> None:
    for name in sorted({name for layer in layers for name in layer.texts}):
        if name.startswith(SECTION_PREFIX) and name not in resolver.names:
            findings.warn(f"{name[:100]!r} is no setting of this program and is ignored.")


def _address(resolver: Resolver, findings: Findings) -> Address:
    host, port = resolver.get(table.HOST), resolver.get(table.PORT)
    if (address := resolver.get(table.ADDRESS)) is not None:
        if host not in {None, address.host} or port not in {None, address.port}:
            findings.warn("HOST and PORT are ignored because ADDRESS is set.")
        return address
    default = table.EVERYWHERE if resolver.get(table.IN_IMAGE) else table.LOOPBACK
    return Address(default.host if host is None else host, default.port if port is None else port)


def _access(resolver: Resolver, address: Address, findings: Findings) -> AccessSettings:
    access = AccessSettings(
        client_keys=resolver.get(table.CLIENT_KEYS),
        require_auth=resolver.get(table.REQUIRE_AUTH),
        admin_key=resolver.get(table.ADMIN_KEY),
        secret_key=resolver.get(table.SECRET_KEY),
    )
    if any(len(key.reveal()) < _SHORT_KEY_CHARACTERS for key in access.client_keys):
        findings.warn(
            f"A client key has fewer than {_SHORT_KEY_CHARACTERS} characters; it can be guessed more easily."
        )
    if access.admin_key and access.admin_key in access.client_keys:
        findings.wrong("ADMIN_KEY", "is a client key too; the administrator needs a key of their own")
    if not access.require_auth and not address.loopback:
        findings.warn(
            "REQUIRE_AUTH=false on an address others can reach: anyone there can use the credentials."
        )
    return access


def _limits(resolver: Resolver) -> LimitSettings:
    origins, proxies = resolver.get(limits.CORS_ORIGINS), resolver.get(limits.TRUSTED_PROXIES)
    return LimitSettings(
        requests_per_minute=resolver.get(limits.REQUESTS_PER_MINUTE),
        client_requests_per_minute=resolver.get(limits.CLIENT_REQUESTS_PER_MINUTE),
        tokens_per_minute=resolver.get(limits.TOKENS_PER_MINUTE),
        wrong_keys_per_minute=resolver.get(limits.WRONG_KEYS_PER_MINUTE),
        wrong_keys_block_s=resolver.get(limits.WRONG_KEYS_BLOCK_SECONDS),
        cors_origins=origins or (),
        trusted_proxies=proxies or (),
    )


def _cache(resolver: Resolver) -> CacheSettings:
    return CacheSettings(
        enabled=resolver.get(caching.CACHE_ENABLED),
        ttl_s=resolver.get(caching.CACHE_TTL_SECONDS),
        max_entries=resolver.get(caching.CACHE_MAX_ENTRIES),
        max_bytes=resolver.get(caching.CACHE_MAX_BYTES),
    )


def _media(resolver: Resolver, paths: _Paths, findings: Findings) -> MediaSettings:
    roots: dict[Path, None] = {}
    for setting in (media.CLAUDE_CODE_ROOTS, media.ADDITIONAL_DIRS):
        for text in resolver.get(setting):
            root = media.by_the_letter(paths.at(text))
            if media.too_wide(root):
                findings.wrong(
                    setting.name, "names /, /proc, /sys, /dev or a directory below one of the last three"
                )
            elif not root.is_dir():
                findings.warn(f"{setting.name} names a directory that does not exist.")
            roots[root] = None
    return MediaSettings(fetch=resolver.get(media.IMAGE_FETCH), roots=tuple(roots))


def _conversations(resolver: Resolver, paths: _Paths, data_dir: Path) -> ConversationSettings:
    root = resolver.get(conversations.PROJECT_ROOT)
    return ConversationSettings(
        mode=resolver.get(conversations.CONVERSATIONS),
        most_messages=resolver.get(conversations.MAX_HISTORY_MESSAGES),
        timeout_s=resolver.get(conversations.SESSION_TIMEOUT_MINUTES) * 60,
        project_root=paths.at(root) if root else data_dir / _PROJECTS,
    )


def _claude_code(
    resolver: Resolver, paths: _Paths, roots: tuple[Path, ...], findings: Findings
) -> ClaudeCodeSettings:
    servers = resolver.get(code_policy.MCP_FILE)
    shell = resolver.get(claude_code.SHELL_ENV_FILE)
    return ClaudeCodeSettings(
        timeout_s=resolver.get(claude_code.TIMEOUT_SECONDS),
        processes=resolver.get(claude_code.MAX_CONCURRENT_SESSIONS),
        keeps=resolver.get(claude_code.USE_INTERACTIVE_SESSIONS),
        policy=code_policy.code_policy(
            resolver, paths.at(servers) if servers is not None else None, roots, findings
        ),
        shell_file=paths.at(shell) if shell is not None else None,
    )


def _implies_claude_code(resolver: Resolver) -> bool:
    """Whether the operator says how Claude Code is run, and not that it is none of the credentials."""
    return not resolver.given(claude_code.CLAUDE_CODE) and any(map(resolver.given, claude_code.IMPLYING))


def _check_workers(resolver: Resolver, findings: Findings) -> None:
    if resolver.get(scale.WORKERS) > 1 and not resolver.given(scale.REDIS_URL):
        findings.wrong("WORKERS", "more than one process needs REDIS_URL")
    if resolver.get(scale.REDIS_URL) is not None and not resolver.given(table.SECRET_KEY):
        findings.wrong("SECRET_KEY", "is needed with REDIS_URL, the same for all that share it")


def _mirror(resolver: Resolver, findings: Findings) -> MirrorSettings:
    """The mirror; what it remembers of its callers is in one process's memory, so it serves in no other number."""
    mirror = MirrorSettings(
        enabled=resolver.get(web.ENABLE_MIRROR_API), prefix=resolver.get(web.MIRROR_API_PREFIX)
    )
    if mirror.enabled and (resolver.get(scale.WORKERS) > 1 or resolver.get(scale.REDIS_URL) is not None):
        findings.wrong("ENABLE_MIRROR_API", "works in a single process only, without WORKERS and REDIS_URL")
    if mirror.prefix.split("/")[1] in _TAKEN:
        findings.wrong("MIRROR_API_PREFIX", "begins like the path of another endpoint")
    return mirror


def _tracing(resolver: Resolver) -> TracingSettings | None:
    endpoint = resolver.get(tracing.OTEL_EXPORTER_OTLP_ENDPOINT)
    headers = resolver.get(tracing.OTEL_EXPORTER_OTLP_HEADERS)
    name = resolver.get(tracing.OTEL_SERVICE_NAME)
    if endpoint is None or resolver.get(tracing.OTEL_SDK_DISABLED):
        return None
    return TracingSettings(endpoint=endpoint, headers=headers, service_name=name)


def _web(resolver: Resolver) -> WebSettings:
    return WebSettings(
        delete=resolver.get(web.CHAT_DELETE),
        max_history_characters=resolver.get(web.MAX_CHAT_HISTORY_LENGTH),
        role_prefixes=not resolver.get(web.NO_ROLE_PREFIX),
        disable_artifacts=resolver.get(web.PROMPT_DISABLE_ARTIFACTS),
    )


def _sources(
    resolver: Resolver, paths: _Paths, layers: tuple[Layer, ...], findings: Findings
) -> CredentialSources:
    sessions_file = resolver.get(table.SESSIONS_FILE)
    dotenv = layers[2]
    return CredentialSources(
        sessions_file=paths.at(sessions_file or "sessions.json"),
        sessions_file_required=sessions_file is not None,
        anthropic_api_keys=resolver.get(table.ANTHROPIC_API_KEYS),
        anthropic_base_url=resolver.get(table.ANTHROPIC_BASE_URL),
        web_sessions=resolver.get(web.SESSIONS),
        claude_web_base_url=resolver.get(web.CLAUDE_WEB_BASE_URL),
        claude_api_keys=resolver.get(claude_code.CLAUDE_API_KEYS),
        claude_code=resolver.get(claude_code.CLAUDE_CODE),
        claude_code_implied=_implies_claude_code(resolver),
        claude_program=resolver.get(claude_code.CLAUDE_BINARY_PATH) or resolver.get(claude_code.COMMAND),
        fallbacks=_fallbacks(resolver, findings),
        way_out=resolver.get(table.PROXY),
        variables={
            name: Secret(text) for name, text in dotenv.texts.items() if name not in resolver.names and text
        },
    )


def _fallbacks(resolver: Resolver, findings: Findings) -> tuple[Fallback, ...]:
    found: list[Fallback] = []
    for number, settings in enumerate(fallbacks.FALLBACK_SETTINGS, 1):
        name, url, key, model = (resolver.get(setting) for setting in settings)
        if url is not None:
            found.append(
                Fallback(
                    number=number,
                    name=cast(str | None, name),
                    url=cast(str, url),
                    key=cast(Secret | None, key),
                    model=cast(str | None, model),
                )
            )
        elif any(resolver.given(setting) for setting in settings) and not resolver.given(settings[1]):
            findings.wrong(f"FALLBACK_API_URL_{number}", "is missing; the fallback has other settings")
    return tuple(found)


def _policy(resolver: Resolver, findings: Findings) -> Policy:
    numbers = {attribute: resolver.get(setting) for attribute, setting in table.POLICY.items()}
    given = {attribute for attribute, setting in table.POLICY.items() if resolver.given(setting)}
    if (timeout_s := resolver.get(table.REQUEST_TIMEOUT)) is not None:
        implied: dict[str, object] = {"unary_timeout_s": timeout_s, "idle_timeout_s": timeout_s}
        # A whole answer may take that long, so the deadline must not cut it off earlier.
        if timeout_s > cast(float, numbers["deadline_s"]):
            implied["deadline_s"] = timeout_s
        numbers |= {attribute: value for attribute, value in implied.items() if attribute not in given}
    policy = msgspec.convert(numbers, Policy)
    pairs = (
        ("backoff_base_s", "backoff_max_s"),
        ("billing_cooling_s", "billing_max_s"),
        ("blocked_cooling_s", "blocked_max_s"),
        ("event_max_bytes", "upstream_body_max_bytes"),
    )
    for low, high in pairs:
        if cast(float, getattr(policy, low)) > cast(float, getattr(policy, high)):
            findings.wrong(table.POLICY[low].name, f"is greater than {table.POLICY[high].name}")
    return policy
