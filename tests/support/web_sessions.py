"""Gateways with claude.ai sessions, and what they left at the simulated site."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from proxy.simulator import Simulator
from tests.support.house import Spoken, until

COOKIES: Final = ("sk-ant-sid01-canary-one", "sk-ant-sid01-canary-two")
Entries = Callable[[str], list[Mapping[str, object]]]


def place_of(url: str) -> str:
    """A simulator's address by its host name: cookies of a bare address are thrown away."""
    return url.replace("127.0.0.1", "localhost")


def session_entry(url: str, cookie: str, name: str = "web-1", **fields: object) -> Mapping[str, object]:
    """One session as ``sessions.json`` has it."""
    entry = {"name": name, "kind": "claude_web", "session_key": cookie, "base_url": place_of(url)}
    return {**entry, **fields}


def sessions(*cookies: str, others: Iterable[Mapping[str, object]] = ()) -> Entries:
    """Entries of a ``sessions.json`` for these cookies, and others."""

    def entries(url: str) -> list[Mapping[str, object]]:
        own = [session_entry(url, cookie, f"web-{number}") for number, cookie in enumerate(cookies, 1)]
        return [*own, *others]

    return entries


async def nothing_left(simulator: Simulator, *, made: int) -> None:
    """Wait until so many conversations were made and all are deleted; each once, with its own session's cookies."""
    ledger = simulator.site.ledger
    await until(lambda: len(ledger.conversations) >= made and not ledger.alive)
    assert len(ledger.conversations) == made
    assert all(one.deleted_by == one.created_by for one in ledger.conversations.values())
    assert ledger.leaks == []
    assert len(deletions(simulator)) == made
    assert ledger.account_changes == 0


def deletions(simulator: Simulator) -> list[str]:
    """The addresses of all deletions the site was asked for and carried out."""
    asked = simulator.record.requests
    return [one.path for one in asked if one.method == "DELETE" and one.status == 204]


def completions(simulator: Simulator) -> list[int]:
    """The bytes of each question the site was asked."""
    return [one.body_bytes for one in simulator.record.requests if one.path.endswith("/completion")]


def image_block(spoken: Spoken, data: str) -> dict[str, object]:
    """A PNG in a dialect, from its base64 text."""
    if spoken is Spoken.CHAT:
        return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
