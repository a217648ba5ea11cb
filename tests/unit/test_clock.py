"""The machine's clock tells two times, each in its unit."""

import datetime

from proxy.clock import SystemClock


def test_durations_never_go_back() -> None:
    """Protects every deadline, which is a sum of monotonic seconds."""
    clock = SystemClock()
    times = [clock.monotonic_s() for _ in range(1000)]
    assert times == sorted(times)
    assert all(isinstance(each, float) for each in times)


def test_what_is_stored_is_unix_time_in_whole_milliseconds() -> None:
    """Protects stored deadlines from being seconds or having a time zone."""
    before = datetime.datetime.now(datetime.UTC).timestamp()
    now_ms = SystemClock().unix_ms()
    after = datetime.datetime.now(datetime.UTC).timestamp()
    assert isinstance(now_ms, int)
    assert int(before * 1000) <= now_ms <= after * 1000
