"""Whatever has a long form is run in full by ``make soak``, and each part of it has one name."""

from pathlib import Path
from typing import Final

import pytest

from tests.soak.long_tests import LONG_TESTS, named
from tests.soak.parts import PARTS
from tests.support.program import ROOT

SIZED: Final = [
    file.relative_to(ROOT)
    for file in sorted((ROOT / "tests").rglob("test_*.py"))
    if "\nfrom tests.support.soak import" in file.read_text()
]


@pytest.mark.parametrize("file", SIZED, ids=str)
def test_a_test_with_a_long_form_is_a_part_of_the_soak(file: Path) -> None:
    """Protects long forms from being written and never run: without its mark a test is run in its short form alone."""
    assert file in LONG_TESTS.values()


def test_no_two_parts_are_called_alike() -> None:
    """Protects a part from being hidden by another one's name."""
    assert not PARTS.keys() & LONG_TESTS.keys()


def test_files_that_are_called_alike_are_told_apart_by_their_folders() -> None:
    """Protects a long test from one of the same name elsewhere."""
    files = [Path("a/test_usage.py"), Path("b/test_usage.py"), Path("b/test_of_size.py")]
    assert named(files) == {"a-usage": files[0], "b-usage": files[1], "of-size": files[2]}
