"""The peers, installed where they can be had, in the production mode their own documentation gives."""

from collections.abc import Callable
from pathlib import Path

from tests.bench.programs import Program

Make = Callable[[int, Path], Program | None]


def peers(port: int) -> dict[str, Make]:
    """What is compared beside the ceiling and the floor."""
    del port
    return {}
