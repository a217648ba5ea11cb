"""The values that pass in and out of the pool."""

from proxy.pool.outcomes import Ticket
from tests.unit.pool.building import WANT, bench


def test_two_tickets_are_two_keys() -> None:
    """Protects waiting requests: two that want the same are told apart."""
    walk = bench("a").walk()
    tickets = {Ticket(WANT, walk, 0.0): "first", Ticket(WANT, walk, 0.0): "second"}
    assert list(tickets.values()) == ["first", "second"]
