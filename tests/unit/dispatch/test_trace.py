"""The story of an exchange begins empty, and two exchanges never share one."""

from proxy.dispatch.trace import FailedAttempt, Trace


def test_a_new_trace_tells_of_nothing() -> None:
    """Protects headers and log lines from an attempt that was never made."""
    trace = Trace()
    assert (trace.credential, trace.attempts, trace.failed, trace.dropped) == ("", 0, [], ())
    assert (trace.usage, trace.stop_reason, trace.first_event_s, trace.upstream_request_id) == (None,) * 4


def test_two_exchanges_do_not_share_their_failures() -> None:
    """Protects one client's answer from naming another's credentials."""
    first, second = Trace(), Trace()
    first.failed.append(FailedAttempt("api-1", "server", 500, 1000.0, 100.0))
    assert second.failed == []
