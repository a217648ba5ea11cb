"""The compiled requirement files agree with each other and with the ranges they were compiled from."""

import re
import tomllib
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).parents[2]
TOGETHER: Final = (
    "requirements.txt",
    "requirements-dev.txt",
    "requirements-claude-code.txt",
    "requirements-opentelemetry.txt",
    "requirements-fuzz.txt",
)
FILES: Final = (*TOGETHER, "requirements-semgrep.txt")
PIN: Final = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", re.MULTILINE)


def pins(file: str) -> dict[str, str]:
    """The versions a file pins."""
    return {canonicalize_name(name): version for name, version in PIN.findall((ROOT / file).read_text())}


def wanted(file: str) -> list[Requirement]:
    """The ranges a file was compiled from."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    runtime = project["project"]["dependencies"]
    extras, groups = project["project"]["optional-dependencies"], project["dependency-groups"]
    ranges = {
        "requirements.txt": runtime,
        "requirements-dev.txt": groups["dev"],
        "requirements-claude-code.txt": runtime + extras["claude-code"],
        "requirements-opentelemetry.txt": runtime + extras["opentelemetry"],
        "requirements-fuzz.txt": groups["fuzz"],
        "requirements-semgrep.txt": groups["semgrep"],
    }
    return [Requirement(text) for text in ranges[file]]


@pytest.mark.parametrize("file", FILES)
def test_every_range_is_met_by_a_pin(file: str) -> None:
    """Protects against a range that was changed and not compiled."""
    found = pins(file)
    for requirement in wanted(file):
        version = found[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement} is pinned to {version}"


@pytest.mark.parametrize("file", TOGETHER[1:])
def test_no_two_files_pin_different_versions(file: str) -> None:
    """Protects installing them together, which needs one version of each package."""
    mine = pins(file)
    for other in TOGETHER[: TOGETHER.index(file)]:
        theirs = pins(other)
        assert {name: mine[name] for name in mine.keys() & theirs} == {
            name: theirs[name] for name in mine.keys() & theirs
        }


@pytest.mark.parametrize("file", FILES)
def test_a_file_holds_nothing_of_the_machine_it_was_compiled_on(file: str) -> None:
    """Protects other machines: no paths, no indexes, and a hash for every package."""
    text = (ROOT / file).read_text()
    assert not re.search(r"(?<!\w)/\w|://|file:|--(?!hash=)", text)
    assert text.count("==") <= text.count("--hash=sha256:")
