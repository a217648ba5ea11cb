"""Keys of repeated orders are the same although they are kept nowhere, and orders are written down."""

import re

from proxy.access import Desk
from proxy.access.clients import ClientKeys
from proxy.access.desk import COMMAND_LINE
from proxy.access.stored import StoredKeys
from tests.support.access import MemoryAccess
from tests.support.clock import FakeClock
from tests.unit.access.test_rules import NO_LIMITS


def _desk(secret_key: bytes = b"s" * 32) -> Desk:
    store, clock = MemoryAccess(), FakeClock()
    stored = StoredKeys(store, ClientKeys((), require_auth=True), clock, NO_LIMITS)
    return Desk(stored, store, clock, secret_key)


def test_a_key_is_found_again_only_with_all_it_was_made_of() -> None:
    """Protects keys from whoever has only the database, only the secret key, or only the order."""
    made = _desk().issued_key("nonce", "order")
    assert re.fullmatch(r"sk-carousel-[A-Za-z0-9_-]{43}", made.reveal())
    assert made == _desk().issued_key("nonce", "order")
    others = [
        _desk().issued_key("nonce2", "order"),
        _desk().issued_key("nonce", "order2"),
        _desk().issued_key("nonce", None),
        _desk(b"t" * 32).issued_key("nonce", "order"),
    ]
    assert made not in others
    assert len(set(others)) == 4


async def test_orders_are_read_newest_first_and_in_pages() -> None:
    """Protects whoever has to find out who did what."""
    desk = _desk()
    for number in range(5):
        await desk.audit.note("keys.new", f"n{number}", remote="192.0.2.1", request_id="req_1")
    await desk.audit.note("keys.revoke", "n0", actor=COMMAND_LINE)
    first = await desk.audit.last(2, None)
    assert [(row.action, row.target, row.actor) for row in first] == [
        ("keys.revoke", "n0", "command line"),
        ("keys.new", "n4", "admin key"),
    ]
    assert [row.target for row in await desk.audit.last(10, first[-1].id)] == ["n3", "n2", "n1", "n0"]
    assert first[1].remote == "192.0.2.1"
