"""The way every room gets its logger; how lines look and where they go is set in telemetry."""

import structlog
from structlog.typing import FilteringBoundLogger


def get_logger(room: str) -> FilteringBoundLogger:
    """A logger whose lines carry the name of the room that wrote them.

    Events are short constant sentences; what varies goes into keyword arguments, so that secrets can be
    redacted by value and repeats counted.
    """
    logger: FilteringBoundLogger = structlog.get_logger(room=room)
    return logger
