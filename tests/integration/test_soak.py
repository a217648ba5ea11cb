"""The soak in its short form: the same code with fewer rounds, held to all that does not hang on the machine."""

from pathlib import Path

import pytest

from tests.soak.figures import Report
from tests.soak.parts import PARTS
from tests.support.real_redis import PROGRAM as REDIS


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.needs(REDIS) if name == "redis-away" else ()) for name in PARTS],
)
async def test_what_the_soak_promises_holds_for_a_few_seconds(tmp_path: Path, name: str) -> None:
    """Protects streams from being lost, memory from being kept, and the soak itself from being broken when needed."""
    report = Report(name)
    await PARTS[name].prepared(None)(tmp_path, report)
    assert report.missed(timed=False) == []
    assert {figure.figure for figure in report.figures} >= {"descriptors_left", "failures_logged"}
