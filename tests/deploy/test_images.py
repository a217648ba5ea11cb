"""The images that are shipped: linted, and built and run without Docker, step by step."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import pytest

from proxy.clock import SystemClock
from tests.support.canaries.lying_about import ENVIRONMENT, plant, swept
from tests.support.canaries.spellings import found
from tests.support.docker.dockerfile import parse
from tests.support.docker.replay import Build, Image, beside, first_inside, started
from tests.support.lacking import lacks
from tests.support.program import ROOT
from tests.support.soak import SOAKING

_NEEDS_NETWORK: Final = "takes a minute and the network; SOAK=1 runs it"
_BUNDLED: Final = "import claude_agent_sdk as sdk; print(sdk.__path__[0] + '/_bundled/claude')"
_KEYS: Final = {"API_KEY": "canary-client-key-0123456789", "ADMIN_KEY": "canary-admin-key-0123456789"}
_ENDS_WITHIN_S: Final = 30
_LISTENS_WITHIN_S: Final = 60.0
_ASKS: Final = textwrap.dedent(
    """
    import http.client, json, sys
    port = int(sys.argv[1])
    def ask(method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        headers = {"authorization": "Bearer " + sys.argv[2], "content-type": "application/json"}
        connection.request(method, path, body and json.dumps(body), headers)
        answer = connection.getresponse()
        return [answer.status, answer.read().decode()]
    asked = {"model": "claude-sonnet-5-5", "max_tokens": 50, "messages": [{"role": "user", "content": "Hello!"}]}
    print(json.dumps({
        "live": ask("GET", "/live"),
        "chat": ask("POST", "/v1/chat/completions", asked),
        "stream": ask("POST", "/hf/v1/messages", {**asked, "stream": True}),
    }))
    """
)
clock = SystemClock()


@pytest.fixture(params=["checkout", "space"])
def context(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folder an image is built from: the checkout, and a Space as it is laid out."""
    if request.param == "checkout":
        return ROOT
    space = tmp_path / "space"
    subprocess.run([ROOT / "deploy/space.sh", space], check=True)  # noqa: S603 - ours
    return space


def test_the_linter_has_nothing_to_say(context: Path) -> None:
    """Protects the Dockerfiles from what is known to go wrong in such files."""
    linter = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if linter is None:
        lacks("not installed here: hadolint")
    done = subprocess.run([linter, context / "Dockerfile"], capture_output=True, text=True, check=False)  # noqa: S603 - found above
    assert (done.returncode, done.stdout) == (0, "")


def test_it_is_made_to_run_without_rights(context: Path) -> None:
    """Protects whoever runs the image: an ordinary user, exec forms, and packages with their digests only."""
    build, final = parse((context / "Dockerfile").read_text())
    words = {each.word: each for each in final.instructions}
    assert words["USER"].text == "1000"
    assert words["STOPSIGNAL"].text == "SIGTERM"
    assert words["CMD"].text.startswith("[")
    installed = " ".join(each.text for each in build.instructions if each.word == "RUN")
    assert "--require-hashes --only-binary :all:" in installed
    assert all("curl" not in each.text for each in final.instructions)
    if "HEALTHCHECK" in words:
        assert "CMD [" in words["HEALTHCHECK"].text


def test_what_is_copied_is_there_and_nothing_else(context: Path, tmp_path: Path) -> None:
    """Protects builds from files that are missing, and images from keys, data and history that lie about."""
    image = Build(context, tmp_path / "build", run=False).image()
    app = image.root / "app"
    assert (app / "app.py").is_file()
    assert (app / "proxy/model/catalog.json").is_file()
    assert {one.name for one in app.iterdir()} <= {"app.py", "proxy", "deploy"}
    assert not list(app.rglob("__pycache__"))


@pytest.mark.parametrize(
    "name",
    [".env", "data/client.key", "sessions.json", ".git/config", "proxy/x/__pycache__/y.pyc", "tests/a.py"],
)
def test_secrets_and_leftovers_stay_out_of_a_build(name: str, tmp_path: Path) -> None:
    """Protects keys of a working folder from being published in an image."""
    from tests.support.docker.context import Context  # noqa: PLC0415 - only this test looks at it alone

    shutil.copy(ROOT / ".dockerignore", tmp_path)
    assert not Context(tmp_path).holds(name)
    assert Context(tmp_path).holds("proxy/model/catalog.json")


def test_no_secret_that_lies_about_gets_into_a_layer(
    context: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects operators who build where they run: nothing of their environment and files is in any stage."""
    folder = tmp_path / "planted"
    shutil.copytree(
        context,
        folder,
        ignore=shutil.ignore_patterns(".*_cache", ".bench", ".git", ".node", ".semgrep", ".venv", "tests"),
    )
    plant(folder)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    if SOAKING:
        _privileged()
    image = Build(folder, tmp_path / "build", run=SOAKING).image()
    assert (image.root / "app/app.py").is_file()
    assert list(swept(folder))
    assert list(swept(tmp_path / "build")) == []
    assert found(f"{image.environment} {image.command} {image.health}".encode()) == []


def _privileged() -> None:
    if os.geteuid() != 0:
        lacks("only root may lay out a root folder")
    apart = ["unshare", "--mount", "--net", "true"]
    if subprocess.run(apart, check=False).returncode:  # noqa: S603 - nothing of it comes from outside
        lacks("no view of mounts and networks of its own here")


@pytest.fixture
def image(context: Path, tmp_path: Path) -> Iterator[Image]:
    """The image of a folder, built by carrying out its Dockerfile."""
    _privileged()
    folder = tmp_path / "build"
    yield Build(context, folder).image()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.long
@pytest.mark.timeout(500)
@pytest.mark.skipif(not SOAKING, reason=_NEEDS_NETWORK)
def test_it_is_built_and_runs_with_a_read_only_root_and_no_network(image: Image, tmp_path: Path) -> None:
    """Protects the first ``docker run``: every step carried out, then served, checked and stopped as Docker does it."""
    data = _volume(tmp_path)
    port = int(image.environment.get("PORT", image.port))
    with started(image, ["--demo"], data, _KEYS) as around:
        try:
            process = _listening(image, around, port)
            asked = beside(image, process, ["python", "-c", _ASKS, str(port), _KEYS["API_KEY"]])
            status = Path(f"/proc/{process}/status").read_text()
            checked = beside(image, process, image.health or ["true"])
            written = {file.name: file.stat() for file in data.iterdir()}
            refused = beside(image, process, ["sh", "-c", "touch /app/x || touch /home/carousel/x"])
            os.kill(process, signal.Signals[image.stop_signal])
            assert around.wait(_ENDS_WITHIN_S) == 0
        finally:
            around.kill()
    told = msgspec.json.decode(asked.stdout)
    assert checked.returncode == 0, checked.stderr
    fields = dict(line.split(":\t", 1) for line in status.splitlines())
    print(f"added to the base: {image.size_bytes / 1e6:.0f} MB; memory: {fields['VmRSS'].strip()}")  # noqa: T201 - the figures
    assert fields["Uid"].split() == ["1000"] * 4
    assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0
    assert fields["NoNewPrivs"] == "1"
    assert told["live"][0] == told["chat"][0] == told["stream"][0] == 200
    assert "[demo]" in told["chat"][1]
    assert "message_stop" in told["stream"][1]
    assert refused.returncode != 0
    assert {entry.st_mode & 0o077 for entry in written.values()} == {0}


@pytest.mark.long
@pytest.mark.timeout(500)
@pytest.mark.skipif(not SOAKING, reason=_NEEDS_NETWORK)
def test_the_build_argument_adds_a_claude_code_that_runs(tmp_path: Path) -> None:
    """Protects images with Claude Code: its program is there, and runs as user 1000 under a read-only root."""
    _privileged()
    image = Build(ROOT, tmp_path / "build", {"CLAUDE_CODE": "1"}).image()
    port = image.port
    with started(image, ["--demo"], _volume(tmp_path), _KEYS) as around:
        try:
            process = _listening(image, around, port)
            where = beside(image, process, ["python", "-c", _BUNDLED])
            said = beside(image, process, ["env", "HOME=/tmp", where.stdout.strip(), "--version"])
        finally:
            around.kill()
    print(f"added to the base with Claude Code: {image.size_bytes / 1e6:.0f} MB")  # noqa: T201 - the figure
    shutil.rmtree(image.root)
    assert "Claude Code" in said.stdout, where.stderr + said.stderr


def _volume(folder: Path) -> Path:
    """A folder for ``/data``, as the image's user has it."""
    data = folder / "data"
    data.mkdir(mode=0o700)
    os.chown(data, 1000, 1000)
    return data


def _listening(image: Image, around: "subprocess.Popen[str]", port: int) -> int:
    """Wait until the image's process takes connections; its number."""
    probe = f"import socket; socket.create_connection(('127.0.0.1', {port}), 1)"
    until_s = clock.monotonic_s() + _LISTENS_WITHIN_S
    while clock.monotonic_s() < until_s:
        if around.poll() is not None and around.stdout is not None:
            raise AssertionError(around.stdout.read())
        try:
            process = first_inside(around)
        except (OSError, IndexError):
            continue
        if beside(image, process, ["python", "-c", probe]).returncode == 0:
            return process
    raise AssertionError("it never listened")
