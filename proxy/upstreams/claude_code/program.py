"""Which program a credential uses, and whether it can: looked at once for each file. These functions block."""

import os
import re
import shutil
import subprocess
from functools import lru_cache
from importlib.metadata import version as package_version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import msgspec

from proxy.credentials import Credential

LEAST_VERSION: Final = (2, 1, 248)
"""The first that takes a prompt as it is written: older ones read files it names, and run commands."""

NOT_THERE: Final = "there is no program where cli_path or CLAUDE_BINARY_PATH says, and no claude on PATH"
_BARE: Final = "claude"
_SDK: Final = "claude_agent_sdk"
_PACKAGE: Final = "claude-agent-sdk"
_VERSION: Final = re.compile(r"\d{1,6}\.\d{1,6}\.\d{1,6}")
_ASKING_S: Final = 20.0
_WITHOUT_SDK: Final = (
    'the package claude-agent-sdk is not installed: pip install "carousel-gateway[claude-code]", '
    "or make run CLAUDE_CODE=1"
)


class Program(msgspec.Struct, frozen=True):
    """The program as it was found.

    Attributes:
        path: its file.
        version: as it tells it.
        sdk_version: of the package that drives it.
    """

    path: Path
    version: str
    sdk_version: str = ""


class Unusable(Exception):
    """A credential of this kind cannot be used here; the text says why."""


def find_program(credential: Credential) -> Program:
    """The program of a credential. Raises Unusable."""
    sdk = find_spec(_SDK)
    if sdk is None:
        raise Unusable(_WITHOUT_SDK)
    bundled = [Path(folder) / "_bundled" / _BARE for folder in sdk.submodule_search_locations or ()]
    named = credential.cli_path or _BARE
    found: str | None
    if named == _BARE and bundled and bundled[0].is_file():
        found = str(bundled[0])
    else:
        found = shutil.which(str(Path(named).expanduser()) if "/" in named else named)
    if found is None:
        raise Unusable(NOT_THERE)
    path = Path(found).resolve()
    version = _version(path, path.stat().st_mtime_ns)
    if version is None:
        raise Unusable("its program does not tell its version")
    if tuple(map(int, version.split("."))) < LEAST_VERSION:
        least = ".".join(map(str, LEAST_VERSION))
        raise Unusable(f"its Claude Code is {version}, and {least} or newer is needed")
    return Program(path, version, package_version(_PACKAGE))


@lru_cache(maxsize=32)
def _version(path: Path, _changed_ns: int) -> str | None:
    """What a program says its version is; the bundled one has it written beside it."""
    beside = path.with_name(f"{path.name}.version")
    try:
        if beside.is_file() and (found := _VERSION.search(beside.read_text())) is not None:
            return found[0]
        told = subprocess.run(  # noqa: S603 - the operator named it
            [path, "--version"],
            env={"PATH": os.environ.get("PATH", os.defpath)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_ASKING_S,
            check=False,
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    found = _VERSION.search(told.stdout[:1000].decode(errors="replace"))
    return found[0] if found is not None else None
