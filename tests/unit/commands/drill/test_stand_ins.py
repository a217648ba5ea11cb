"""Stand-ins hold nothing of the operator's secrets, and are otherwise as their credentials are."""

from pathlib import Path

from proxy.commands.drill.stand_ins import StandIns, stand_in_settings
from proxy.credentials import Credential, Kind
from proxy.secrets import Secret
from proxy.settings import load_settings
from proxy.simulator.faults.elsewhere import Elsewhere
from proxy.simulator.faults.fault import Address

_OWN = "https://owner.example"
_ELSEWHERE = Elsewhere(
    "http://127.0.0.1:1", "http://127.0.0.1:2", "https://127.0.0.1:3", "https://127.0.0.1:4"
)


def own(name: str, kind: Kind, organization: str | None = None, *, enabled: bool = True) -> Credential:
    """One of the operator's."""
    return Credential(
        name=name,
        kind=kind,
        secret=Secret(f"canary-{name}"),
        base_url=_OWN,
        weight=3,
        tier=2,
        way_out=Secret("socks5://canary:canary@owner.example:1080"),
        organization=organization,
        clients=frozenset({"alice"}),
        enabled=enabled,
        config_dir="/home/canary",
    )


OWN = (
    own("a", Kind.ANTHROPIC, "org-canary"),
    own("b", Kind.ANTHROPIC, "org-canary"),
    own("c", Kind.ANTHROPIC),
    own("w", Kind.CLAUDE_WEB, "org-canary"),
    own("o", Kind.OPENAI),
    own("code", Kind.CLAUDE_CODE),
    own("off", Kind.ANTHROPIC, enabled=False),
)


def test_there_are_as_many_of_the_same_kinds_and_none_knows_a_secret() -> None:
    """Protects credentials from a drill, which needs none of them."""
    stand_ins = StandIns.of(OWN)
    found = stand_ins.at(_ELSEWHERE, "http://127.0.0.1:9", "http://localhost:9", frozenset(), Address.SHARED)
    assert [(each.name, each.kind, each.weight, each.tier) for each in found] == [
        (each.name, each.kind, 3, 2) for each in OWN[:5]
    ]
    shown = [
        str((each, each.secret.reveal() if each.secret else "", each.way_out, each.config_dir))
        for each in found
    ]
    assert not [text for text in shown if "canary" in text or "owner.example" in text]
    assert stand_ins.left_out == ("code", "off")


def test_those_of_one_organization_stay_together() -> None:
    """Protects the truth of the drill: limits and credit are shared as they are in earnest."""
    stand_ins = StandIns.of(OWN)
    assert stand_ins.organizations == {"a": "organization-1", "b": "organization-1"}
    assert stand_ins.organization_told_of("b") == "organization-1"
    assert stand_ins.organization_told_of("c") not in {"organization-1", "its owner"}
    assert stand_ins.organization_told_of("w") == "its owner"


def test_only_the_failing_ones_are_elsewhere_and_each_kind_has_its_path() -> None:
    """Protects against a fault that all have where one should."""
    found = StandIns.of(OWN).at(
        _ELSEWHERE, "http://127.0.0.1:9", "http://localhost:9", frozenset({"a", "o"}), Address.CLOSED
    )
    assert {each.name: each.base_url for each in found} == {
        "a": "http://127.0.0.1:1",
        "b": "http://127.0.0.1:9",
        "c": "http://127.0.0.1:9",
        "w": "http://localhost:9",
        "o": "http://127.0.0.1:1/v1",
    }


def test_settings_keep_their_numbers_and_lose_their_secrets(tmp_path: Path) -> None:
    """Protects keys, the database and Redis: the drill has its own of each."""
    environment = {
        "API_KEYS": "canary-client-key-0123456789",
        "ADMIN_KEY": "canary-admin-key-0123456789",
        "SECRET_KEY": "canary-secret-key-0123456789",
        "ANTHROPIC_API_KEYS": "canary-api-key",
        "SESSIONS": "canary-cookie",
        "PROXY": "http://canary:canary@owner.example:3128",
        "REDIS_URL": "redis://:canary@owner.example:6379",
        "WORKERS": "2",
        "RETRY_COUNT": "5",
        "DATA_DIR": str(tmp_path / "own"),
    }
    settings = load_settings({}, environment, tmp_path)
    found = stand_in_settings(settings, tmp_path / "drill")
    secrets = [*found.access.client_keys, found.access.admin_key, found.access.secret_key]
    assert not [one for one in secrets if one is None or "canary" in one.reveal()]
    sources = found.sources
    assert (sources.anthropic_api_keys, sources.web_sessions, sources.fallbacks) == ((), (), ())
    assert (sources.way_out, sources.claude_api_keys, dict(sources.variables)) == (None, None, {})
    assert (found.redis_url, found.workers, found.address.host) == (None, 1, "127.0.0.1")
    assert found.data_dir == found.database.parent == tmp_path / "drill"
    assert found.policy.retry_count == settings.policy.retry_count == 5
