"""Which program a credential uses, and why not."""

from pathlib import Path

import pytest

from proxy.credentials import Credential, Kind
from proxy.secrets import Secret
from proxy.upstreams.claude_code import program as module
from proxy.upstreams.claude_code.program import NOT_THERE, Unusable, find_program
from tests.support.claude_code import claude_program
from tests.support.fake_claude import VERSION, fake_claude


def _credential(path: str | None) -> Credential:
    return Credential(
        name="c", kind=Kind.CLAUDE_CODE, secret=Secret("k"), base_url="https://a.example", cli_path=path
    )


@pytest.mark.parametrize("path", [None, "claude"])
def test_the_bundled_one_is_used_unless_another_is_named(path: str | None) -> None:
    """Protects users from having to install a program that is there."""
    found = find_program(_credential(path))
    assert found.path == claude_program().resolve()
    assert (found.version.count("."), found.sdk_version.count(".")) == (2, 2)


def test_the_one_the_operator_names_is_used(tmp_path: Path) -> None:
    """Protects the operator's choice."""
    claude_program()
    path = fake_claude(tmp_path)
    found = find_program(_credential(str(path)))
    assert (found.path, found.version) == (path.resolve(), VERSION)


@pytest.mark.parametrize(
    ("version", "reason"), [("2.1.200", "2.1.248 or newer is needed"), ("none", "does not tell its version")]
)
def test_one_that_is_too_old_is_not_used(tmp_path: Path, version: str, reason: str) -> None:
    """Protects the machine: an older program reads files and runs commands that a prompt names."""
    claude_program()
    with pytest.raises(Unusable, match=reason):
        find_program(_credential(str(fake_claude(tmp_path, version=version))))


def test_one_that_is_not_there_is_told(tmp_path: Path) -> None:
    """Protects the operator from a riddle."""
    claude_program()
    with pytest.raises(Unusable, match=NOT_THERE):
        find_program(_credential(str(tmp_path / "nothing")))


def test_without_the_package_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects users of the plain installation from a traceback."""
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    with pytest.raises(Unusable, match=r"carousel-gateway\[claude-code\]"):
        find_program(_credential(None))
