"""What lets us speak to one upstream."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from proxy.secrets import Secret

_LOGIN_TOKEN: Final = "sk-ant-oat"  # noqa: S105 - how such tokens begin


class Kind(StrEnum):
    """Which sort of upstream a credential opens."""

    ANTHROPIC = "anthropic"
    CLAUDE_WEB = "claude_web"
    CLAUDE_CODE = "claude_code"
    OPENAI = "openai"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """One credential, complete and checked.

    Attributes:
        name: its unique alias, the only thing of it that is ever shown: 1 to 64 of ``A-Za-z0-9._-``.
        kind: which upstream it opens.
        secret: its key, cookie or token; None where none is needed or a login of this machine is used.
        base_url: where it is used, without a slash at its end; ``anthropic`` without ``/v1``, ``openai``
            with it.
        weight: its share of the rotation, 1 to 1000.
        tier: 0 to 99, and from 100 on for the fallbacks of the environment; lower ones are used first.
        models: patterns of the model ids it may be used for; empty for all.
        max_concurrency: most requests at one time; None for no limit.
        requests_per_minute: most requests a minute; None for no limit.
        way_out: the proxy it is used through, which may hold a password; None for none.
        organization: the account it belongs to, as far as the operator said.
        clients: names of the client keys that may use it; empty for all.
        enabled: whether it may be used at all.
        model: the model asked for whatever the client named; None for the client's.
        fallback: whether it is a last resort; those of kind ``openai`` always are.
        working_dir: where Claude Code runs.
        cli_path: the Claude Code program.
        config_dir: the folder of the owner's own Claude Code login.
    """

    name: str
    kind: Kind
    secret: Secret | None
    base_url: str
    weight: int = 1
    tier: int = 0
    models: tuple[str, ...] = ()
    max_concurrency: int | None = None
    requests_per_minute: int | None = None
    way_out: Secret | None = None
    organization: str | None = None
    clients: frozenset[str] = frozenset()
    enabled: bool = True
    model: str | None = None
    fallback: bool = False
    working_dir: str | None = None
    cli_path: str | None = None
    config_dir: str | None = None

    @property
    def identity(self) -> tuple[Kind, str, Secret | str | None]:
        """Equal for two entries that are one credential: kind, address, and the secret or its stand-in."""
        return self.kind, self.base_url, self.secret or self.config_dir

    def fingerprint(self, key: bytes) -> str:
        """32 hex characters under which its health is stored.

        They follow the secret and where it is used, not the alias: a new key under an old alias is healthy.
        """
        secret = self.secret or Secret(f"\0{self.config_dir or ''}")
        return secret.fingerprint(key, f"credential\0{self.kind}\0{self.base_url}")


def is_login(secret: Secret | None) -> bool:
    """Whether a Claude Code credential is its owner's own login, which nothing but the program itself can use.

    That is one without a token, and one with a token of ``claude setup-token``; any other token is an API's key.
    """
    return secret is None or secret.reveal().startswith(_LOGIN_TOKEN)
