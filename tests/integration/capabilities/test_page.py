"""The page about compatibility says what the tests of this folder have seen."""

import pytest

from proxy.capabilities import ROWS, Feature
from tests.support.capabilities.page import PAGE, renewed


def test_the_tables_of_the_page_are_those_of_the_program() -> None:
    """Protects readers from promises nobody checks; ``python -m tests.support.capabilities.page`` renews them."""
    page = PAGE.read_text()
    assert renewed(page) == page


@pytest.mark.parametrize("feature", Feature)
def test_every_feature_has_a_line_for_each_dialect_that_has_it(feature: Feature) -> None:
    """Protects the page from a feature the generator leaves out."""
    row = ROWS[feature]
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| {row.title} |")]
    assert len(lines) == len(row.fields)
