"""How the tables of ``docs/reliability.md`` say where something was tried."""

from collections.abc import Iterable
from pathlib import Path


def tried_in(tests: Iterable[Path], soak: Iterable[str] = ()) -> str:
    """These files, and these parts of the soak."""
    files = [f"`{test.relative_to('tests')}`" for test in tests]
    return ", ".join([*files, *(f"soak `{part}`" for part in soak)])
