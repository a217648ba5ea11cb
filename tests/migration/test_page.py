"""The page for those who move names tests that exist, and every one that was written for them."""

import ast
import re
from pathlib import Path
from typing import Final

import pytest

from tests.support.program import ROOT

PAGE: Final = (ROOT / "docs" / "moving.md").read_text(encoding="utf-8")
NAMED: Final = re.findall(r"\| `([\w/]+\.py)::(\w+)` \|", PAGE)


def _tests(path: Path) -> set[str]:
    """The names of the tests in a file."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize(("path", "name"), sorted(set(NAMED)), ids=lambda value: str(value)[-60:])
def test_a_row_names_a_test_that_is_there(path: str, name: str) -> None:
    """Protects readers from a promise that nothing keeps any more."""
    assert name in _tests(ROOT / "tests" / path)


def test_every_row_names_one() -> None:
    """Protects the page from a row that is believed and was never tried."""
    rows = [line for line in PAGE.splitlines() if re.match(r"\| (?!theirs|you|---)", line)]
    assert len(rows) == len(NAMED) > 30


def test_every_folder_of_examples_is_on_the_page() -> None:
    """Protects examples that are tried from not being told of."""
    folders = {path.parent.name for path in (ROOT / "tests" / "migration").glob("*/test_*.py")}
    assert folders == {path.split("/")[1] for path, _ in NAMED if path.startswith("migration/")}
