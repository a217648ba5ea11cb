"""Moving here from claude-code-api (Python) with its Claude Code: keys that rotate, shells that follow, a login."""

import asyncio
import os
from pathlib import Path
from typing import Final

import msgspec
import pytest

from proxy.simulator import Simulator, Step
from tests.migration.claude_code_python.test_claude_code_api import (
    CHAT,
    HEALTH,
    MODELS,
    STREAMED,
)
from tests.migration.conversations.examples import WITH_CONTEXT
from tests.support.claude_code import claude_program
from tests.support.fake_claude import VERSION, fake_claude, starts
from tests.support.house import eventually
from tests.support.moving import Moved, moved
from tests.support.program import finished

pytestmark = pytest.mark.needs("curl")

KEYS: Final = """\
{ "claude_api_keys": [ { "name": "primary", "token": "sk-your-primary-key", "base_url": "https://anyrouter.top", \
"status": "active" }, { "name": "backup1", "token": "sk-your-backup-key", "base_url": "https://anyrouter.top", \
"status": "active" } ] }
"""
PRIMARY: Final = "sk-your-primary-key"
BACKUP: Final = "sk-your-backup-key"
_OPEN: Final = {"REQUIRE_AUTH": "false"}
_SHOW: Final = "echo $ANTHROPIC_AUTH_TOKEN"


def _write_keys(folder: Path, simulator: Simulator, text: str = KEYS) -> None:
    """The list as the document has it, with the address of the simulated Claude in the place of a relay's."""
    (folder / "sessions.json").write_text(text.replace("https://anyrouter.top", simulator.url))
    (folder / "sessions.json").chmod(0o600)


def _program(folder: Path) -> dict[str, str]:
    """The setting that names a program which stands in for Claude Code."""
    claude_program()
    return {"CLAUDE_BINARY_PATH": str(fake_claude(folder / "fake"))}


async def _shell_says(home: Path) -> str:
    """The token that a new shell of a person has."""
    process = await asyncio.create_subprocess_exec(
        *("bash", "-ic", _SHOW),
        env={"PATH": os.environ["PATH"], "HOME": str(home)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    printed, _ = await process.communicate()
    return printed.decode().strip()


@pytest.mark.needs("bash")
@pytest.mark.parametrize(
    "refused",
    [
        Step("status", status=429, headers={"retry-after": "600"}),
        Step("status", status=401),
        Step("status", status=402),
    ],
    ids=["rate", "authentication", "quota"],
)
async def test_the_next_key_serves_where_one_fails_and_shells_follow(
    tmp_path: Path, simulator: Simulator, refused: Step
) -> None:
    """Protects its five promises: a failing key is noticed, the next one serves, shells have it, nobody notices."""
    home = tmp_path / "home"
    home.mkdir()
    profiles = [home / name for name in (".bashrc", ".bash_profile", ".zshrc")]
    for profile in profiles:
        profile.write_text("# mine\n")
    settings = {**_OPEN, **_program(tmp_path), "SHELL_ENV_FILE": str(home / "active.env"), "HOME": str(home)}
    installed = await finished(tmp_path, "shell-hook", "install", **settings)
    assert installed.process.returncode == 0
    _write_keys(tmp_path, simulator)

    async def follows(token: str) -> bool:
        return await _shell_says(home) == token

    async with moved(tmp_path, simulator, settings) as found:
        assert "Hello!" in (await found.shell(CHAT)).text
        await eventually(lambda: follows(PRIMARY))
        simulator.script(PRIMARY, then=refused)
        assert "Hello!" in (await found.shell(CHAT)).text
        assert "Tell me a joke" in (await found.shell(STREAMED)).streamed_text
        await eventually(lambda: follows(BACKUP))
        asked = simulator.record.requests_per_key
        assert (asked[PRIMARY], asked[BACKUP]) == (2, 2)
    for profile in profiles:
        assert "active.env" in profile.read_text()
        assert BACKUP not in profile.read_text()


async def test_a_key_that_is_not_active_is_left_alone(tmp_path: Path, simulator: Simulator) -> None:
    """Protects the field `status` of the list."""
    _write_keys(tmp_path, simulator, KEYS.replace('"status": "active"', '"status": "inactive"', 1))
    async with moved(tmp_path, simulator, {**_OPEN, **_program(tmp_path)}) as found:
        assert "Hello!" in (await found.shell(CHAT)).text
        assert dict(simulator.record.requests_per_key) == {BACKUP: 1}


async def test_ones_own_login_serves_without_any_key(tmp_path: Path, simulator: Simulator) -> None:
    """Protects its usual setup: Claude Code as it is logged in, found by the path in the settings, and nothing else.

    The other settings its document names are kept too: where projects lie, and the database.
    """
    settings = {
        **_OPEN,
        **_program(tmp_path),
        "HOME": str(tmp_path / "home"),
        "PROJECT_ROOT": str(tmp_path / "projects"),
        "DATABASE_URL": f"sqlite:///{tmp_path}/claude_api.db",
    }
    async with moved(tmp_path, simulator, settings) as found:
        assert "this machine's own Claude Code login is used" in found.program.output
        assert "Hello!" in (await found.shell(CHAT)).text
        health = msgspec.json.decode((await found.shell(HEALTH)).body)
        assert (health["status"], health["claude_version"]) == ("healthy", VERSION)
        assert _ids(await _body(found, MODELS)) >= {"claude-code"}
        project = 'curl -X POST http://localhost:8000/v1/projects -H "Content-Type: application/json" -d '
        made = await _body(found, project + """'{"name": "demo"}'""")
        assert Path(str(made["path"])).is_relative_to(tmp_path / "projects")
    (start,) = await asyncio.to_thread(starts, tmp_path / "fake")
    assert start["environment"]["HOME"] == str(tmp_path / "home")
    assert (tmp_path / "claude_api.db").is_file()


async def test_a_history_with_a_system_prompt_reaches_the_model_whole(
    tmp_path: Path, simulator: Simulator
) -> None:
    """Protects its example of context, through the real program."""
    claude_program()
    _write_keys(tmp_path, simulator)
    line = "curl -X POST http://localhost:8000/v1/chat/completions -H 'Content-Type: application/json' -d @- <<'END'\n"
    async with moved(tmp_path, simulator, _OPEN) as found:
        assert "What's my name?" in (await found.shell(f"{line}{WITH_CONTEXT}END\n")).text
        (asked,) = found.asked
    said = [(one["role"], _text(one["content"])) for one in asked.messages]
    assert said == [
        ("user", "My name is Alice."),
        ("assistant", "Nice to meet you, Alice!"),
        ("user", "What's my name?"),
    ]
    assert "You are a helpful assistant." in str(asked.system)


def _text(content: object) -> str:
    blocks = msgspec.convert(content, list[dict[str, object]])
    return "".join(str(block["text"]) for block in blocks)


async def _body(found: Moved, line: str) -> dict[str, object]:
    return msgspec.json.decode((await found.shell(line)).body, type=dict[str, object])


def _ids(listed: dict[str, object]) -> set[object]:
    return {one["id"] for one in msgspec.convert(listed["data"], list[dict[str, object]])}
