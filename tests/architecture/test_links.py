"""README and docs lead somewhere: every link to a file or a heading, and every page from the front."""

import re
from pathlib import Path
from typing import Final

import pytest

_ROOT: Final = Path(__file__).parents[2]
_FRONT: Final = _ROOT / "README.md"
_PAGES: Final = sorted(
    [_FRONT, _ROOT / "SECURITY.md", _ROOT / "CHANGELOG.md", *(_ROOT / "docs").glob("*.md")]
)
_LINK: Final = re.compile(r"\]\(([^()\s]+)\)")
_CODE: Final = re.compile(r"^```.*?^```$|`[^`\n]*`", re.DOTALL | re.MULTILINE)
_HEADING: Final = re.compile(r"^#+ (.+)$", re.MULTILINE)


def _links(page: Path) -> list[str]:
    """Where a page points to within the project."""
    found = _LINK.findall(_CODE.sub("", page.read_text(encoding="utf-8")))
    return [link for link in found if "://" not in link and not link.startswith("mailto:")]


def _anchors(page: Path) -> set[str]:
    """The headings of a page, as they are spelled in addresses: small letters, words joined, no other marks."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(text)}


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(page: Path) -> None:
    """Protects readers from links that were right before something was renamed."""
    for link in _links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), link
        assert not anchor or anchor in _anchors(target), link


def test_every_page_is_reached_from_the_front() -> None:
    """Protects pages from being written and never found."""
    named = {(_ROOT / link.partition("#")[0]).resolve() for link in _links(_FRONT)}
    assert set(_PAGES) - {_FRONT, _ROOT / "CHANGELOG.md"} <= named
