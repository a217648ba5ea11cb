"""How much of a long test is done: all of it with ``SOAK=1``, else a short form of the same code."""

import os
from typing import Final, TypeVar

_T = TypeVar("_T")
SOAKING: Final = os.environ.get("SOAK") == "1"


def sized(*, full: _T, short: _T) -> _T:
    """The size of this run."""
    return full if SOAKING else short
