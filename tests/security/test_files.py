"""Everything in the data folder is closed to others, whatever the process was started under."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxy.simulator import Simulator, Step
from tests.security.wire import ask, messages_body
from tests.support.program import Program, finished, started

_KEYS = {"client.key", "admin.key", "secret.key"}


@pytest.fixture(params=[0o000, 0o277], ids=oct)
def _umask(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    """Start processes under this umask, in a folder others can look into."""
    tmp_path.chmod(0o755)
    before = os.umask(request.param)
    yield
    os.umask(before)


def _open_to_others(folder: Path) -> list[str]:
    """Everything in a folder, and the folder, whose mode is not what it has to be."""
    found = []
    for path in (folder, *folder.rglob("*")):
        mode = path.lstat().st_mode
        wanted = 0o700 if stat.S_ISDIR(mode) else 0o600
        if stat.S_IMODE(mode) != wanted:
            found.append(f"{path.name}: {stat.S_IMODE(mode):o}")
    return found


async def _put_out_of_use(program: Program, simulator: Simulator, credential: str) -> None:
    """Make the server write: a credential's health, and with it the database and its companions."""
    simulator.script(credential, then=Step(do="status", status=402))
    key = (program.folder / "data" / "client.key").read_text().strip()
    for _ in range(3):
        await ask(program.url, "/v1/messages", messages_body(), key=key)
    await program.wrote("credential changed state")


@pytest.mark.usefixtures("_umask")
async def test_what_the_server_writes_only_its_own_user_can_open(
    tmp_path: Path, simulator: Simulator
) -> None:
    """Protects keys and state from other users of the machine, at the start, while serving and after a restart."""
    data = tmp_path / "data"
    settings = {"ANTHROPIC_API_KEYS": "k1,k2,k3", "ANTHROPIC_BASE_URL": simulator.url}
    for credential in ("k1", "k2"):
        async with started(tmp_path, **settings) as program:
            assert _open_to_others(data) == []
            await _put_out_of_use(program, simulator, credential)
            assert _open_to_others(data) == []
            program.process.terminate()
            assert await program.ended() == 0
        assert _open_to_others(data) == []
    assert {path.name for path in data.iterdir()} >= {*_KEYS, "carousel.db"}


async def test_a_folder_that_was_open_to_others_is_closed(tmp_path: Path) -> None:
    """Protects what is about to be written into a folder somebody made by hand."""
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o755)
    async with started(tmp_path, ANTHROPIC_API_KEYS="k1"):
        assert _open_to_others(data) == []


def _readable(file: Path) -> None:
    file.write_text("canary-key-0123456789abcdef\n")
    file.chmod(0o644)


def _writable_by_the_group(file: Path) -> None:
    file.write_text("canary-key-0123456789abcdef\n")
    file.chmod(0o660)


def _link(file: Path) -> None:
    target = file.with_name("elsewhere")
    target.write_text("canary-key-0123456789abcdef\n")
    target.chmod(0o600)
    file.symlink_to(target)


def _dangling_link(file: Path) -> None:
    file.symlink_to(file.with_name("nowhere"))


def _pipe(file: Path) -> None:
    os.mkfifo(file, 0o600)


def _short(file: Path) -> None:
    file.write_text("canary\n")
    file.chmod(0o600)


def _foreign(file: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    file.write_text("canary-key-0123456789abcdef\n")
    file.chmod(0o600)
    os.chown(file, 12345, 12345)


_UNSAFE = (_readable, _link, _dangling_link, _pipe, _short, _foreign)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        *(("client.key", make) for make in _UNSAFE),
        ("admin.key", _writable_by_the_group),
        ("secret.key", _link),
    ],
)
async def test_a_key_file_that_may_not_be_ours_alone_is_refused(
    tmp_path: Path, name: str, make: Callable[[Path], None]
) -> None:
    """Protects against a key that somebody else could read, or put there."""
    data = tmp_path / "data"
    data.mkdir(0o700)
    make(data / name)
    program = await finished(tmp_path, ANTHROPIC_API_KEYS="k1")
    assert program.process.returncode == 1
    assert name in program.output
    assert "canary" not in program.output
    assert "Traceback" not in program.output


@pytest.mark.parametrize("make", [_readable, _link])
async def test_a_database_that_may_not_be_ours_alone_is_refused(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    """Protects the pool's state from a file somebody else could read, or put there."""
    data = tmp_path / "data"
    data.mkdir(0o700)
    make(data / "carousel.db")
    program = await finished(tmp_path, ANTHROPIC_API_KEYS="k1")
    assert program.process.returncode == 1
    assert "carousel.db" in program.output
    assert "Traceback" not in program.output


async def test_a_data_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    """Protects against writing keys where a link leads."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "data").symlink_to(elsewhere)
    program = await finished(tmp_path, ANTHROPIC_API_KEYS="k1")
    assert program.process.returncode == 1
    assert list(elsewhere.iterdir()) == []
