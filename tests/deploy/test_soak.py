"""Parts of the soak in their short form through the real nginx, held to all that does not hang on the machine."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from tests.soak.figures import Report
from tests.soak.fronts import behind_nginx
from tests.soak.parts import PARTS, Prepared
from tests.soak.readers import Readers, readers
from tests.soak.streams import Streams

pytestmark = pytest.mark.needs("nginx")

_SHORTENED: Final[Mapping[str, str]] = {
    "client_header_timeout 30s;": "client_header_timeout 2s; lingering_time 2s;"
}
_PREPARED: Final[Mapping[str, Prepared]] = {
    **{name: PARTS[name].prepared(None) for name in ("streams", "departures", "slow-clients")},
    # nginx hears of a slow client's progress in pieces of some 80 KiB: who takes less in that time stands still
    "slow-readers": partial(readers, Readers(20, 65_536, 20, Streams(20, 10, 7), stall_s=3)),
}


@pytest.mark.parametrize("name", _PREPARED)
async def test_what_the_soak_promises_holds_behind_nginx(tmp_path: Path, name: str) -> None:
    """Protects streams, memory and places from what nginx makes of clients that are slow, silent or gone."""
    report = Report(name)
    await _PREPARED[name](tmp_path, report, behind_nginx(tmp_path / "nginx", _SHORTENED))
    assert report.missed(timed=False) == []
    assert {figure.figure for figure in report.figures} >= {"descriptors_left", "failures_logged"}
