"""The image runs as nobody in particular, without a shell of its own making, and holds no secret."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.support.lacking import lacks
from tests.support.program import ROOT

_FILES: Final = ("Dockerfile", "huggingface/Dockerfile")
_NEEDED: Final = {
    "!app.py",
    "!proxy",
    "!requirements.txt",
    "!requirements-claude-code.txt",
    "!deploy/health.py",
}


def _instructions(file: str) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile with what they say, continued lines joined."""
    text = (ROOT / file).read_text().replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(word.upper(), rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


@pytest.mark.parametrize("file", _FILES)
def test_the_process_in_the_image_is_not_root(file: str) -> None:
    """Protects the machine from whoever gets out of the program."""
    assert [rest for word, rest in _instructions(file) if word == "USER"][-1] == "1000"


@pytest.mark.parametrize("file", _FILES)
def test_the_program_is_started_without_a_shell(file: str) -> None:
    """Protects signals, which a shell would keep, and arguments from being read as more than words."""
    started = [rest for word, rest in _instructions(file) if word in {"CMD", "ENTRYPOINT"}]
    assert started
    assert all(rest.startswith("[") for rest in started)


@pytest.mark.parametrize("file", _FILES)
def test_the_image_is_made_of_no_secret(file: str) -> None:
    """Protects keys from everybody who can pull an image: its layers and their variables are no place for them."""
    for word, rest in _instructions(file):
        assert word not in {"ENV", "ARG"} or not any(name in rest for name in ("KEY", "TOKEN", "SECRET"))
        assert word != "ADD"


def test_what_is_private_is_no_part_of_what_an_image_is_made_of() -> None:
    """Protects the operator's own files, which lie beside the Dockerfile."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    first, *rest = [line for line in lines if not line.startswith("#")]
    assert first == "*"
    assert {line for line in rest if line.startswith("!")} == _NEEDED


@pytest.mark.parametrize("file", _FILES)
def test_a_linter_of_dockerfiles_has_nothing_to_say(file: str) -> None:
    """Protects against habits that have been found to leave holes."""
    program = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if program is None:
        lacks("not installed here: hadolint")
    done = subprocess.run([program, str(ROOT / file)], capture_output=True, text=True, check=False)  # noqa: S603 - a program of ours
    assert done.stdout == ""
    assert done.returncode == 0
