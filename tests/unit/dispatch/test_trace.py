"""The story of an exchange begins empty, and two exchanges never share one."""

import msgspec
import pytest

from proxy.dialects.common import Observed
from proxy.dispatch.trace import CLIENT_LEFT, HIT, MISS, SUCCESS, FailedAttempt, Trace
from proxy.model.message import Usage
from proxy.telemetry.usage import Charge


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


_USED = Usage(input_tokens=5, output_tokens=7)


def _trace(**changes: object) -> Trace:
    plain = Trace(credential="api-1", model="m", attempts=1)
    return msgspec.structs.replace(plain, **changes)


@pytest.mark.parametrize(
    ("trace", "status", "expected"),
    [
        (_trace(first_event_s=1.0, outcome=SUCCESS), 200, "answered"),
        (_trace(first_event_s=1.0, outcome="cut"), 200, "answered failed"),
        (_trace(first_event_s=1.0), 200, "answered abandoned"),
        (_trace(first_event_s=1.0), 499, "answered abandoned"),
        (_trace(), 499, "abandoned"),
        (_trace(), 502, "failed"),
        # the headers were sent while the first event was waited for, and then an error frame
        (_trace(), 200, "failed"),
        (Trace(), 400, "failed"),
    ],
)
def test_every_end_of_a_request_is_counted_as_what_it_was(trace: Trace, status: int, expected: str) -> None:
    """Protects the numbers of errors and of clients that left from each other."""
    done = trace.settlement("anna", "m", status=status, free=False)
    found = {
        "answered": done.answered is not None,
        "failed": done.failed,
        "abandoned": done.abandoned,
    }
    assert " ".join(name for name, is_so in found.items() if is_so) == expected


@pytest.mark.parametrize(
    ("observed", "usage", "charge"),
    [
        (None, _USED, Charge("api-1", "m", _USED)),
        (Observed(usage=_USED, complete=True), None, Charge("api-1", "m", _USED)),
        (Observed(usage=_USED), None, Charge("api-1", "m", _USED, partial=True)),
        (Observed(), None, None),
        (None, None, None),
    ],
)
def test_what_an_attempt_used_is_what_it_told(
    observed: Observed | None, usage: Usage | None, charge: Charge | None
) -> None:
    """Protects a broken stream from counting as a whole one, and from counting as nothing."""
    assert _trace(observed=observed, usage=usage).charged() == charge


def test_an_answer_without_usage_is_charged_as_unknown_and_a_free_one_not_at_all() -> None:
    """Protects against zero where a number is missing, and against a missing number where there is none."""
    silent = _trace(first_event_s=1.0, outcome=SUCCESS)
    assert silent.settlement("anna", "m", status=200, free=False).answered == Charge("api-1", "m", Usage())
    assert silent.settlement("anna", "m", status=200, free=True).answered == Charge("api-1", "m", None)
    cut = _trace(first_event_s=1.0, outcome="cut", observed=Observed())
    assert cut.settlement("anna", "m", status=200, free=False).answered == Charge(
        "api-1", "m", Usage(), partial=True
    )


def test_what_was_used_in_vain_is_charged_where_it_was_used() -> None:
    """Protects the credential that answered from the bill of those that did not."""
    wasted = Charge("api-1", "m", _USED, partial=True)
    failed = [
        FailedAttempt("api-1", "cut", 0, 1.0, 1.0, wasted),
        FailedAttempt("api-2", "rate", 429, 1.0, 1.0),
    ]
    trace = _trace(credential="api-3", failed=failed, usage=_USED, first_event_s=1.0, outcome=SUCCESS)
    done = trace.settlement("anna", "m", status=200, free=False)
    assert (done.answered, done.further) == (Charge("api-3", "m", _USED), [wasted])
    left = _trace(failed=failed, observed=Observed(usage=_USED))
    assert left.settlement("anna", "m", status=499, free=False).further == [
        wasted,
        Charge("api-1", "m", _USED, partial=True),
    ]


_CACHED = {
    "from memory": (
        Trace(cache=HIT, credential="api-1", model="m", first_event_s=1.0, outcome=SUCCESS),
        200,
        (False, False, True, False),
    ),
    "joined a call that broke": (
        Trace(cache=HIT, credential="api-1", first_event_s=1.0, outcome="server"),
        200,
        (True, False, True, False),
    ),
    "joined a call that failed": (Trace(cache=HIT, credential="api-1"), 502, (True, False, False, False)),
    "joined and left": (Trace(cache=HIT, first_event_s=1.0), CLIENT_LEFT, (False, True, True, False)),
    "stalled after joining": (Trace(cache=HIT, first_event_s=1.0), 200, (False, True, True, False)),
    "began and left it to others": (
        Trace(cache=MISS, first_event_s=1.0),
        CLIENT_LEFT,
        (False, True, False, True),
    ),
    "began, stalled and left it to others": (
        Trace(cache=MISS, first_event_s=1.0),
        200,
        (False, True, False, True),
    ),
}


@pytest.mark.parametrize(("trace", "status", "counted"), _CACHED.values(), ids=_CACHED.keys())
def test_who_made_no_call_pays_for_none(
    trace: Trace, status: int, counted: tuple[bool, bool, bool, bool]
) -> None:
    """Protects the books: an answer somebody else pays for is no answer without a price."""
    found = trace.settlement("client", "m", status=status, free=False)
    assert (found.answered, list(found.further)) == (None, [])
    assert (found.failed, found.abandoned, found.cache_hit, found.cache_miss) == counted


def test_who_pays_for_a_call_that_others_share_is_charged_like_any_other() -> None:
    """Protects the books from a call nobody pays for, also where who joined it has to."""
    usage = Usage(input_tokens=3, output_tokens=7)
    trace = Trace(
        cache=HIT,
        credential="api-1",
        model="m",
        attempts=1,
        first_event_s=1.0,
        outcome=SUCCESS,
        usage=usage,
    )
    found = trace.settlement("client", "m", status=200, free=False)
    assert found.answered == Charge("api-1", "m", usage)
    assert found.cache_hit
