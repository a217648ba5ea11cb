"""Kept conversations: each is handed out once, the oldest go first, and a restart forgets none."""

import pytest

from proxy.store.base import HeldConversation
from proxy.upstreams.claude_web import holding
from proxy.upstreams.claude_web.holding import Held
from tests.unit.upstreams.claude_web.building import MemoryLedger


def _held(name: str, history: str = "h", fingerprint: str = "f", used_unix_ms: int = 1) -> HeldConversation:
    return HeldConversation(
        conversation=name,
        fingerprint=fingerprint,
        organization="o",
        history=history,
        parent="p",
        used_unix_ms=used_unix_ms,
    )


async def test_a_conversation_is_handed_out_once_and_only_to_its_session() -> None:
    """Protects two questions from answering into one place, and accounts from each other."""
    ledger = MemoryLedger()
    held = Held(ledger)
    await held.keep(_held("c"))
    assert list(ledger.held) == ["c"]
    assert await held.take("other", "h") is None
    assert await held.take("f", "other") is None
    assert await held.take("f", "h") == _held("c")
    assert (await held.take("f", "h"), ledger.held, len(held)) == (None, {}, 0)


async def test_of_two_with_the_same_words_the_newer_one_is_known() -> None:
    """Protects the ledger from rows nobody can reach."""
    ledger = MemoryLedger()
    held = Held(ledger)
    await held.keep(_held("c"))
    await held.keep(_held("d"))
    assert (list(ledger.held), len(held)) == (["d"], 1)


async def test_the_oldest_are_left_out_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects memory and disk from years of conversations."""
    monkeypatch.setattr(holding, "HELD_MAX", 2)
    ledger = MemoryLedger()
    held = Held(ledger)
    for name in "abc":
        await held.keep(_held(name, history=name))
    assert (list(ledger.held), repr(held)) == (["b", "c"], "<Held 2 conversations>")
    again = Held(ledger)
    await again.restore()
    assert await again.take("f", "c") == _held("c", history="c")


async def test_a_full_disk_costs_no_conversation() -> None:
    """Protects continuing while nothing can be written."""
    ledger = MemoryLedger()
    ledger.broken = True
    held = Held(ledger)
    await held.keep(_held("c"))
    assert await held.take("f", "h") == _held("c")
