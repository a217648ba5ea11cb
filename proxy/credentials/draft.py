"""A credential as it was found, before names and defaults are settled."""

from dataclasses import dataclass, field
from typing import Final, assert_never

from proxy.credentials.credential import Credential, Kind, is_login
from proxy.secrets import Secret
from proxy.settings import CredentialSources

NAME_PREFIX: Final = {
    Kind.ANTHROPIC: "api",
    Kind.CLAUDE_WEB: "web",
    Kind.CLAUDE_CODE: "code",
    Kind.OPENAI: "fallback",
}
_KEYS_PLACES: Final = 4


@dataclass(slots=True, kw_only=True)
class Draft:
    """What one place says about one credential.

    Attributes:
        where: the place, for messages: a setting's name, or the file and a path inside it.
        kind: which upstream it opens.
        name: None to have one made.
        prefix: the beginning of a made name.
        number: the number of a made name, if the place implies one.

    The other attributes are those of `Credential`; None stands for the default.
    """

    where: str
    kind: Kind
    name: str | None = None
    prefix: str | None = None
    number: int | None = None
    secret: Secret | None = None
    base_url: str | None = None
    weight: int = 1
    tier: int = 0
    models: tuple[str, ...] = ()
    max_concurrency: int | None = None
    requests_per_minute: int | None = None
    way_out: Secret | None = None
    organization: str | None = None
    clients: frozenset[str] = field(default=frozenset())
    enabled: bool = True
    model: str | None = None
    fallback: bool = False
    working_dir: str | None = None
    cli_path: str | None = None
    config_dir: str | None = None

    def settled(self, name: str, sources: CredentialSources) -> Credential:
        """The credential, with the configuration's defaults where the place said nothing."""
        return Credential(
            name=name,
            kind=self.kind,
            secret=self.secret,
            base_url=self._address(sources),
            weight=self.weight,
            tier=self.tier,
            models=self.models,
            max_concurrency=self.max_concurrency or self._places(),
            requests_per_minute=self.requests_per_minute,
            way_out=self.way_out or sources.way_out,
            organization=self.organization,
            clients=self.clients,
            enabled=self.enabled,
            model=self.model,
            fallback=self.fallback or self.kind is Kind.OPENAI,
            working_dir=self.working_dir,
            cli_path=self._program(sources),
            config_dir=self.config_dir,
        )

    def _places(self) -> int | None:
        """How many requests it takes at one time where nothing is said: a person's login one."""
        match self.kind:
            case Kind.CLAUDE_WEB:
                return 1
            case Kind.CLAUDE_CODE:
                return 1 if is_login(self.secret) else _KEYS_PLACES
            case Kind.ANTHROPIC | Kind.OPENAI:
                return None
            case _:
                assert_never(self.kind)

    def _program(self, sources: CredentialSources) -> str | None:
        return self.cli_path or (sources.claude_program if self.kind is Kind.CLAUDE_CODE else None)

    def _address(self, sources: CredentialSources) -> str:
        web = self.kind is Kind.CLAUDE_WEB
        url = self.base_url or (sources.claude_web_base_url if web else sources.anthropic_base_url)
        # Paths of Anthropic's API begin with "/v1"; many write it into the address as OpenAI's SDKs want it.
        return url if self.kind is Kind.OPENAI else url.removesuffix("/v1")
