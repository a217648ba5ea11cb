"""Every room's lines carry its name."""

from structlog.testing import capture_logs

from proxy.log import get_logger


def test_a_line_carries_the_name_of_its_room() -> None:
    """Protects operators from lines nobody knows the origin of."""
    with capture_logs() as lines:
        get_logger("kitchen").warning("something burns", pot=2)
    assert lines == [{"room": "kitchen", "event": "something burns", "pot": 2, "log_level": "warning"}]


def test_two_rooms_do_not_mix() -> None:
    """Protects the name of one room from being bound to another's logger."""
    with capture_logs() as lines:
        first, second = get_logger("first"), get_logger("second")
        first.info("a")
        second.info("b")
    assert [(line["room"], line["event"]) for line in lines] == [("first", "a"), ("second", "b")]
