"""``app.py drill``, as an operator types it: some faults of each sort, with an own configuration."""

import re
import socket
from pathlib import Path
from typing import Final

import msgspec
import pytest

from proxy.commands.drill.campaign import cases
from tests.support.faults.page import PAGE
from tests.support.program import finished

pytestmark = pytest.mark.needs("openssl")
_KEY: Final = "sk-ant-api03-canary-own-key-0123456789"


def configuration(folder: Path, url: str) -> dict[str, str]:
    """Settings and a file of credentials of three kinds, all at `url`."""
    file = folder / "sessions.json"
    entries: list[dict[str, object]] = [
        {"name": "first", "kind": "anthropic", "key": _KEY, "base_url": url},
        {"name": "second", "kind": "anthropic", "key": f"{_KEY}-2", "base_url": url},
        {"name": "backup", "kind": "openai", "key": "canary-backup", "base_url": f"{url}/v1", "model": "m"},
    ]
    file.write_bytes(msgspec.json.encode({"credentials": entries}))
    file.chmod(0o600)
    return {"SESSIONS_FILE": str(file), "API_KEY": "canary-client-key-0123456789", "RETRY_COUNT": "1"}


def names_in(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(path.name for path in folder.iterdir())


async def test_a_drill_asks_nobody_and_leaves_nothing_but_its_report(tmp_path: Path) -> None:
    """Protects the operator's money, keys and files; the report is for the operator's eyes alone."""
    with socket.create_server(("127.0.0.1", 0)) as own:
        own.setblocking(False)
        settings = configuration(tmp_path, f"http://127.0.0.1:{own.getsockname()[1]}")
        program = await finished(
            tmp_path, "drill", "--only", "connection", "--html", "report.html", **settings
        )
        with pytest.raises(BlockingIOError):
            own.accept()
    assert program.process.returncode == 0, program.output
    assert names_in(tmp_path) == ["report.html", "sessions.json"]
    report = tmp_path / "report.html"
    assert report.stat().st_mode & 0o777 == 0o600
    text = report.read_text()
    assert "canary" not in program.output + text
    assert text.count('<th scope="row">') == len(cases("connection")) > 3
    assert "every client saw a whole answer or a proper error" in program.output
    assert re.search(r"connection refused +whole answer from", program.output)


@pytest.mark.parametrize("only", ["400", "an error event", "waiting in vain"])
async def test_clients_see_whole_answers_or_proper_errors(tmp_path: Path, only: str) -> None:
    """Protects the promise of the page about reliability with a configuration of several kinds and own numbers."""
    program = await finished(
        tmp_path, "drill", "--only", only, **configuration(tmp_path, "http://127.0.0.1:1")
    )
    assert program.process.returncode == 0, program.output
    assert f"{len(cases(only))} faults" in program.output


@pytest.mark.parametrize(
    ("settings", "arguments", "said"),
    [
        ({}, (), "No credential is configured"),
        ({"ANTHROPIC_API_KEY": _KEY}, ("--only", "no such fault"), "No fault"),
        ({"ANTHROPIC_API_KEY": _KEY, "ADDRESS": "nonsense"}, (), "ADDRESS"),
        ({"ANTHROPIC_API_KEY": _KEY, "REQUESTS_PER_MINUTE": "x"}, (), "REQUESTS_PER_MINUTE"),
    ],
)
async def test_what_cannot_be_drilled_is_said_with_code_1(
    tmp_path: Path, settings: dict[str, str], arguments: tuple[str, ...], said: str
) -> None:
    """Protects scripts, which read the exit code, and people, who read the sentence."""
    program = await finished(tmp_path, "drill", *arguments, **settings)
    assert program.process.returncode == 1
    assert said in program.output
    assert "Traceback" not in program.output
    assert names_in(tmp_path) == []


def test_every_fault_of_the_page_is_drilled() -> None:
    """Protects the drill from falling behind what is promised."""
    lines = PAGE.read_text().splitlines()
    for case in cases():
        assert [line for line in lines if line.startswith(f"| {case.name} |")], case.name
