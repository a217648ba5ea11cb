"""How much of a long test is done: all of it with ``SOAK=1``, else a short form of the same code."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

_T = TypeVar("_T")
SOAKING: Final = os.environ.get("SOAK") == "1"


def sized(*, full: _T, short: _T) -> _T:
    """The size of this run."""
    return full if SOAKING else short


@contextmanager
def seeded() -> Iterator[random.Random]:
    """Chance for a test, from another seed in each full run; a failure names the seed, which ``SEED`` sets."""
    seed = int(os.environ.get("SEED") or sized(full=random.randrange(2**32), short=1))
    try:
        yield random.Random(seed)
    except BaseException as error:
        error.add_note(f"SEED={seed}")
        raise
