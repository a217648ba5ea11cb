"""What it takes to keep a login from what its tools start, and how what is missing is told."""

from pathlib import Path

import pytest

from proxy.upstreams.claude_code.sandbox import lacking

_SHORT = 40


def _programs(folder: Path, **scripts: str) -> str:
    """A ``PATH`` of these shell scripts alone."""
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return str(folder)


@pytest.mark.parametrize(
    ("there", "told"),
    [
        ((), "not installed on the server: bubblewrap, socat"),
        (("bwrap",), "not installed on the server: socat"),
        (("socat",), "not installed on the server: bubblewrap"),
    ],
)
def test_what_is_not_installed_is_named(tmp_path: Path, there: tuple[str, ...], told: str) -> None:
    """Protects operators from looking for what is missing, and logins from tools until it is there."""
    assert lacking(_programs(tmp_path, **dict.fromkeys(there, "exit 0")), _SHORT) == told


def test_nothing_is_lacking_where_the_trial_goes_well(tmp_path: Path) -> None:
    """Protects logins that may use tools."""
    assert lacking(_programs(tmp_path, bwrap="exit 0", socat="exit 0"), _SHORT) == ""


def test_a_kernel_that_lets_nobody_make_namespaces_is_told_in_its_own_words(tmp_path: Path) -> None:
    """Protects logins in containers, where the program is there and cannot do its work."""
    path = _programs(
        tmp_path, bwrap="echo 'bwrap: No permissions to create a namespace' >&2; exit 1", socat=""
    )
    told = "bubblewrap is not let make namespaces on the server (bwrap: No permissions to create a namespace)"
    assert lacking(path, _SHORT) == told


def test_a_bubblewrap_that_cannot_be_run_is_none(tmp_path: Path) -> None:
    """Protects requests from a failure nobody expects."""
    path = _programs(tmp_path, bwrap="", socat="")
    (tmp_path / "bwrap").write_bytes(b"\x7fELF no program")
    assert lacking(path, _SHORT) == "bubblewrap could not be tried on the server (OSError)"


@pytest.mark.parametrize(("length_bytes", "over"), [(72, 0), (73, 1), (100, 28)])
def test_a_path_too_long_for_sockets_is_told(tmp_path: Path, length_bytes: int, over: int) -> None:
    """Protects operators from a sandbox that never comes up, for a reason nobody would guess."""
    told = lacking(_programs(tmp_path, bwrap="exit 0", socat="exit 0"), length_bytes)
    assert told == (
        f"the path of DATA_DIR is {over} bytes too long for the sockets of the sandbox" if over else ""
    )
