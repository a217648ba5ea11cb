"""The files of the dashboard: complete, unchanged, and closed to everything from elsewhere."""

import hashlib
import re
from pathlib import Path

import pytest

from proxy.server.app import ROUTES
from proxy.server.dashboard.files import FILES
from tests.unit.server.building import client, services

_FOLDER = Path(__file__).parents[4] / "proxy" / "server" / "dashboard"
_OURS = sorted((_FOLDER / "static").iterdir())
_PAGES = [path for path in _OURS if path.suffix == ".html"]
_SCRIPTS = [path for path in _OURS if path.suffix == ".js"]
_VENDORED = re.compile(r"\| `(\S+)` \|.*\| `([0-9a-f]{64})` \|")


@pytest.mark.parametrize(
    ("name", "digest"), _VENDORED.findall((_FOLDER / "vendor" / "README.md").read_text())
)
def test_a_file_of_others_is_the_one_that_was_released(name: str, digest: str) -> None:
    """Protects browsers from a library that was changed on its way here."""
    assert hashlib.sha256((_FOLDER / "vendor" / name).read_bytes()).hexdigest() == digest


def test_every_file_of_others_is_written_down_with_its_licence() -> None:
    """Protects the rights of those who wrote it, and the list from going out of date."""
    written = {name for name, _ in _VENDORED.findall((_FOLDER / "vendor" / "README.md").read_text())}
    there = {path.name for path in (_FOLDER / "vendor").iterdir()}
    assert written == there - {"README.md", "uPlot.LICENSE"}


@pytest.mark.parametrize("path", _PAGES, ids=lambda path: path.name)
def test_a_page_holds_no_script_style_or_handler_of_its_own(path: Path) -> None:
    """Protects the policy that refuses them: a page that had one would not work, or the policy would be loosened."""
    page = path.read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:|https?://", page)


@pytest.mark.parametrize("path", _PAGES, ids=lambda path: path.name)
def test_all_a_page_loads_is_there(path: Path) -> None:
    """Protects a page from a file that was renamed."""
    wanted = re.findall(r'(?:src|href)="(?:dashboard/)?static/([^"]+)"', path.read_text())
    assert wanted
    assert set(wanted) <= set(FILES)


@pytest.mark.parametrize("path", _SCRIPTS, ids=lambda path: path.name)
def test_a_script_makes_no_markup_out_of_text(path: Path) -> None:
    """Protects against markup in aliases, models and messages: nothing here could turn it into elements."""
    script = path.read_text()
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|DOMParser|\.href\s*=",
        script,
    )
    for name in re.findall(r'from "\./([^"]+)"', script):
        assert name in FILES


async def test_each_file_says_what_it_is_and_lets_nothing_else_in() -> None:
    """Protects every page: no script, style, frame or form target from anywhere else, and no guessing of types."""
    async with client(services(), ROUTES) as asked:
        for name in FILES:
            answer = await asked.get(f"/dashboard/static/{name}")
            assert answer.status == 200
            policy = answer.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert "http" not in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["x-frame-options"] == "DENY"
            assert answer.headers["x-request-id"].startswith("req_")


async def test_a_file_the_browser_has_is_not_sent_again() -> None:
    """Protects phones from loading the chart library each time, and nobody from an old page after an update."""
    async with client(services(), ROUTES) as asked:
        first = await asked.get("/dashboard/static/dashboard.js")
        assert first.headers["cache-control"] == "no-cache"
        again = await asked.get(
            "/dashboard/static/dashboard.js", headers={"if-none-match": first.headers["etag"]}
        )
        assert (again.status, await again.read()) == (304, b"")
        other = await asked.get("/dashboard/static/dashboard.js", headers={"if-none-match": '"old"'})
        assert other.status == 200


@pytest.mark.parametrize(
    "name",
    [
        "nothing",
        "README.md",
        "..%2f__init__.py",
        "%2e%2e%2fpages.py",
        "dashboard.js%00",
        "static%2fdashboard.js",
    ],
)
async def test_nothing_but_its_files_is_served(name: str) -> None:
    """Protects the source and everything beside it on the disk: names are looked up, never opened."""
    async with client(services(), ROUTES) as asked:
        assert (await asked.get(f"/dashboard/static/{name}")).status in {400, 401, 404}
