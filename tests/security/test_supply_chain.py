"""What is installed is what was pinned, unchanged, and nothing runs by being there."""

import base64
import hashlib
import re
import sysconfig
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.program import ROOT

_PIN: Final = re.compile(r"^([A-Za-z0-9._-]+==[^\\\n]+)", re.MULTILINE)
_SITE: Final = Path(sysconfig.get_path("purelib"))
_STARTS_BY_ITSELF: Final = {
    "a1_coverage.pth",  # measures the tests' processes; not among what the program needs
    "distutils-precedence.pth",  # setuptools', which the virtual environments of some Pythons bring
    "_virtualenv.pth",
}
_FREE: Final = re.compile(
    r"MIT|BSD|Apache|PSF|Python Software Foundation|ISC|MPL|Unlicense|Zlib|HPND|0BSD", re.IGNORECASE
)


def _pinned(file: str) -> dict[str, str]:
    """The versions that a file pins for this Python on this system."""
    found = map(Requirement, _PIN.findall((ROOT / file).read_text()))
    here = (each for each in found if each.marker is None or each.marker.evaluate())
    return {canonicalize_name(each.name): str(each.specifier).removeprefix("==") for each in here}


_RUNTIME: Final = sorted(_pinned("requirements.txt"))


def _recorded(found: metadata.Distribution) -> Iterator[tuple[Path, str, str]]:
    """The files of a package with the algorithm and the digest its wheel recorded for each."""
    for file in found.files or ():
        if file.hash is not None and "__pycache__" not in file.parts:
            yield Path(str(file.locate())), file.hash.mode, file.hash.value


def test_no_file_of_the_installation_runs_by_being_there() -> None:
    """Protects keys from a package whose ``.pth`` file, or whose ``sitecustomize``, runs with every start."""
    running = {
        path.name
        for path in _SITE.glob("*.pth")
        if any(line.startswith(("import ", "import\t")) for line in path.read_text().splitlines())
    }
    assert running <= _STARTS_BY_ITSELF
    assert [path.name for path in _SITE.iterdir() if path.stem in {"sitecustomize", "usercustomize"}] == []


@pytest.mark.parametrize("name", _RUNTIME)
def test_a_package_is_the_one_that_was_pinned_and_has_its_own_bytes(name: str) -> None:
    """Protects against a package that somebody exchanged, or changed after it was installed."""
    found = metadata.distribution(name)
    assert found.version == _pinned("requirements.txt")[name]
    files = list(_recorded(found))
    assert files
    for path, mode, digest in files:
        actual = hashlib.new(mode, path.read_bytes()).digest()
        assert base64.urlsafe_b64encode(actual).decode().rstrip("=") == digest, path.name


@pytest.mark.parametrize("name", _RUNTIME)
def test_a_package_may_be_passed_on(name: str) -> None:
    """Protects who hands on an image from licences that forbid it, or bind what is with it."""
    told = metadata.distribution(name).metadata
    said = [
        text for field in ("License-Expression", "License", "Classifier") for text in told.get_all(field, [])
    ]
    assert any(_FREE.search(text) for text in said)
    assert not any(re.search(r"\bA?GPL", text) for text in said if len(text) < 200)


@pytest.mark.parametrize("file", ["Makefile", "Dockerfile"])
def test_nothing_is_installed_but_by_its_hash(file: str) -> None:
    """Protects the build from an index that gives other bytes under the same version."""
    lines = (ROOT / file).read_text().replace("\\\n", " ").splitlines()
    installing = [line for line in lines if re.search(r"\bpip\b.* install ", line)]
    assert installing
    assert all("--require-hashes" in line for line in installing)
