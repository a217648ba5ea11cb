"""Every fenced block of README and docs is run, read, or listed here with the reason why it is neither."""

import asyncio
import os
import re
import sys
import tomllib
from collections.abc import AsyncIterator
from typing import Final

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web

from proxy.server.app import ROUTES
from proxy.server.routes import RouteTable
from proxy.settings import ConfigurationError, load_settings
from tests.support.house import simulated
from tests.support.program import ROOT, Program, started

pytestmark = pytest.mark.asyncio(loop_scope="module")

_FENCED: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_ADDRESS: Final = "127.0.0.1:8080"
_LIMIT_S: Final = 60.0
_ADMIN: Final = 'ADMIN="Authorization: Bearer $(cat data/admin.key)"\n'
_STATUS: Final = re.compile(r"^status=(\d+)$", re.MULTILINE)
_SETTING: Final = re.compile(r"^([A-Z][A-Z0-9_]*)=(\S+)$", re.MULTILINE)
PAGES: Final = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
BLOCKS: Final = [
    (page.name, language, text) for page in PAGES for language, text in _FENCED.findall(page.read_text())
]
ELSEWHERE: Final = {
    "make run": "test_readme starts it",
    '-d \'{"model": "sonnet"': "test_readme and test_readme_fallbacks paste it",
    "from openai import OpenAI": "test_readme runs it",
    "from anthropic import Anthropic": "test_readme runs it",
    "sudo apt-get": "it changes the machine; the benchmark has tests of its own",
    "python app.py check": "test_check runs it with credentials of every kind",
    "python app.py drill": "test_drill runs parts of it; the whole takes a minute",
    "$ curl -X POST": "this server has no file of credentials to read again; test_reload asks it",
    "docker build": "no Docker is at hand; tests/deploy replays the Dockerfile and starts what comes of it",
    "kubectl apply": "no cluster is at hand; tests/deploy reads the manifests",
    "git clone https://huggingface.co": "Hugging Face is not at hand; tests/deploy lays the folder out and replays it",
    "scrape_configs": "it is for Prometheus; test_metrics scrapes",
}
"""Blocks that are run by other tests or by none, by a part of them."""
OTHERWISE: Final = {"/admin/requests/req_": 404, "http://127.0.0.1:8080/admin/keys": 409}
"""What else an address may answer here: the request of the page is another server's, and its key may be there."""


def _listed(text: str) -> bool:
    return any(part in text for part in ELSEWHERE)


def blocks(*languages: str) -> list[str]:
    """The blocks of these languages that are for this file."""
    return [text for _, language, text in BLOCKS if language in languages and not _listed(text)]


SHELL: Final = [text for text in blocks("sh", "console") if not _SETTING.match(text)]
SETTINGS: Final = [text for text in blocks("sh", "") if _SETTING.match(text)]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Program]:
    """A server with three credentials, as the pages speak of them."""
    async with simulated() as claude:
        settings = {"ANTHROPIC_API_KEYS": "key-one,key-two,key-three", "ANTHROPIC_BASE_URL": claude.url}
        async with started(tmp_path_factory.mktemp("docs"), "serve", **settings) as program:
            yield program


async def test_no_block_is_of_a_sort_nobody_looks_at() -> None:
    """Protects against a block that is neither run nor read nor listed."""
    seen = {*SHELL, *SETTINGS, *blocks("json", "toml")}
    left = [
        (page, text)
        for page, _, text in BLOCKS
        if text not in seen and not _listed(text) and page not in _PLAIN
    ]
    assert left == []


_PLAIN: Final = frozenset({"architecture.md", "security.md"})
"""Pages whose blocks are drawings."""


@pytest.mark.parametrize("part", ELSEWHERE)
async def test_what_is_listed_is_there(part: str) -> None:
    """Protects the list of exceptions from outliving its blocks."""
    assert [text for _, _, text in BLOCKS if part in text]


@pytest.mark.needs("curl")
@pytest.mark.parametrize("text", SHELL)
async def test_a_command_does_what_the_page_says(running: Program, text: str) -> None:
    """Protects what operators paste: it ends well, and the server answers it."""
    command = text.replace(_ADDRESS, running.url.removeprefix("http://"))
    command = command.replace("python app.py", f"{sys.executable} {ROOT / 'app.py'}")
    command = command.replace("curl ", r"curl -sS -w '%{stderr}\nstatus=%{http_code}\n' ")
    process = await asyncio.create_subprocess_exec(
        "sh",
        "-ec",
        _ADMIN + command,
        cwd=running.folder,
        env={"PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, complaints = await asyncio.wait_for(process.communicate(), _LIMIT_S)
    assert process.returncode == 0, complaints.decode()
    statuses = [int(found) for found in _STATUS.findall(complaints.decode())]
    assert len(statuses) == text.count("curl ")
    fine = {200, 201, *(status for part, status in OTHERWISE.items() if part in text)}
    assert set(statuses) <= fine, printed.decode()


@pytest.mark.parametrize("text", SETTINGS)
async def test_settings_are_read_as_they_are_written(
    text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Protects what people put into their ``.env``."""
    pairs = dict(_SETTING.findall(text))
    assert pairs
    try:
        await asyncio.to_thread(load_settings, {}, pairs, tmp_path_factory.mktemp("settings"))
    except ConfigurationError as error:
        pytest.fail(str(error))


@pytest.mark.parametrize("text", blocks("json"))
async def test_json_is_json(text: str) -> None:
    """Protects what people paste into ``sessions.json``, and what programs are said to read."""
    assert msgspec.json.decode(text)


@pytest.mark.parametrize("text", blocks("toml"))
async def test_toml_is_toml(text: str) -> None:
    """The same for the files of that format."""
    assert tomllib.loads(text)


async def test_the_paths_clients_add_to_their_base_url_exist() -> None:
    """Protects the table of clients from an address at which nobody listens."""
    page = (ROOT / "docs" / "clients.md").read_text()
    app = web.Application()
    RouteTable(app, ROUTES)
    paths = {resource.canonical for resource in app.router.resources()}
    added = {
        "Messages": "/v1/messages",
        "Chat Completions": "/v1/chat/completions",
        "Responses": "/v1/responses",
    }
    assert set(added.values()) <= paths
    rows = [
        line.split(" | ") for line in page.splitlines() if line.startswith("| ") and "base URL |" not in line
    ]
    assert len(rows) >= 10
    for row in rows:
        path = added[row[1]]
        assert ("/v1" in row[2]) is (path != "/v1/messages" and "deployment" not in row[2]), row[0]
