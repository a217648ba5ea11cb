"""The wheels that ``deploy/build.sh`` needs exist for each platform it builds for."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Final

import pytest

from tests.support.canaries.lying_about import ENVIRONMENT, plant, swept
from tests.support.program import ROOT
from tests.support.soak import SOAKING

_MACHINES: Final = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
_GLIBC_MINOR: Final = 36
"""Of the glibc 2 of Debian 12, on which the base image stands."""
_FILES: Final = ("requirements.txt", "requirements-claude-code.txt")
_PYTHON: Final = "3.11"


def _platforms(machine: str) -> list[str]:
    """The names of the platforms whose wheels run there. Source: PEP 600."""
    minors = [f"manylinux_2_{minor}" for minor in range(5, _GLIBC_MINOR + 1)]
    return [f"{name}_{machine}" for name in (*minors, "manylinux1", "manylinux2010", "manylinux2014")]


def test_both_platforms_of_the_build_are_looked_up() -> None:
    """Protects a platform that is added to the build from being forgotten here."""
    named = re.search(r"--platform (\S+)", (ROOT / "deploy/build.sh").read_text())
    assert named is not None
    assert named[1].split(",") == list(_MACHINES)
    *_, base = re.findall(r"^ARG BASE=python:(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert base == f"{_PYTHON}-slim-bookworm"


@pytest.mark.long
@pytest.mark.timeout(500)
@pytest.mark.skipif(not SOAKING, reason="downloads every wheel; SOAK=1 runs it")
@pytest.mark.parametrize("platform", _MACHINES)
def test_every_pinned_wheel_exists_with_a_known_digest(platform: str, tmp_path: Path) -> None:
    """Protects builds from a package that one of the platforms would have to compile, without a compiler."""
    words = [sys.executable, "-m", "pip", "install", "--dry-run", "--target", str(tmp_path / "nowhere")]
    words += ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--progress-bar", "off"]
    words += ["--implementation", "cp", "--python-version", _PYTHON]
    words += [word for name in _platforms(_MACHINES[platform]) for word in ("--platform", name)]
    words += [word for file in _FILES for word in ("--requirement", str(ROOT / file))]
    # wheels that lie on this machine are for this machine, and prove nothing
    kept = {name: value for name, value in os.environ.items() if name != "PIP_FIND_LINKS"}
    done = subprocess.run(words, env=kept, capture_output=True, text=True, check=False)  # noqa: S603 - our own files
    assert done.returncode == 0, done.stderr
    *_, found = done.stdout.splitlines()
    print(f"{platform}: {len(found.split()) - 2} wheels")  # noqa: T201 - the figure
    assert found.startswith("Would install ")


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.skipif(not SOAKING, reason="asks for the packages that build wheels; SOAK=1 runs it")
def test_no_secret_that_lies_about_gets_into_the_wheel(tmp_path: Path) -> None:
    """Protects operators who build where they run: nothing of their environment and files is in the package."""
    folder = tmp_path / "planted"
    shutil.copytree(
        ROOT, folder, ignore=shutil.ignore_patterns(".*_cache", ".git", ".venv*", ".node", "tests")
    )
    plant(folder)
    words = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--wheel-dir",
        str(tmp_path / "made"),
        str(folder),
    ]
    done = subprocess.run(  # noqa: S603 - our own folder
        words, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "made").glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        opened.extractall(tmp_path / "unpacked")
    assert (tmp_path / "unpacked/proxy/__init__.py").is_file()
    assert list(swept(folder))
    assert list(swept(tmp_path / "unpacked")) == []
