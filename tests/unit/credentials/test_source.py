"""When a file counts as changed, and when as gone."""

from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.credentials import CredentialSource, Look
from proxy.settings import ConfigurationError, load_settings

_ENTRY = '{{"name": "{name}", "kind": "anthropic", "key": "canary-of-{name}"}}'


def _text(*names: str) -> str:
    return f'{{"credentials": [{", ".join(_ENTRY.format(name=name) for name in names)}]}}'


def _write(path: Path, *names: str) -> None:
    path.write_text(_text(*names))
    path.chmod(0o600)


def _source(folder: Path, **environ: str) -> CredentialSource:
    source = CredentialSource(load_settings({}, environ, folder), environ)
    source.load()
    return source


def _names(source: CredentialSource) -> list[str]:
    return [each.name for each in source.load().found]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with one credential."""
    path = tmp_path / "sessions.json"
    _write(path, "a")
    return path


def _rewritten(path: Path) -> None:
    _write(path, "b")


def _replaced(path: Path) -> None:
    fresh = path.with_name("fresh")
    _write(fresh, "b")
    fresh.replace(path)


def _linked(path: Path) -> None:
    _replaced(path.with_name("elsewhere.json"))
    path.unlink()
    path.symlink_to("elsewhere.json")


def _closed(path: Path) -> None:
    path.chmod(0o400)


@pytest.mark.parametrize("change", [_rewritten, _replaced, _linked, _closed])
def test_a_change_is_believed_when_two_looks_agree(file: Path, change: Callable[[Path], None]) -> None:
    """Protects against reading a file that is just being written, and against missing one."""
    source = _source(file.parent)
    assert [source.look(), source.look()] == [Look.SAME, Look.SAME]
    change(file)
    assert [source.look(), source.look()] == [Look.SETTLING, Look.CHANGED]
    source.load()
    assert source.look() is Look.SAME


def test_a_target_behind_two_links_is_seen_to_change(file: Path) -> None:
    """Protects mounted volumes, where a folder's link is changed and the file's own stays."""
    for version in ("1", "2"):
        (file.parent / version).mkdir()
        _write(file.parent / version / "sessions.json", version)
    current = file.parent / "current"
    current.symlink_to("1")
    file.unlink()
    file.symlink_to("current/sessions.json")
    source = _source(file.parent)
    fresh = file.parent / "fresh"
    fresh.symlink_to("2")
    fresh.replace(current)
    assert [source.look(), source.look()] == [Look.SETTLING, Look.CHANGED]
    assert _names(source) == ["2"]


def test_a_file_that_never_rests_is_read_in_the_end(file: Path) -> None:
    """Protects a change from waiting for ever behind a program that touches the file all the time."""
    source = _source(file.parent)
    looks = []
    for number in range(4):
        _write(file, *(f"n{each}" for each in range(number + 2)))
        looks.append(source.look())
    assert looks == [Look.SETTLING, Look.SETTLING, Look.SETTLING, Look.CHANGED]


def test_a_missing_file_is_believed_at_the_third_look(file: Path) -> None:
    """Protects a pool from an editor that takes the file away before it puts the new one there."""
    source = _source(file.parent, ANTHROPIC_API_KEYS="key-of-the-environment")
    file.unlink()
    assert [source.look(), source.look()] == [Look.SETTLING, Look.SETTLING]
    _write(file, "b")
    assert [source.look(), source.look()] == [Look.SETTLING, Look.CHANGED]
    assert _names(source) == ["b", "api-1"]
    file.unlink()
    assert [source.look() for _ in range(3)] == [Look.SETTLING, Look.SETTLING, Look.CHANGED]
    assert _names(source) == ["api-1"]
    assert source.look() is Look.SAME


def test_a_file_that_vanishes_between_look_and_reading_is_no_empty_one(file: Path) -> None:
    """Protects the file's credentials from being removed by a gap of a moment."""
    source = _source(file.parent, ANTHROPIC_API_KEYS="key-of-the-environment")
    _write(file, "b", "c")
    assert [source.look(), source.look()] == [Look.SETTLING, Look.CHANGED]
    file.unlink()
    with pytest.raises(ConfigurationError, match="vanished"):
        source.load()
    assert [each.name for each in source.loaded.found] == ["a", "api-1"]
    assert [source.look() for _ in range(3)] == [Look.SETTLING, Look.SETTLING, Look.CHANGED]


def test_a_file_that_vanishes_while_it_is_read_is_no_empty_one(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects against the same gap a moment later."""
    source = _source(file.parent, ANTHROPIC_API_KEYS="key-of-the-environment")
    opened = Path.open

    def vanish(self: Path, mode: str) -> object:
        file.unlink(missing_ok=True)
        return opened(self, mode)

    monkeypatch.setattr(Path, "open", vanish)
    with pytest.raises(ConfigurationError, match="vanished"):
        source.load()


@pytest.mark.parametrize(
    "error", [PermissionError(13, "Permission denied"), OSError(5, "Input/output error")]
)
def test_a_file_that_may_not_be_read_is_a_mistake_that_is_named(
    file: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    """Protects a pool from a file whose permissions were changed."""
    source = _source(file.parent)

    def refuse(self: Path, mode: str) -> object:
        raise error

    with monkeypatch.context() as changed:
        changed.setattr(Path, "open", refuse)
        with pytest.raises(ConfigurationError, match=f"sessions.json: cannot be read: {error.strerror}"):
            source.load()
    assert [each.name for each in source.loaded.found] == ["a"]


def test_a_faulty_file_is_told_of_once_until_it_changes_again(file: Path) -> None:
    """Protects the log from the same mistake four times a second."""
    source = _source(file.parent)
    file.write_text(_text("b")[:-9])
    assert [source.look(), source.look()] == [Look.SETTLING, Look.CHANGED]
    with pytest.raises(ConfigurationError) as caught:
        source.load()
    assert "canary" not in str(caught.value)
    assert [source.look() for _ in range(5)] == [Look.SAME] * 5
    _write(file, "b")
    assert [source.look(), source.look()] == [Look.SETTLING, Look.CHANGED]
    assert _names(source) == ["b"]


def test_a_path_that_leads_in_a_circle_is_a_change_like_any_other(file: Path) -> None:
    """Protects the watch from what it cannot look at."""
    source = _source(file.parent)
    file.unlink()
    file.symlink_to(file)
    assert [source.look(), source.look()] == [Look.SETTLING, Look.CHANGED]
    with pytest.raises(ConfigurationError):
        source.load()


def test_without_a_file_one_may_appear(tmp_path: Path) -> None:
    """Protects operators who begin without one."""
    source = _source(tmp_path, ANTHROPIC_API_KEYS="key-of-the-environment")
    assert source.look() is Look.SAME
    _write(source.file, "b")
    assert [source.look(), source.look()] == [Look.SETTLING, Look.CHANGED]
    assert _names(source) == ["b", "api-1"]
