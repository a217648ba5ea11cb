"""The page about faults says what the tests of this folder have seen."""

import re

import pytest

from proxy.settings import ALL_SETTINGS
from proxy.simulator.faults.after import CUTS
from proxy.simulator.faults.before import FAULTS
from tests.support.faults.harmless import HARMLESS
from tests.support.faults.page import PAGE, renewed


def test_the_tables_of_the_page_are_those_of_the_tests() -> None:
    """Protects readers from promises nobody checks; ``python -m tests.support.faults.page`` renews them."""
    page = PAGE.read_text()
    assert renewed(page) == page


@pytest.mark.parametrize("name", [*FAULTS, *CUTS, *HARMLESS])
def test_every_case_has_its_line(name: str) -> None:
    """Protects the page from a case the generator leaves out."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith((f"| {name} |", f"- {name}"))]
    assert len(lines) == 1


def test_every_setting_the_page_names_exists() -> None:
    """Protects readers from names of an earlier version."""
    named = set(re.findall(r"`((?:POOL|RELAY|QUEUE|RETRY)_[A-Z_]+)`", PAGE.read_text()))
    assert named
    assert named <= {setting.name for setting in ALL_SETTINGS}
