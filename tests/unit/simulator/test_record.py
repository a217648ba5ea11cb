"""The record's bounds and counters."""

from proxy.simulator.record import EndedBy, Received, Record


def _received(number: int, key: str = "k") -> Received:
    return Received(number, key, "POST", "/v1/messages", [("a", "1"), ("a", "2")], 1, "127.0.0.1:1", 1.0)


def test_old_requests_leave_the_list_but_not_the_counters() -> None:
    """The benchmark sends millions."""
    record = Record(limit=2)
    for number in range(5):
        one = _received(number)
        record.began(one)
        one.status, one.bytes_sent = 200, 10
        record.ended_by(one, EndedBy.SERVER, 2.0)
    assert [one.number for one in record.requests] == [3, 4]
    assert (record.requests_total, record.statuses, record.ended) == (5, {200: 5}, {"server": 5})
    assert record.bytes_sent == 50


def test_the_newest_bodies_are_kept_within_their_bound() -> None:
    """A body may be 32 MB; its length is known for ever."""
    record = Record(bodies_bytes=10)
    requests = [_received(number) for number in range(3)]
    for one in requests:
        record.began(one)
        record.body_complete(one, b"12345", 2.0)
    assert [one.body for one in requests] == [b"", b"12345", b"12345"]
    assert [one.body_bytes for one in requests] == [5, 5, 5]


def test_a_record_of_nothing_keeps_no_bodies() -> None:
    """A limit of zero means counters only."""
    record = Record(limit=0)
    one = _received(1)
    record.began(one)
    record.body_complete(one, b"12345", 2.0)
    assert (record.requests, one.body, one.body_bytes) == ([], b"", 5)


def test_requests_in_flight_are_counted_by_key() -> None:
    """Tests of concurrency limits read the maximum."""
    record = Record()
    first, second, other = _received(1), _received(2), _received(3, "other")
    for one in (first, second, other):
        record.began(one)
    assert record.in_flight == {"k": 2, "other": 1}
    record.ended_by(first, EndedBy.CLIENT, 2.0)
    assert record.in_flight == {"k": 1, "other": 1}
    record.ended_by(second, EndedBy.FAULT, 2.0)
    assert record.in_flight == {"other": 1}
    assert record.max_in_flight == {"k": 2, "other": 1}


def test_an_exchange_ends_once() -> None:
    """A connection's end must not rewrite how its last answer ended."""
    record = Record()
    one = _received(1)
    record.began(one)
    record.ended_by(one, EndedBy.SERVER, 2.0)
    record.ended_by(one, EndedBy.CLIENT, 3.0)
    assert (one.ended_by, one.ended_s, record.ended) == (EndedBy.SERVER, 2.0, {"server": 1})


def test_clearing_forgets_the_past_and_keeps_what_is_live() -> None:
    """A reset between tests happens while connections are open."""
    record = Record()
    record.connection_opened()
    record.began(_received(1))
    record.clear()
    assert (record.requests, record.requests_total, record.open_connections) == ([], 0, 1)
    assert record.in_flight == record.max_in_flight == {"k": 1}


def test_a_snapshot_can_be_short_and_without_bodies() -> None:
    """Other processes poll it."""
    record = Record()
    for number in range(3):
        one = _received(number)
        record.began(one)
        record.body_complete(one, b"x", 2.0)
    snapshot = record.snapshot(newest=2, bodies=False)
    assert [(one.number, one.body, one.body_bytes) for one in snapshot.requests] == [(1, b"", 1), (2, b"", 1)]
    assert record.snapshot(newest=0).requests == []
    assert record.requests[0].body == b"x"


def test_requests_are_found_by_key_and_headers_by_name() -> None:
    """The last of repeated headers counts."""
    record = Record()
    record.began(_received(1))
    record.began(_received(2, "other"))
    assert [one.number for one in record.of("other")] == [2]
    assert record.requests[0].header("a") == "2"
    assert record.requests[0].header("b") is None
