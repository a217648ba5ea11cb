"""The page about faults says what the tests of this folder have seen."""

import re
from typing import Final

import pytest

from proxy.settings import ALL_SETTINGS
from proxy.simulator.faults.after import CUTS
from proxy.simulator.faults.before import FAULTS
from tests.soak.long_tests import LONG_TESTS
from tests.soak.parts import PARTS
from tests.support.faults.clients import CLIENT_FAULTS
from tests.support.faults.harmless import HARMLESS
from tests.support.faults.machines import MISHAPS
from tests.support.faults.page import PAGE, renewed
from tests.support.faults.promises import PROMISES
from tests.support.program import ROOT


def test_the_tables_of_the_page_are_those_of_the_tests() -> None:
    """Protects readers from promises nobody checks; ``python -m tests.support.faults.page`` renews them."""
    page = PAGE.read_text()
    assert renewed(page) == page


@pytest.mark.parametrize("name", [*FAULTS, *CUTS, *HARMLESS])
def test_every_case_has_its_line(name: str) -> None:
    """Protects the page from a case the generator leaves out."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith((f"| {name} |", f"- {name}"))]
    assert len(lines) == 1


TRIED: Final = {
    **{fault.does: fault.tests for fault in CLIENT_FAULTS},
    **{f"{fault.does}, through nginx": fault.through_nginx for fault in CLIENT_FAULTS},
    **{mishap.what: mishap.tests for mishap in MISHAPS},
    **{promise.holds: promise.tests for promise in PROMISES},
}
MEASURED: Final = sorted({part for told in (*CLIENT_FAULTS, *MISHAPS, *PROMISES) for part in told.soak})


@pytest.mark.parametrize("what", TRIED)
def test_what_the_page_says_is_tried_where_it_says(what: str) -> None:
    """Protects readers from a line whose tests have gone elsewhere, or are none."""
    assert TRIED[what]
    for test in TRIED[what]:
        assert re.search(r"^(async )?def test_", (ROOT / test).read_text(), re.MULTILINE), test


@pytest.mark.parametrize("part", MEASURED)
def test_what_the_page_says_is_measured_by_a_part_of_the_soak_is(part: str) -> None:
    """Protects readers from figures nobody takes."""
    assert part in PARTS or part in LONG_TESTS


@pytest.mark.parametrize("name", PARTS)
def test_every_part_of_the_soak_has_its_line(name: str) -> None:
    """Protects the page from a part the generator leaves out."""
    assert len([line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{name}` |")]) == 1


def test_a_page_without_its_marks_is_no_page() -> None:
    """Protects the tables from being written nowhere."""
    with pytest.raises(ValueError, match="substring not found"):
        renewed("# What happens when an upstream fails\n")


def test_every_setting_the_page_names_exists() -> None:
    """Protects readers from names of an earlier version."""
    named = set(re.findall(r"`((?:POOL|RELAY|QUEUE|RETRY)_[A-Z_]+)`", PAGE.read_text()))
    assert named
    assert named <= {setting.name for setting in ALL_SETTINGS}
