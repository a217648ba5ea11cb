"""What operators are told about claude.ai sessions."""

from dataclasses import replace

import pytest

from proxy.credentials import Credential, Kind
from proxy.credentials.sessions import session_warnings
from proxy.secrets import Secret
from proxy.settings import AccessSettings

_BOUND = Credential(
    name="ann",
    kind=Kind.CLAUDE_WEB,
    secret=Secret("sk-ant-sid01-canary"),
    base_url="https://claude.test",
    clients=frozenset({"env-1"}),
)
_OPEN = replace(_BOUND, name="bob", clients=frozenset())
_KEY = replace(_OPEN, name="key", kind=Kind.ANTHROPIC)


def _access(keys: int, *, require_auth: bool = True) -> AccessSettings:
    secrets = tuple(Secret(f"k{number}") for number in range(keys))
    return AccessSettings(client_keys=secrets, require_auth=require_auth, admin_key=None, secret_key=None)


@pytest.mark.parametrize(
    ("credentials", "access", "told"),
    [
        ((_KEY,), _access(2), []),
        ((replace(_OPEN, enabled=False),), _access(2), []),
        ((_BOUND, _KEY), _access(2), [""]),
        ((_OPEN,), _access(1), [""]),
        ((_OPEN,), _access(0), [""]),
        ((_OPEN, _BOUND, replace(_OPEN, name="eve"), _KEY), _access(2), ["", "bob, eve"]),
        ((_OPEN,), _access(1, require_auth=False), ["", "bob"]),
    ],
)
def test_terms_are_said_once_and_open_sessions_by_name(
    credentials: tuple[Credential, ...], access: AccessSettings, told: list[str]
) -> None:
    """Protects owners from sharing an account without knowing it; the line holds no secret."""
    lines = list(session_warnings(credentials, access))
    assert len(lines) == len(told)
    assert all(name in line for name, line in zip(told, lines, strict=True))
    assert not any("canary" in line or "ann" in line for line in lines[1:])
    assert not lines or "own" in lines[0]
