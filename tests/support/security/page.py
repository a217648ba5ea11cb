"""The tables of ``docs/security.md``, made from the threats and from what their tests said.

``python -m tests.support.security.page`` runs those tests and writes the tables anew; a test says when threats and
page differ.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

import pytest

from tests.support.program import ROOT
from tests.support.security.threat import Threat
from tests.support.security.threats import THREATS

PAGE: Final = ROOT / "docs" / "security.md"
BEGIN: Final = "<!-- made by tests/support/security/page.py: begin -->\n"
END: Final = "<!-- made by tests/support/security/page.py: end -->\n"
_COLUMNS: Final = "| Threat | What stands against it | What has to be seen | Shown by |\n|---|---|---|---|\n"
_SHOWN: Final = re.compile(r"\[`(?P<name>[^`]+)`\]\(\.\./(?P<file>[^)]+)\) \((?P<cases>\d+)\)")


class Outcomes:
    """A plugin for pytest that counts the cases of each test that passed, and keeps the names of those that did not.

    Attributes:
        passed: by the name of the test, without what tells its cases apart.
        failed: names of cases.
    """

    def __init__(self) -> None:
        self.passed: Counter[str] = Counter()
        self.failed: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count one; what is skipped has shown nothing."""
        if not report.passed:
            self.failed.append(report.nodeid)
        elif report.when == "call":
            self.passed[report.nodeid.partition("[")[0]] += 1


def tables(cases: Mapping[str, int]) -> str:
    """All tables, each under its heading; `cases` says how many cases of each test passed."""
    return "\n".join(
        f"### {heading}\n\n{_COLUMNS}{''.join(_rows(threats, cases))}" for heading, threats in THREATS.items()
    )


def recorded(page: str) -> dict[str, int]:
    """How many cases of each test had passed when the page was made."""
    return {f"{found['file']}::{found['name']}": int(found["cases"]) for found in _SHOWN.finditer(page)}


def renewed(page: str, cases: Mapping[str, int]) -> str:
    """The page with its tables made anew."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{tables(cases)}\n{END}{tail}"


def named_tests() -> list[str]:
    """Every test that the threats name, once."""
    return list(
        dict.fromkeys(test for group in THREATS.values() for one in group.values() for test in one.tests)
    )


def _rows(threats: Mapping[str, Threat], cases: Mapping[str, int]) -> Iterator[str]:
    for name, threat in threats.items():
        shown = "<br>".join(_shown(test, cases.get(test, 0)) for test in threat.tests)
        yield f"| {name} | {threat.control} | {threat.holds} | {shown} |\n"


def _shown(test: str, cases: int) -> str:
    file, _, name = test.partition("::")
    return f"[`{name}`](../{file}) ({cases})"


def main() -> int:
    """Run the tests, and write the page if all of them passed."""
    outcomes = Outcomes()
    pytest.main(["-q", "-p", "no:cacheprovider", *named_tests()], plugins=[outcomes])
    missing = [test for test in named_tests() if not outcomes.passed[test]]
    if outcomes.failed or missing:
        sys.stderr.write("".join(f"not seen to pass: {name}\n" for name in (*outcomes.failed, *missing)))
        return 1
    PAGE.write_text(renewed(PAGE.read_text(), outcomes.passed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
