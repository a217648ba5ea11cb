"""What a person sees at the start: an address that works, where the keys are, and no key."""

import io
from pathlib import Path

import pytest

from proxy.access import Keys
from proxy.access.keys import OwnKey
from proxy.commands.banner import banner
from proxy.secrets import Secret
from proxy.settings.shapes import Address
from tests.unit.dispatch.building import credential

_CLIENT, _ADMIN = "sk-carousel-canary-client", "sk-carousel-canary-admin"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        """Whether somebody is looking."""
        return True


def _keys(*, made: bool, folder: Path = Path("/data")) -> Keys:
    client = OwnKey("client key", Secret(_CLIENT), folder / "client.key", made=made)
    admin = OwnKey("admin key", Secret(_ADMIN), folder / "admin.key", made=made)
    return Keys([client], admin, b"s" * 32, require_auth=True)


def _shown(
    out: io.StringIO, *, keys: Keys | None = None, address: str = "127.0.0.1", demo: bool = False
) -> str:
    credentials = [credential("work", secret=Secret("canary-upstream")), credential("team")]
    banner(out, Address(address, 8080), keys or _keys(made=False), credentials, demo=demo)
    return out.getvalue()


def test_it_names_the_address_and_the_credentials_by_alias() -> None:
    """Protects people from not knowing what runs, and their keys from the screen."""
    shown = _shown(io.StringIO())
    assert "listens on http://127.0.0.1:8080 with 2 credential(s): work, team" in shown
    assert "Dashboard: http://127.0.0.1:8080/dashboard" in shown
    assert "canary" not in shown


@pytest.mark.parametrize(
    ("made", "out", "seen"),
    [
        (True, _Terminal(), True),
        (True, io.StringIO(), False),
        (False, _Terminal(), False),
        (False, io.StringIO(), False),
    ],
    ids=["new, on a terminal", "new, in a file", "old, on a terminal", "old, in a file"],
)
def test_a_key_is_shown_once_and_only_to_a_person(made: bool, out: io.StringIO, seen: bool) -> None:
    """Protects keys from the logs that standard output ends in."""
    shown = _shown(out, keys=_keys(made=made))
    assert (_CLIENT in shown) is seen
    assert (_ADMIN in shown) is seen
    assert "client.key" in shown
    assert "admin.key" in shown


@pytest.mark.parametrize("address", ["0.0.0.0", "::"])  # noqa: S104 - shown, not bound
def test_the_example_asks_an_address_that_can_be_asked(address: str) -> None:
    """Protects people who paste the example from an address that is none."""
    shown = _shown(io.StringIO(), address=address)
    assert "curl http://127.0.0.1:8080/v1/chat/completions" in shown
    assert "$(cat /data/client.key)" in shown


@pytest.mark.parametrize("demo", [True, False])
def test_a_demo_says_that_it_is_one(demo: bool) -> None:
    """Protects people from taking a simulated answer for a real one."""
    shown = _shown(io.StringIO(), demo=demo)
    assert ("DEMO MODE" in shown) is demo
    assert ("[demo]" in shown) is demo
