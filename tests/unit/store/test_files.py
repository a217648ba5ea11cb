"""Files of ours are private when they are made, and refused when they are not."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxy.store import StoreError, files
from proxy.store.files import check_private, ensure_private_dir, make_private, read_private, write_private


def mode(path: Path) -> int:
    """The permission bits."""
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o077])
def _umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_umask")
def test_what_we_make_is_private_whatever_the_umask(tmp_path: Path) -> None:
    """Protects secrets under every service manager's defaults."""
    ensure_private_dir(tmp_path / "a/b")
    write_private(tmp_path / "a/b/key", b"x")
    make_private(tmp_path / "a/b/empty")
    assert mode(tmp_path / "a/b") == 0o700
    assert mode(tmp_path / "a/b/key") == mode(tmp_path / "a/b/empty") == 0o600


def test_what_is_written_is_read_and_replaced_whole(tmp_path: Path) -> None:
    """Protects key files, and leaves nothing beside them."""
    path = tmp_path / "key"
    assert read_private(path) is None
    assert write_private(path, b"one")
    assert write_private(path, b"two")
    assert read_private(path) == b"two"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_there_can_be_left_alone(tmp_path: Path) -> None:
    """Protects the first of two processes that make the same file."""
    path = tmp_path / "key"
    assert write_private(path, b"one", replace=False)
    assert not write_private(path, b"two", replace=False)
    assert read_private(path) == b"one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_without_hard_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects starts on shared folders that know no links."""

    def no_links(_: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted", str(target))

    monkeypatch.setattr(Path, "hardlink_to", no_links)
    path = tmp_path / "key"
    assert write_private(path, b"one", replace=False)
    assert not write_private(path, b"two", replace=False)
    assert read_private(path) == b"one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file_and_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects keys from a full disk."""
    path = tmp_path / "key"
    write_private(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="key cannot be written: No space left on device"):
        write_private(path, b"canary")
    assert read_private(path) == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_data_reach_the_disk_before_the_name_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects a key that was shown from being lost with the power."""
    steps: list[str] = []
    sync, place = os.fsync, Path.replace

    def record_sync(descriptor: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        sync(descriptor)

    def record_place(self: Path, target: Path) -> Path:
        steps.append("name")
        return place(self, target)

    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(Path, "replace", record_place)
    write_private(tmp_path / "key", b"x")
    assert steps == ["file", "name", "folder"]


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o660, 0o610])
def test_a_file_others_may_open_is_refused(bits: int, tmp_path: Path) -> None:
    """Protects against going on with a secret somebody else may have read or put there."""
    path = tmp_path / "key"
    write_private(path, b"canary")
    path.chmod(bits)
    for look in (read_private, check_private):
        with pytest.raises(StoreError, match="key can be opened by other users") as caught:
            look(path)
        assert "canary" not in str(caught.value)


def test_a_link_in_a_files_place_is_refused(tmp_path: Path) -> None:
    """Protects other files of the machine from being read or written in our name."""
    write_private(tmp_path / "other", b"x")
    for target in ("other", "nowhere"):
        path = tmp_path / f"to-{target}"
        path.symlink_to(tmp_path / target)
        with pytest.raises(StoreError, match="is a link or no plain file"):
            read_private(path)
        write_private(path, b"new")
        assert not path.is_symlink()
    assert read_private(tmp_path / "other") == b"x"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.timeout(5)
def test_a_pipe_in_a_files_place_is_refused_and_does_not_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects the start from waiting for ever, also when the pipe comes after the first look."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(StoreError, match="no plain file"):
        read_private(tmp_path / "pipe")
    monkeypatch.setattr(files, "check_private", lambda _: True)
    with pytest.raises(StoreError, match="no plain file"):
        read_private(tmp_path / "pipe")


def test_another_users_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects against keys somebody else chose."""
    write_private(tmp_path / "key", b"x")
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    with pytest.raises(StoreError, match="belongs to another user"):
        read_private(tmp_path / "key")
    with pytest.raises(StoreError, match="belongs to another user"):
        ensure_private_dir(tmp_path)


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    """Protects memory from a file that is no key."""
    write_private(tmp_path / "key", b"x" * files.MAX_BYTES)
    assert read_private(tmp_path / "key") is not None
    write_private(tmp_path / "key", b"x" * (files.MAX_BYTES + 1))
    with pytest.raises(StoreError, match="is larger than"):
        read_private(tmp_path / "key")


@pytest.mark.parametrize("bits", [0o755, 0o750, 0o775, 0o701])
def test_a_folder_of_ours_is_closed_to_others(bits: int, tmp_path: Path) -> None:
    """Protects what lies in a folder that was made with the usual umask."""
    path = tmp_path / "data"
    path.mkdir()
    path.chmod(bits)
    ensure_private_dir(path)
    assert mode(path) == 0o700


@pytest.mark.parametrize("bits", [0o777, 0o1777, 0o1755])
def test_a_folder_for_everyone_is_refused_and_left_as_it_is(bits: int, tmp_path: Path) -> None:
    """Protects /tmp from being closed to the machine's other users."""
    path = tmp_path / "shared"
    path.mkdir()
    path.chmod(bits)
    with pytest.raises(StoreError, match="everyone may write to"):
        ensure_private_dir(path)
    assert mode(path) == bits


def test_what_is_no_folder_of_ours_is_refused(tmp_path: Path) -> None:
    """Protects against keeping keys behind a link somebody can turn round."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="is a symbolic link"):
        ensure_private_dir(tmp_path / "link")
    with pytest.raises(StoreError, match="cannot be used as a folder"):
        ensure_private_dir(tmp_path / "file")
    with pytest.raises(StoreError, match="cannot be used as a folder"):
        ensure_private_dir(tmp_path / "file/below")


def test_a_folder_that_is_missing_is_told_by_its_path(tmp_path: Path) -> None:
    """Protects the operator from an error without a name in it."""
    with pytest.raises(StoreError, match="none/key cannot be written: No such file or directory"):
        write_private(tmp_path / "none/key", b"x")
    with pytest.raises(StoreError, match="none/key cannot be made: No such file or directory"):
        make_private(tmp_path / "none/key")


def test_making_a_file_that_is_there_leaves_it_alone(tmp_path: Path) -> None:
    """Protects a database from a second process that starts with it."""
    write_private(tmp_path / "db", b"content")
    make_private(tmp_path / "db")
    assert read_private(tmp_path / "db") == b"content"


@pytest.mark.parametrize("look", [check_private, read_private])
def test_a_path_that_cannot_be_looked_at_is_told(
    look: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects the operator from an error without a name in it, also when the file goes between two looks."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="below cannot be looked at: Not a directory"):
        look(tmp_path / "file/below")
    monkeypatch.setattr(files, "check_private", lambda _: True)
    with pytest.raises(StoreError, match="none cannot be read: No such file or directory"):
        read_private(tmp_path / "none")
