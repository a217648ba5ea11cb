"""Whether the program runs in a terminal."""

import os
from typing import Final

_STANDARD_INPUT: Final = 0


def has_terminal() -> bool:
    """Whether standard input is a terminal that somebody has open."""
    try:
        os.tcgetpgrp(_STANDARD_INPUT)
    except OSError:
        return False
    return True
