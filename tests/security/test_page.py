"""The page about security says what the tests have shown."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.program import ROOT
from tests.support.security.page import PAGE, named_tests, recorded, renewed
from tests.support.security.threats import THREATS


def _defined(file: Path) -> Iterator[str]:
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name


def test_the_tables_of_the_page_are_those_of_the_threats() -> None:
    """Protects readers from promises nobody checks; ``python -m tests.support.security.page`` renews them."""
    page = PAGE.read_text()
    assert renewed(page, recorded(page)) == page


def test_every_test_the_page_names_had_passed_when_it_was_made() -> None:
    """Protects against a threat whose tests nobody has run."""
    cases = recorded(PAGE.read_text())
    assert sorted(cases) == sorted(named_tests())
    assert all(cases.values())


@pytest.mark.parametrize("test", named_tests())
def test_a_test_the_page_names_is_there(test: str) -> None:
    """Protects the page from tests that were renamed or removed."""
    file, _, name = test.partition("::")
    assert name in _defined(ROOT / file)


def test_every_file_of_attacks_is_named_by_some_threat() -> None:
    """Protects attacks from being tried and told to nobody."""
    named = {test.partition("::")[0] for test in named_tests()}
    own = {str(path.relative_to(ROOT)) for path in (ROOT / "tests/security").glob("test_*.py")}
    assert own - named <= {"tests/security/test_page.py"}


def test_no_two_threats_are_the_same() -> None:
    """Protects the table from rows that hide each other."""
    names = [name for group in THREATS.values() for name in group]
    assert len(names) == len(set(names)) >= 26
