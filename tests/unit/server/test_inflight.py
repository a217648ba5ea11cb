"""Requests that are being answered are counted, and streams among them can be told to end."""

from proxy.server.inflight import Inflight


class _Stream:
    def __init__(self) -> None:
        self.told = 0

    def shut_down(self) -> None:
        """See `Interruptible.shut_down`."""
        self.told += 1


async def test_a_server_without_requests_is_drained() -> None:
    """Protects the end of an idle server from any waiting."""
    assert await Inflight().drained(0.0)


async def test_a_request_keeps_the_server_from_being_drained_until_it_ends() -> None:
    """Protects answers that are still being sent when the server is told to stop."""
    inflight = Inflight()
    inflight.enter()
    inflight.enter()
    inflight.leave()
    assert not await inflight.drained(0.01)
    inflight.leave()
    assert inflight.count == 0
    assert await inflight.drained(0.01)


async def test_a_request_that_comes_while_draining_is_waited_for_too() -> None:
    """Protects requests on connections that are still open."""
    inflight = Inflight()
    inflight.enter()
    inflight.leave()
    inflight.enter()
    assert not await inflight.drained(0.01)


async def test_every_stream_that_is_left_is_told_to_end_once() -> None:
    """Protects clients from a stream that is cut without a word."""
    inflight, first, second = Inflight(), _Stream(), _Stream()
    inflight.begins(first)
    inflight.begins(second)
    inflight.shut_down_answers()
    assert (first.told, second.told) == (1, 1)


async def test_a_stream_that_has_ended_is_told_nothing() -> None:
    """Protects a later request on the same task from being cancelled in its place."""
    inflight, stream = Inflight(), _Stream()
    inflight.begins(stream)
    inflight.ends(stream)
    inflight.ends(stream)
    inflight.shut_down_answers()
    assert stream.told == 0


async def test_a_stream_may_end_while_the_others_are_being_told() -> None:
    """Protects the shutdown from tripping over a set that changes."""
    inflight = Inflight()

    class Leaving(_Stream):
        def shut_down(self) -> None:
            """Leave at once."""
            super().shut_down()
            inflight._answers.discard(self)

    streams = [Leaving() for _ in range(5)]
    for stream in streams:
        inflight._answers.add(stream)
    inflight.shut_down_answers()
    assert [stream.told for stream in streams] == [1] * 5
