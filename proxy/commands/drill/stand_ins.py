"""A copy of the configuration in which every secret and every address is a stand-in."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, assert_never

from proxy.credentials import Credential, Kind
from proxy.secrets import Secret
from proxy.settings import Address as Listening
from proxy.settings import MediaSettings, Settings
from proxy.simulator.faults.elsewhere import Elsewhere
from proxy.simulator.faults.fault import Address, key_of, organization_of

CLIENT_KEY: Final = Secret("drill-client-key-of-nobody")
_ADMIN_KEY: Final = Secret("drill-admin-key-of-nobody")
_SECRET_KEY: Final = Secret("drill-secret-key-of-nobody")
_EVENT_MAX_BYTES: Final = 16_384


@dataclass(frozen=True, slots=True)
class StandIns:
    """Stand-ins of the configured credentials: as many, of the same kinds, aliases, tiers, weights and limits.

    Attributes:
        credentials: without an address.
        organizations: made-up names of those several of them belong to, by alias.
        left_out: aliases of those for which there is none: Claude Code is a program, and switched off is switched off.
    """

    credentials: tuple[Credential, ...]
    organizations: Mapping[str, str]
    left_out: tuple[str, ...]

    @classmethod
    def of(cls, configured: Iterable[Credential]) -> "StandIns":
        """Those of a configuration."""
        found = tuple(configured)
        used = [each for each in found if each.enabled and each.kind is not Kind.CLAUDE_CODE]
        labels: dict[str, str] = {}
        organizations: dict[str, str] = {}
        for each in used:
            if each.organization is not None and each.kind is Kind.ANTHROPIC:
                label = labels.setdefault(each.organization, f"organization-{len(labels) + 1}")
                organizations[each.name] = label
        return cls(
            tuple(_stand_in(each, organizations.get(each.name)) for each in used),
            organizations,
            tuple(each.name for each in found if each not in used),
        )

    def organization_told_of(self, alias: str) -> str:
        """The organization an error may quote; only the API tells which it is, so only then can it be kept back."""
        kinds = {each.name: each.kind for each in self.credentials}
        made = organization_of(key_of(alias)) if kinds[alias] is Kind.ANTHROPIC else "its owner"
        return self.organizations.get(alias, made)

    def at(
        self, elsewhere: Elsewhere, url: str, site_url: str, failing: frozenset[str], address: Address
    ) -> tuple[Credential, ...]:
        """The same at the simulated Claude, and the `failing` ones at another address."""
        return tuple(
            replace(
                each,
                base_url=_at(
                    each.kind, elsewhere, url, site_url, address if each.name in failing else Address.SHARED
                ),
            )
            for each in self.credentials
        )


def _stand_in(credential: Credential, organization: str | None) -> Credential:
    return Credential(
        name=credential.name,
        kind=credential.kind,
        secret=Secret(key_of(credential.name)),
        base_url="",
        weight=credential.weight,
        tier=credential.tier,
        models=credential.models,
        max_concurrency=credential.max_concurrency,
        organization=organization,
        model=credential.model,
        fallback=credential.fallback,
    )


def _at(kind: Kind, elsewhere: Elsewhere, url: str, site_url: str, address: Address) -> str:
    simulated = address in {Address.SHARED, Address.OWN}
    base = (site_url if kind is Kind.CLAUDE_WEB else url) if simulated else elsewhere.url(address, url, 0)
    match kind:
        case Kind.ANTHROPIC | Kind.CLAUDE_WEB | Kind.CLAUDE_CODE:
            return base
        case Kind.OPENAI:
            return f"{base}/v1"
        case _:
            assert_never(kind)


def stand_in_settings(settings: Settings, folder: Path) -> Settings:
    """The operator's own numbers, in one process that keeps everything in `folder` and knows none of their secrets.

    The largest event it takes is 16 KiB, so that one that is too large need not be large.
    """
    access, sources = settings.access, settings.sources
    return replace(
        settings,
        address=Listening("127.0.0.1", 0),
        access=replace(
            access,
            client_keys=(CLIENT_KEY,),
            require_auth=True,
            admin_key=_ADMIN_KEY,
            secret_key=_SECRET_KEY,
        ),
        sources=replace(
            sources,
            anthropic_api_keys=(),
            web_sessions=(),
            claude_api_keys=None,
            claude_code=False,
            claude_code_implied=False,
            fallbacks=(),
            way_out=None,
            variables={},
        ),
        data_dir=folder,
        database=folder / "drill.db",
        policy=replace(settings.policy, event_max_bytes=_EVENT_MAX_BYTES),
        media=MediaSettings(),
        redis_url=None,
        tracing=None,
        workers=1,
    )
