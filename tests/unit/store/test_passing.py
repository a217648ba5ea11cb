"""The store of one request remembers what is still owed, and nothing else."""

from proxy.store.base import HealthRow, HeldConversation, OwedDeletion
from proxy.store.passing import PassingStore

_OWED = OwedDeletion(conversation="c", fingerprint="f", organization="o", since_unix_ms=1)
_HELD = HeldConversation(
    conversation="c", fingerprint="f", organization="o", history="h", parent="p", used_unix_ms=1
)


async def test_what_is_owed_is_there_until_it_is_paid() -> None:
    """Protects callers from an account of leftovers that is wrong."""
    store = PassingStore()
    await store.save_deletion(_OWED)
    assert await store.load_deletions() == (_OWED,)
    await store.forget_deletion("other")
    assert list(store.owed) == ["c"]
    await store.forget_deletion("c")
    assert await store.load_deletions() == ()


async def test_nothing_else_is_kept() -> None:
    """Protects callers' accounts from being remembered."""
    store = PassingStore()
    await store.save_held(_HELD)
    await store.save_health((HealthRow(fingerprint="f", state="ready", since_unix_ms=1),))
    assert await store.load_held() == ()
    assert await store.load_health() == ()
    await store.forget_held("c")
    await store.forget_health(("f",))
