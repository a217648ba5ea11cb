"""The last hour, in parts of ten seconds."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.telemetry.history import PART_MS, PARTS, History
from tests.support.clock import FakeClock
from tests.unit.telemetry.ended import ended

_BEGAN_MS = FakeClock().wall_ms


def test_what_ended_in_ten_seconds_is_one_point() -> None:
    """Protects the charts: requests, errors and times of one part, and of that part alone."""
    clock = FakeClock()
    subject = History(clock)
    subject.count([ended(at_unix_ms=clock.wall_ms), ended(at_unix_ms=clock.wall_ms + 9_999, status=502)])
    clock.advance(10)
    subject.count([ended(at_unix_ms=clock.wall_ms, status=499, first_ms=None)])
    earlier, later = subject.points(2)
    assert (earlier.at_unix_ms, earlier.requests, earlier.errors) == (_BEGAN_MS, 2, 1)
    assert (later.at_unix_ms, later.requests, later.errors) == (_BEGAN_MS + PART_MS, 1, 0)
    assert later.first_p50_ms is None
    assert earlier.took_p50_ms is not None
    assert abs(earlier.took_p50_ms - 3000) < 3000 / 4


def test_an_hour_without_requests_is_told_as_one() -> None:
    """Protects the time axis: a quiet server shows an hour of nothing, not nothing."""
    points = History(FakeClock()).points()
    assert len(points) == PARTS
    assert [point.at_unix_ms for point in points[-2:]] == [_BEGAN_MS - PART_MS, _BEGAN_MS]
    assert not any(point.requests for point in points)
    assert all(point.took_p99_ms is None for point in points)


@given(st.lists(st.integers(-2 * PARTS, 2 * PARTS), max_size=200))
def test_no_more_than_two_hours_are_ever_held(jumps: list[int]) -> None:
    """Protects the memory of a server that runs for months, also where its wall clock jumps."""
    subject = History(FakeClock())
    for jump in jumps:
        subject.count([ended(at_unix_ms=_BEGAN_MS + jump * PART_MS)])
        assert len(subject._parts) <= 2 * PARTS


def test_what_is_older_than_an_hour_is_forgotten() -> None:
    """Protects the memory of a server that is busy all the time."""
    clock = FakeClock()
    subject = History(clock)
    for _ in range(PARTS + 50):
        subject.count([ended(at_unix_ms=clock.wall_ms)])
        clock.advance(10)
    assert len(subject._parts) == PARTS
