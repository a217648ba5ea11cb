"""Keys from the command line: shown once, alone on standard output, kept as digests."""

import re
import sqlite3
from pathlib import Path

import pytest

from proxy.commands.main import main

_FORM = r"sk-carousel-[A-Za-z0-9_-]{43}"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, with nothing of the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.environ", {"ANTHROPIC_API_KEYS": "k1,k2"})
    return tmp_path


def _run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["keys", *words])
    found = capsys.readouterr()
    return code, found.out, found.err


def test_a_new_key_is_alone_on_standard_output_and_nowhere_else(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    """Protects scripts that read it, and the key from being found in any file."""
    code, out, err = _run(capsys, "new", "work")
    assert code == 0
    assert re.fullmatch(_FORM + "\n", out)
    assert "work" in err
    assert out.strip() not in err
    for path in (folder / "data").iterdir():
        assert out.strip().encode() not in path.read_bytes(), path
        assert path.stat().st_mode & 0o077 == 0
    assert out.strip() not in _run(capsys, "list")[1]


def test_what_a_key_may_is_kept_and_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Protects against an option that is read and forgotten."""
    options = (
        "--rpm 1 --tpm 2 --concurrency 3 --budget 0.5 --period day --models a*,b --credentials api-2,api-1"
    )
    assert _run(capsys, "new", "work", *options.split(), "--expires", "2099-01-31")[0] == 0
    _, out, _ = _run(capsys, "list")
    assert out == (
        "work\tactive\trpm=1\ttpm=2\tconcurrency=3\tbudget=0.50 USD/day\tmodels=a*,b\tcredentials=api-1,api-2"
        "\texpires=2099-01-31T00:00:00Z\n"
    )


@pytest.mark.parametrize("when", ["30d", "12h", "1w", "90m", "2099-01-31", "2099-01-31T12:00:00+01:00"])
def test_an_end_is_given_as_people_give_it(capsys: pytest.CaptureFixture[str], when: str) -> None:
    """Protects against a key that never ends because its end was written another way."""
    assert _run(capsys, "new", "work", "--expires", when)[0] == 0
    assert "expires=" in _run(capsys, "list")[1]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["a b"], "NAME"),
        (["env-1"], "env-1"),
        (["a", "--rpm", "0"], "--rpm"),
        (["a", "--tpm", "x"], "--tpm"),
        (["a", "--budget", "-1"], "--budget"),
        (["a", "--period", "year"], "--period"),
        (["a", "--models", ","], "--models"),
        (["a", "--credentials", "nobody"], "--credentials"),
        (["a", "--concurrency", "1.5"], "--concurrency"),
        (["a", "--expires", "soon"], "--expires"),
        (["a", "--expires", "2099-01-31T12:00"], "--expires"),
        (["a", "--expires", "2020-01-31"], "--expires"),
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_refused_by_name_and_makes_no_key(
    capsys: pytest.CaptureFixture[str], words: list[str], named: str
) -> None:
    """Protects against a key without the limit its operator thinks it has."""
    code, out, err = _run(capsys, "new", *words)
    assert (code, out) == (1, "")
    assert named in err
    assert "Traceback" not in err
    assert _run(capsys, "list")[1] == ""


def test_a_name_is_used_once_and_a_revoked_key_stays_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Protects what a client owns, and the operator from revoking another key than meant."""
    assert _run(capsys, "new", "work")[0] == 0
    assert _run(capsys, "new", "work")[0] == 1
    assert _run(capsys, "revoke", "nobody")[0] == 1
    assert _run(capsys, "revoke", "work")[0] == 0
    assert _run(capsys, "revoke", "work")[0] == 1
    assert _run(capsys, "new", "work")[0] == 1
    assert _run(capsys, "list")[1] == "work\trevoked\n"


def test_orders_from_the_command_line_are_in_the_book(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    """Protects whoever has to find out who made a key."""
    _run(capsys, "new", "work")
    _run(capsys, "revoke", "work")
    database = sqlite3.connect(folder / "data/carousel.db")
    rows = database.execute("SELECT actor, action, target FROM audit ORDER BY id").fetchall()
    database.close()
    assert rows == [("command line", "keys.new", "work"), ("command line", "keys.revoke", "work")]


@pytest.mark.parametrize(
    ("words", "prefix", "count"), [([], "", 1), (["-n", "2"], "", 2), (["-n", "2", "--env"], "API_KEYS=", 2)]
)
def test_generated_keys_are_printed_and_not_kept(
    capsys: pytest.CaptureFixture[str], folder: Path, words: list[str], prefix: str, count: int
) -> None:
    """Protects those who keep their keys in the environment."""
    code, out, _ = _run(capsys, "generate", *words)
    made = out.strip().removeprefix(prefix).replace(",", "\n").splitlines()
    assert (code, len(set(made))) == (0, count)
    assert all(len(each) == 55 for each in made)
    assert out.startswith(prefix + "sk-carousel-")
    assert not (folder / "data").exists()


@pytest.mark.parametrize("count", ["0", "-1", "1001"])
def test_a_senseless_number_of_keys_is_refused(capsys: pytest.CaptureFixture[str], count: str) -> None:
    """Protects against an empty line in a file of keys."""
    assert _run(capsys, "generate", "-n", count)[:2] == (1, "")


def test_a_wrong_configuration_is_told_without_a_trace(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects operators from reading Python."""
    monkeypatch.setattr("os.environ", {"DATABASE_URL": "postgres://x"})
    code, out, err = _run(capsys, "list")
    assert (code, out) == (1, "")
    assert "DATABASE_URL" in err
