"""The file with the active key."""

import random
import subprocess
from pathlib import Path

import pytest

from proxy.credentials import Credential, Kind
from proxy.pool import Pool
from proxy.secrets import Secret
from proxy.server.shell_env import ShellEnv, shell_lines
from proxy.settings import Policy
from tests.support.clock import FakeClock


def _key(name: str, tier: int = 0, secret: str | None = None) -> Credential:
    made = Secret(secret or f"token-of-{name}")
    return Credential(name=name, kind=Kind.CLAUDE_CODE, secret=made, base_url="https://x.example", tier=tier)


def _made(file: Path, *credentials: Credential) -> tuple[ShellEnv, Pool]:
    pool = Pool(credentials, policy=Policy(), clock=FakeClock(), rng=random.Random(1))
    return ShellEnv(file, pool, lambda: credentials), pool


async def test_the_first_usable_key_is_written_and_followed(tmp_path: Path) -> None:
    """Protects a person's own sessions from a key that has reached its limits, and the key from other users."""
    file = tmp_path / "made" / "active.env"
    shells, pool = _made(file, _key("later", tier=1), _key("first"))
    await shells.look()
    assert "token-of-first" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    pool.disable("first")
    await shells.look()
    assert "token-of-later" in file.read_text()
    assert "token-of-first" not in file.read_text()
    pool.disable("later")
    await shells.look()
    assert "token-of-later" in file.read_text()


async def test_it_is_written_only_when_the_key_changes(tmp_path: Path) -> None:
    """Protects the disk, and an editor that has the file open."""
    file = tmp_path / "active.env"
    shells, _ = _made(file, _key("first"))
    await shells.look()
    file.write_text("a person's own")
    await shells.look()
    assert file.read_text() == "a person's own"


async def test_a_file_that_cannot_be_written_is_tried_again(tmp_path: Path) -> None:
    """Protects the server from a folder that is not there, and the key from being forgotten."""
    (tmp_path / "folder").write_text("in the way")
    shells, _ = _made(tmp_path / "folder" / "active.env", _key("first"))
    await shells.look()
    (tmp_path / "folder").unlink()
    await shells.look()
    assert (tmp_path / "folder" / "active.env").exists()


@pytest.mark.parametrize(
    ("secret", "name"),
    [
        ("sk-any'; touch x #", "ANTHROPIC_AUTH_TOKEN"),
        ("sk-ant-api03-x", "ANTHROPIC_API_KEY"),
        ("sk-ant-oat01-x", "CLAUDE_CODE_OAUTH_TOKEN"),
    ],
)
def test_a_shell_gets_the_key_under_its_one_name(tmp_path: Path, secret: str, name: str) -> None:
    """Protects shells from characters that mean something to them, and from a key that is left over."""
    script = tmp_path / "active.env"
    script.write_bytes(shell_lines(_key("first", secret=secret)))
    names = "ANTHROPIC_AUTH_TOKEN ANTHROPIC_API_KEY CLAUDE_CODE_OAUTH_TOKEN"
    run = subprocess.run(  # noqa: S603 - a script of the test's own
        ["/bin/sh", "-c", f"export ANTHROPIC_API_KEY=old; . {script}; env"],
        capture_output=True,
        check=True,
        env={},
        cwd=tmp_path,
    )
    told = dict(line.split("=", 1) for line in run.stdout.decode().splitlines())
    assert {each: told[each] for each in names.split() if each in told} == {name: secret}
    assert told["ANTHROPIC_BASE_URL"] == "https://x.example"
