"""Sizes that keep a file or function readable in one sitting."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILE_LINES = 450
FUNCTION_LINES = 50
SOURCES = sorted(
    path
    for place in ("proxy", "tests")
    for path in (ROOT / place).rglob("*.py")
    if "__pycache__" not in path.parts
)


@pytest.mark.parametrize("path", [*SOURCES, ROOT / "app.py"], ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_and_its_functions_stay_within_budget(path: Path) -> None:
    """Protects readability: past a budget, a file is split by noun."""
    text = path.read_text()
    assert len(text.splitlines()) <= FILE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= FUNCTION_LINES, f"{node.name} has {length} lines"
