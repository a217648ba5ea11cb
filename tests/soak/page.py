"""The table of the soak in ``docs/reliability.md``."""

from tests.soak.parts import PARTS


def soak_table() -> str:
    """What each part shows, its size in full, and in the short form."""
    rows = (f"| `{name}` | {part.promise} | {part.full} | {part.short} |\n" for name, part in PARTS.items())
    return f"| Part | What it shows | `make soak` | `make test` |\n|---|---|---|---|\n{''.join(rows)}"
