"""Who of those that wait is next."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.pool.outcomes import Ticket, Want
from proxy.pool.queue import Queue
from tests.unit.pool.building import bench

_WALK = bench("a").walk()
CLIENTS = st.lists(st.sampled_from("abc"), max_size=40)


def ticket(client: str) -> Ticket:
    """A request of a client."""
    return Ticket(Want("claude-sonnet-5", "sonnet-5", client), _WALK, 0.0)


def queue_of(clients: str, length: int = 100) -> tuple[Queue, list[Ticket]]:
    """A queue these clients joined, one request a letter."""
    queue, tickets = Queue(length), [ticket(client) for client in clients]
    assert all(queue.join(each) for each in tickets)
    return queue, tickets


def served(queue: Queue, count: int = 100) -> str:
    """The clients of the next requests."""
    names = ""
    while len(names) < count and (following := next(iter(queue), None)) is not None:
        queue.serve(following)
        names += following.want.client
    return names


@pytest.mark.parametrize(
    ("came", "order"),
    [
        ("aaaab", "abaaa"),
        ("ab", "ab"),
        ("aaabbb", "ababab"),
        ("aabbcc", "abcabc"),
        ("aaaa", "aaaa"),
        ("", ""),
    ],
)
def test_clients_take_turns(came: str, order: str) -> None:
    """Protects clients from waiting for all the requests somebody else has sent before."""
    queue, _ = queue_of(came)
    assert served(queue) == order
    assert len(queue) == 0


def test_each_clients_own_requests_keep_their_order() -> None:
    """Protects the order a client has chosen."""
    queue, tickets = queue_of("aabab")
    for client in "ab":
        assert [each for each in queue if each.want.client == client] == [
            each for each in tickets if each.want.client == client
        ]


def test_who_comes_late_waits_for_one_request_of_another_at_most() -> None:
    """Protects a quiet client from a busy one whose turns have long been going on."""
    queue, _ = queue_of("a" * 20)
    assert served(queue, 7) == "a" * 7
    queue.join(ticket("b"))
    assert "b" in served(queue, 2)


def test_nobody_saves_up_turns_by_not_asking() -> None:
    """Protects the busy from who was silent: there is no credit for the past."""
    queue, _ = queue_of("a" * 20)
    served(queue, 10)
    for _ in range(4):
        queue.join(ticket("b"))
    assert served(queue, 6).count("b") <= 3


def test_a_turn_that_was_not_used_is_not_lost() -> None:
    """Protects clients that give up and ask again from falling behind each time."""
    queue, _ = queue_of("abab")
    given_up = ticket("b")
    for _ in range(5):
        queue.join(given_up)
        assert queue.leave(given_up)
    assert not queue.leave(given_up)
    queue.join(ticket("b"))
    assert served(queue) == "ababb"


def test_a_full_queue_takes_nobody() -> None:
    """Protects memory, and clients from a wait without an end."""
    queue, tickets = queue_of("aa", length=2)
    late = ticket("a")
    assert not queue.join(late)
    assert late not in queue
    assert tickets[0] in queue
    assert queue.leave(tickets[0])
    assert queue.join(late)


@pytest.mark.parametrize(
    ("waiting", "client", "loser"),
    [
        ("aaa", "b", 2),
        ("aab", "c", 1),
        ("aab", "b", None),
        ("ab", "c", None),
        ("aaabb", "b", None),
        ("", "a", None),
    ],
)
def test_a_greedy_client_makes_room(waiting: str, client: str, loser: int | None) -> None:
    """Protects other clients from a queue that one has filled; who has no more than they would have stays."""
    queue, tickets = queue_of(waiting)
    assert queue.crowded_out(client) is (None if loser is None else tickets[loser])


@given(CLIENTS)
def test_nobody_is_more_than_one_request_behind(came: list[str]) -> None:
    """Protects every client that waits, whatever came before."""
    queue, _ = queue_of("".join(came))
    order = served(queue)
    assert Counter(order) == Counter(came)
    for end in range(len(order)):
        so_far, left = Counter(order[:end]), Counter(order[end:])
        waiting = [so_far[client] for client in "abc" if left[client]]
        assert not waiting or max(so_far.values(), default=0) - min(waiting) <= 1


@given(st.data(), CLIENTS)
def test_whatever_comes_and_goes_the_queue_holds_who_waits(data: st.DataObject, came: list[str]) -> None:
    """Protects against requests that are lost or served twice."""
    queue, waiting = Queue(10), list[Ticket]()
    for client in came:
        joining = ticket(client)
        if queue.join(joining):
            waiting.append(joining)
        what = data.draw(st.sampled_from(["nothing", "leave", "serve"]))
        if waiting and what == "leave":
            leaving = data.draw(st.sampled_from(waiting))
            waiting.remove(leaving)
            assert queue.leave(leaving)
        elif waiting and what == "serve":
            following = next(iter(queue))
            waiting.remove(following)
            queue.serve(following)
        assert set(queue) == set(waiting)
        assert len(queue) == len(waiting) <= 10
