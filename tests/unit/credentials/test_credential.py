"""One credential: what names it, and what shows of it."""

from proxy.credentials import Credential, Kind
from proxy.secrets import Secret

KEY = b"k" * 32
CANARY = "sk-ant-api03-canary"


def credential(**changes: object) -> Credential:
    """A credential that differs from the usual one in these attributes."""
    usual: dict[str, object] = {
        "name": "work",
        "kind": Kind.ANTHROPIC,
        "secret": Secret(CANARY),
        "base_url": "https://api.anthropic.com",
    }
    return Credential(**{**usual, **changes})  # type: ignore[arg-type] # each test gives the right types


def test_health_follows_the_key_and_where_it_is_used_but_not_the_alias() -> None:
    """Protects a new key under an old alias from the old one's health, and a renamed one from losing its own."""
    base = credential().fingerprint(KEY)
    assert credential(name="other", weight=5, tier=2).fingerprint(KEY) == base
    for changed in (
        credential(secret=Secret(CANARY + "x")),
        credential(kind=Kind.OPENAI),
        credential(base_url="https://example.com"),
        credential(secret=None),
    ):
        assert changed.fingerprint(KEY) != base
    assert credential().fingerprint(b"j" * 32) != base


def test_logins_without_a_secret_are_told_apart_by_their_folder() -> None:
    """Protects two logins of one machine from sharing their health."""
    one = credential(secret=None, kind=Kind.CLAUDE_CODE, config_dir="/a")
    two = credential(secret=None, kind=Kind.CLAUDE_CODE, config_dir="/b")
    assert one.fingerprint(KEY) != two.fingerprint(KEY)
    assert one.identity != two.identity


def test_nothing_secret_shows_in_a_credential() -> None:
    """Protects logs of the pool from keys and from proxy passwords."""
    shown = repr(credential(way_out=Secret(f"http://u:{CANARY}@h")))
    assert CANARY not in shown
    assert "work" in shown
