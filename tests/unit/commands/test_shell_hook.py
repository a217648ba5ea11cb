"""The line in a person's shell profiles."""

import subprocess
from pathlib import Path

import pytest

from proxy.commands.main import main
from proxy.commands.shell_hook import BACKUP, edit, hook_line

_PROFILE = b"alias ll='ls -l'\n# the end, without a line's end"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with one profile, which a link leads to."""
    found = tmp_path / "home"
    found.mkdir()
    (tmp_path / "dotfiles").write_bytes(_PROFILE)
    (tmp_path / "dotfiles").chmod(0o640)
    (found / ".bashrc").symlink_to(tmp_path / "dotfiles")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.environ", {"HOME": str(found), "SHELL_ENV_FILE": "it's/active.env"})
    return found


def test_one_line_is_added_and_taken_out_again(home: Path, tmp_path: Path) -> None:
    """Protects people's own profiles: what they hold, whose they are, and that they are links."""
    assert main(["shell-hook", "install"]) == 0
    assert main(["shell-hook", "install"]) == 0
    line = hook_line(tmp_path / "it's/active.env")
    assert (home / ".bashrc").read_bytes() == _PROFILE + b"\n" + line + b"\n"
    assert (home / ".bashrc").is_symlink()
    assert (tmp_path / "dotfiles").stat().st_mode & 0o777 == 0o640
    assert (home / f".bashrc{BACKUP}").read_bytes() == _PROFILE
    assert not (home / ".zshrc").exists()
    assert main(["shell-hook", "remove"]) == 0
    assert (home / ".bashrc").read_bytes() == _PROFILE + b"\n"
    assert main(["shell-hook", "remove"]) == 0


def test_a_shell_reads_the_file_and_does_without_it(tmp_path: Path) -> None:
    """Protects shells: the line works, also under a name with a quote in it, and says nothing where nothing is."""
    file = tmp_path / "it's.env"
    script = hook_line(file).decode() + "\necho got:$ANTHROPIC_AUTH_TOKEN"

    def said() -> str:
        run = subprocess.run(  # noqa: S603 - a script of the test's own
            ["/bin/sh", "-euc", f"ANTHROPIC_AUTH_TOKEN=;{script}"], capture_output=True, check=True
        )
        assert run.stderr == b""
        return run.stdout.decode().strip()

    assert said() == "got:"
    file.write_text("ANTHROPIC_AUTH_TOKEN=heron\n")
    assert said() == "got:heron"


def test_another_path_takes_the_place_of_the_first(home: Path, tmp_path: Path) -> None:
    """Protects profiles from a line for each time the operator changes their mind."""
    for name in ("a", "b"):
        edit(home / ".bashrc", hook_line(tmp_path / name))
    assert (home / ".bashrc").read_bytes().count(b"carousel") == 1
    assert b"/b ]" in (home / ".bashrc").read_bytes()


def test_what_is_missing_is_said(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Protects people from a hook that does nothing."""
    (home / ".bashrc").unlink()
    assert main(["shell-hook", "install"]) == 1
    assert "There is no .bashrc" in capsys.readouterr().err
    monkeypatch.setattr("os.environ", {"HOME": str(home)})
    assert main(["shell-hook", "install"]) == 1
    assert "SHELL_ENV_FILE" in capsys.readouterr().err
