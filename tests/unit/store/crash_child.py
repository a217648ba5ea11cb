"""A process that saves one row of health, says so, and waits to be killed. Started by test_sqlite."""

import asyncio
import sys
from pathlib import Path

from proxy.store import HealthRow, SqliteStore


async def main(path: Path, number: int) -> None:
    """Save a row, tell it, and never close anything."""
    store = await SqliteStore.open(path)
    await store.save_health(
        [HealthRow(fingerprint=f"f{number}", state="disabled", reason="auth", since_unix_ms=number)]
    )
    sys.stdout.write("saved\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
