"""``app.py check``, as an operator types it before the first start."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from proxy.simulator import Simulator, Step
from tests.support.house import simulated
from tests.support.program import Program, finished
from tests.support.web_sessions import COOKIES, place_of

KEYS = ("sk-ant-api03-canary-one-0123456789", "sk-ant-api03-canary-two-0123456789")


async def checked(
    folder: Path, simulator: Simulator, *entries: Mapping[str, object], **settings: str
) -> Program:
    """What it says of these credentials."""
    file = folder / "sessions.json"
    file.write_bytes(msgspec.json.encode({"credentials": entries}))
    file.chmod(0o600)
    program = await finished(
        folder,
        "check",
        SESSIONS_FILE=str(file),
        ANTHROPIC_BASE_URL=simulator.url,
        CLAUDE_WEB_BASE_URL=place_of(simulator.url),
        **settings,
    )
    assert "canary" not in program.output
    return program


def line_of(program: Program, alias: str) -> str:
    """The line of the table about a credential."""
    (line,) = [line for line in program.lines if line.startswith(f"{alias} ")]
    return line


def names_in(folder: Path) -> list[str]:
    """What lies in a folder."""
    return [path.name for path in folder.iterdir()]


async def test_every_kind_is_asked_and_told_in_one_table(tmp_path: Path) -> None:
    """Protects the first start: what works and what does not, by alias, with the reason."""
    async with simulated() as claude:
        claude.script(KEYS[1], then=Step("status", status=401))
        program = await checked(
            tmp_path,
            claude,
            {"name": "good", "kind": "anthropic", "key": KEYS[0], "models": ["claude-haiku-*"]},
            {"name": "dead", "kind": "anthropic", "key": KEYS[1]},
            {"name": "me", "kind": "claude_web", "session_key": COOKIES[0]},
            {"name": "other", "kind": "openai", "key": "canary-openai", "base_url": f"{claude.url}/v1"},
            {"name": "off", "kind": "anthropic", "key": "canary-off-key", "enabled": False},
        )
    assert program.process.returncode == 0, program.output
    assert "works" in line_of(program, "good")
    assert " of " in line_of(program, "good")
    assert "the key is refused (401)" in line_of(program, "dead")
    assert "works" in line_of(program, "me")
    assert "works" in line_of(program, "other")
    assert "switched off" in line_of(program, "off")
    assert "3 of 5 credentials can answer." in program.output


async def test_nothing_is_changed_by_looking(tmp_path: Path) -> None:
    """Protects a check on a machine where another user will run the server: no folder, no key, no database."""
    async with simulated() as claude:
        await checked(tmp_path, claude, {"name": "good", "kind": "anthropic", "key": KEYS[0]})
        asked = [one.method for one in claude.record.requests]
    assert names_in(tmp_path) == ["sessions.json"]
    assert asked == ["GET"]


async def test_none_that_works_is_exit_code_1(tmp_path: Path) -> None:
    """Protects scripts that check before they start."""
    async with simulated() as claude:
        claude.script(KEYS[0], then=Step("status", status=402))
        program = await checked(tmp_path, claude, {"name": "poor", "kind": "anthropic", "key": KEYS[0]})
    assert program.process.returncode == 1
    assert "no credit left (402)" in line_of(program, "poor")


async def test_a_challenge_stops_the_asking_of_sessions(tmp_path: Path) -> None:
    """Protects accounts: where one session was asked for a browser, no other one knocks."""
    async with simulated() as claude:
        for cookie in COOKIES:
            claude.script(cookie, then=Step("challenge"))
        program = await checked(
            tmp_path,
            claude,
            *({"name": f"w{at}", "kind": "claude_web", "session_key": one} for at, one in enumerate(COOKIES)),
        )
        assert claude.record.requests_total == 1
    assert program.process.returncode == 1
    assert "asked for a browser (403)" in line_of(program, "w0")
    assert "not asked" in line_of(program, "w1")


async def test_all_mistakes_of_the_file_and_the_catalog_are_named_at_once(tmp_path: Path) -> None:
    """Protects people from finding their mistakes one start at a time."""
    async with simulated() as claude:
        program = await checked(
            tmp_path,
            claude,
            {"name": "a", "kind": "nothing"},
            {"name": "b", "kind": "anthropic", "key": KEYS[0], "weight": 0},
            MODEL_CATALOG_FILE="none.json",
        )
        assert claude.record.requests_total == 0
    assert program.process.returncode == 1
    assert "kind" in program.output
    assert "weight" in program.output
    assert "MODEL_CATALOG_FILE" in program.output


async def test_no_credential_at_all_is_said_in_words(tmp_path: Path) -> None:
    """Protects the newcomer, who is told what to set."""
    program = await finished(tmp_path, "check")
    assert program.process.returncode == 1
    assert "No credential is configured" in program.output
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("name", ["[red]alias", "alias"])
async def test_what_looks_like_markup_is_shown_as_it_is(tmp_path: Path, name: str) -> None:
    """Protects the table from models and patterns that look like instructions to it."""
    async with simulated() as claude:
        program = await checked(
            tmp_path,
            claude,
            {"name": "a", "kind": "claude_web", "session_key": COOKIES[0], "models": [name]},
        )
    assert name in line_of(program, "a")
