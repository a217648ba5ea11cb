"""Which command runs, and with which flags."""

import importlib
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from proxy import __version__
from proxy.commands.main import main
from tests.support.program import ROOT


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """What the server was started with, instead of being started."""
    found: list[dict[str, object]] = []

    def serve(flags: Mapping[str, str], **options: object) -> int:
        found.append({"flags": dict(flags), **options})
        return 7

    # the package gives the function the module's name
    monkeypatch.setattr(importlib.import_module("proxy.commands.main"), "serve", serve)
    return found


_PLAIN: dict[str, object] = {"flags": {}, "env_file": None, "demo": False, "demo_if_unconfigured": False}


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ([], {}),
        (["serve"], {}),
        (["--demo"], {"demo": True}),
        (["serve", "--demo"], {"demo": True}),
        (["--demo-if-unconfigured"], {"demo_if_unconfigured": True}),
        (["--address", "0.0.0.0:1"], {"flags": {"ADDRESS": "0.0.0.0:1"}}),
        (["--sessions", "f.json"], {"flags": {"SESSIONS_FILE": "f.json"}}),
        (["--log-level", "debug"], {"flags": {"LOG_LEVEL": "debug"}}),
        (["--workers", "2"], {"flags": {"WORKERS": "2"}}),
        (["--env-file", "x.env"], {"env_file": Path("x.env")}),
    ],
    ids=" ".join,
)
def test_each_flag_becomes_its_setting(
    served: list[dict[str, object]], words: list[str], changes: dict[str, object]
) -> None:
    """Protects the command line, which people and images have written down."""
    assert main(words) == 7
    assert served == [_PLAIN | changes]


@pytest.mark.parametrize("words", [["nothing"], ["--nothing"], ["serve", "extra"], ["--address"]])
def test_a_wrong_call_is_refused_with_code_2(
    served: list[dict[str, object]], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Protects against a server that runs with a flag it did not understand."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert served == []
    assert "usage: carousel" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--version"], ["-h"], ["serve", "--help"]])
def test_asking_about_the_program_starts_nothing(
    served: list[dict[str, object]], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Protects people who only want to look."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0
    assert served == []
    assert "carousel" in capsys.readouterr().out


def test_a_server_loads_nothing_that_only_other_commands_and_scrapes_need() -> None:
    """Protects the memory of an idle server."""
    code = (
        "import sys, proxy.commands, proxy.server.app\n"
        "sys.exit(', '.join({'proxy.commands.console', 'prometheus_client', 'opentelemetry'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - our own code
    assert done.returncode == 0, done.stderr


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    """Protects bug reports."""
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.strip() == f"carousel {__version__}"


@pytest.mark.parametrize(
    ("words", "module", "name", "expected"),
    [
        (["check"], "check", "check", {"flags": {}, "env_file": None}),
        (
            ["check", "--sessions", "f.json", "--env-file", "x.env"],
            "check",
            "check",
            {"flags": {"SESSIONS_FILE": "f.json"}, "env_file": Path("x.env")},
        ),
        (["drill"], "drill", "drill", {"flags": {}, "env_file": None, "only": "", "report": None}),
        (
            ["drill", "--only", "429", "--html", "r.html"],
            "drill",
            "drill",
            {"flags": {}, "env_file": None, "only": "429", "report": Path("r.html")},
        ),
    ],
)
def test_the_commands_that_look_get_their_flags(
    monkeypatch: pytest.MonkeyPatch, words: list[str], module: str, name: str, expected: dict[str, object]
) -> None:
    """Protects the words of `check` and `drill`, which people have in scripts."""
    found: list[dict[str, object]] = []

    def command(flags: Mapping[str, str], **options: object) -> int:
        found.append({"flags": dict(flags), **options})
        return 7

    monkeypatch.setattr(importlib.import_module(f"proxy.commands.{module}"), name, command)
    assert main(words) == 7
    assert found == [expected]
