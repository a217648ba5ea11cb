"""The values that result from all settings together."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from proxy.secrets import Secret
from proxy.settings.code_policy import CodePolicy
from proxy.settings.conversations import ConversationSettings
from proxy.settings.media import MediaSettings
from proxy.settings.policy import Policy
from proxy.settings.shapes import Address, ModelAliases, WebSession
from proxy.settings.table import LogFormat, Strategy, ThinkingChoice
from proxy.settings.values import LogLevel


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessSettings:
    """Who may use the server.

    Attributes:
        client_keys: the keys of all names, each once, in their order; empty where one has to be made.
        require_auth: whether clients need a key.
        admin_key: None where one has to be made.
        secret_key: signs what the server hands out; None where one has to be made.
    """

    client_keys: tuple[Secret, ...]
    require_auth: bool
    admin_key: Secret | None
    secret_key: Secret | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """How much may be asked, how often a key may be guessed, and from where.

    Attributes:
        requests_per_minute: of the whole server, or None.
        client_requests_per_minute: of each client key without a number of its own, or None.
        tokens_per_minute: of the whole server, or None.
        wrong_keys_per_minute: from one address.
        wrong_keys_block_s: the longest time further wrong keys are answered with 429.
        cors_origins: web origins whose pages may call the API; ``*`` alone stands for all.
        trusted_proxies: networks whose forwarding headers are believed.
    """

    requests_per_minute: int | None
    client_requests_per_minute: int | None
    tokens_per_minute: int | None
    wrong_keys_per_minute: int
    wrong_keys_block_s: float
    cors_origins: tuple[str, ...]
    trusted_proxies: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """One numbered fallback.

    Attributes:
        number: 1 to 5, as in its settings' names.
        name: its alias, or None.
        url: its address.
        key: its key; None where the service needs none.
        model: the model it is asked for, or None for the client's.
    """

    number: int
    name: str | None
    url: str
    key: Secret | None
    model: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialSources:
    """Where credentials come from, beside the file of credentials what the environment says.

    Attributes:
        sessions_file: the file of credentials, absolute.
        sessions_file_required: whether it was named, so that its absence is a mistake.
        anthropic_api_keys: of all names, each once.
        anthropic_base_url: where they are used.
        web_sessions: the cookies of ``SESSIONS``.
        claude_web_base_url: where they are used.
        claude_api_keys: the JSON text of ``CLAUDE_API_KEYS``, not yet read.
        claude_code: whether this machine's own login is a credential.
        claude_code_implied: whether it is one where no other is configured, as other settings speak of it.
        claude_program: the Claude Code program of every credential without its own; None for the bundled one.
        fallbacks: by number.
        way_out: the proxy of every credential without its own.
        variables: what ``.env`` holds beside settings, for ``$NAME`` references.
    """

    sessions_file: Path
    sessions_file_required: bool
    anthropic_api_keys: tuple[Secret, ...]
    anthropic_base_url: str
    web_sessions: tuple[WebSession, ...]
    claude_web_base_url: str
    claude_api_keys: Secret | None
    claude_code: bool
    fallbacks: tuple[Fallback, ...]
    way_out: Secret | None
    variables: Mapping[str, Secret]
    claude_code_implied: bool = False
    claude_program: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaudeCodeSettings:
    """How Claude Code is run.

    Attributes:
        timeout_s: in place of the times of other kinds of credentials: for a whole answer, and for silence in one
            that is streamed; None for theirs.
        processes: most of them in all; None for as many as the machine has cores and memory for.
        keeps: whether processes serve more than one request.
        policy: what requests may ask it for.
        shell_file: where the first usable key is written for shells, absolute; None for nowhere.
    """

    timeout_s: float | None = None
    processes: int | None = None
    keeps: bool = True
    policy: CodePolicy = field(default_factory=CodePolicy)
    shell_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """How claude.ai sessions are used.

    Attributes:
        delete: whether conversations are deleted after use.
        max_history_characters: above so many characters a history is sent as a file.
        role_prefixes: whether each message of a history says whose it is.
        disable_artifacts: whether the model is asked for no artifacts.
    """

    delete: bool = True
    max_history_characters: int = 10_000
    role_prefixes: bool = True
    disable_artifacts: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorSettings:
    """The API for callers who bring a claude.ai session of their own.

    Attributes:
        enabled: whether there is one.
        prefix: what its paths begin with, a slash first and none last.
    """

    enabled: bool = False
    prefix: str = "/mirror"


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """The cache of answers.

    Attributes:
        enabled: whether there is one.
        ttl_s: seconds an answer is kept.
        max_entries: how many.
        max_bytes: of all of them together, those included that are just being written.
    """

    enabled: bool = False
    ttl_s: int = 3600
    max_entries: int = 1000
    max_bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestDefaults:
    """What a request gets that does not say it itself.

    Attributes:
        model: None for the catalog's newest Sonnet.
        temperature: 0 to 1, or None.
        max_tokens: None for the model's own.
        thinking_format: None for ``think`` on ``-think`` ids and ``reasoning_content`` elsewhere.
        auto_cache: whether long conversations are marked for the prompt cache where the client's dialect has no marks.
        fallback_drops_claude_options: whether a fallback answers without what Claude Code alone can do.
        web: how it is put to a claude.ai session.
    """

    model: str | None
    temperature: float | None
    max_tokens: int | None
    thinking_format: ThinkingChoice | None
    auto_cache: bool = True
    fallback_drops_claude_options: bool = False
    web: WebSettings = WebSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class TracingSettings:
    """Where traces go.

    Attributes:
        endpoint: of the collector, without ``/v1/traces``.
        headers: sent with each export; names in lower case.
        service_name: what this server is called there.
    """

    endpoint: str
    headers: tuple[tuple[str, Secret], ...] = ()
    service_name: str = "carousel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The configuration, complete and checked.

    Attributes:
        address: where the server listens.
        in_image: whether the program runs in its container image.
        access: who may use it.
        limits: how much.
        sources: where credentials come from.
        defaults: what requests get that do not say it themselves.
        aliases: how model ids are mapped.
        model_fallbacks: patterns of models, and what is asked where no credential can answer for them.
        model_catalog_file: laid over the built-in catalog; absolute, or None.
        data_dir: the folder of everything the server keeps, absolute.
        database: the database's file, absolute.
        log_level: least severity that is logged.
        log_format: the shape of log lines.
        drain_delay_s: seconds after SIGTERM in which new connections are still taken.
        drain_s: seconds running streams are given after SIGTERM.
        ready_needs_credential: whether a server none of whose credentials can be used says that it is not ready.
        responses_ttl_s: seconds a stored response is kept after its last use.
        strategy: who is next among the credentials of a tier.
        policy: the numbers of the pool and the relay.
        warnings: sentences for the operator, each said once at start; they hold no secret.
        media: what is got for requests that name images and documents instead of holding them.
        conversations: what is remembered of conversations.
        cache: of answers.
        claude_code: how Claude Code is run.
        redis_url: of the Redis several processes share; None where this one is alone.
        workers: how many processes serve.
        mirror: the API for callers' own claude.ai sessions.
        tracing: where traces go; None where they are not made.
    """

    address: Address
    in_image: bool
    access: AccessSettings
    limits: LimitSettings
    sources: CredentialSources
    defaults: RequestDefaults
    aliases: ModelAliases
    model_fallbacks: tuple[tuple[str, str], ...]
    model_catalog_file: Path | None
    data_dir: Path
    database: Path
    log_level: LogLevel
    log_format: LogFormat
    drain_delay_s: float
    drain_s: float
    responses_ttl_s: int
    strategy: Strategy
    policy: Policy
    warnings: tuple[str, ...]
    media: MediaSettings = field(default_factory=MediaSettings)
    conversations: ConversationSettings = field(default_factory=ConversationSettings)
    cache: CacheSettings = CacheSettings()
    claude_code: ClaudeCodeSettings = field(default_factory=ClaudeCodeSettings)
    redis_url: Secret | None = field(default=None, repr=False)
    workers: int = 1
    mirror: MirrorSettings = MirrorSettings()
    tracing: TracingSettings | None = None
    ready_needs_credential: bool = False
