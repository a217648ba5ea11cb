"""A configuration that would be unsafe does not start, says why, and repeats no secret."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.support.program import finished, started

_SECRET = "canary-secret-4711-abcdef"
_SOUND = {"ANTHROPIC_API_KEYS": "k1", "API_KEY": "client-key-0123456789", "ADMIN_KEY": "admin-key-0123456789"}
_BAD: dict[str, tuple[dict[str, str], str]] = {
    "an empty client key": ({"API_KEY": ""}, "API_KEY"),
    "an empty one among the client keys": ({"API_KEYS": f"{_SECRET},,x"}, "API_KEYS"),
    "an empty admin key": ({"ADMIN_KEY": ""}, "ADMIN_KEY"),
    "a short admin key": ({"ADMIN_KEY": "canary-short"}, "ADMIN_KEY"),
    "the admin key as client key": ({"ADMIN_KEY": _SECRET, "API_KEY": _SECRET}, "ADMIN_KEY"),
    "a client key of the example": ({"API_KEY": "replace-me"}, "API_KEY"),
    "a line break inside an upstream key": ({"ANTHROPIC_API_KEY": f"{_SECRET}\nx"}, "ANTHROPIC_API_KEY"),
    "a key that is no ASCII": ({"ANTHROPIC_API_KEY": f"{_SECRET}\u00e9"}, "ANTHROPIC_API_KEY"),
    "a short key for signatures": ({"SECRET_KEY": "canary-short"}, "SECRET_KEY"),
    "a password in the upstream's address": (
        {"ANTHROPIC_BASE_URL": f"https://user:{_SECRET}@example.org"},
        "ANTHROPIC_BASE_URL",
    ),
    "an upstream that is no web address": (
        {"ANTHROPIC_BASE_URL": f"file:///{_SECRET}"},
        "ANTHROPIC_BASE_URL",
    ),
    "a proxy of an unknown sort": ({"PROXY": f"gopher://user:{_SECRET}@localhost:1"}, "PROXY"),
    "two workers without Redis": ({"WORKERS": "2"}, "WORKERS"),
}


@pytest.mark.parametrize(("settings", "named"), _BAD.values(), ids=_BAD.keys())
async def test_a_bad_configuration_stops_the_start_and_names_the_setting(
    tmp_path: Path, settings: dict[str, str], named: str
) -> None:
    """Protects an operator from a server that looks safe and is not."""
    program = await finished(tmp_path, **{**_SOUND, **settings})
    assert program.process.returncode == 1
    assert named in program.output
    assert "canary" not in program.output
    assert "Traceback" not in program.output
    assert not (tmp_path / "data").exists()


async def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    """Protects an operator from finding mistakes one start at a time."""
    settings = {"ADMIN_KEY": "x", "LOG_FORMAT": "xml", "WORKERS": "2", "RETRY_COUNT": "-1"}
    program = await finished(tmp_path, **{**_SOUND, **settings})
    assert program.process.returncode == 1
    assert all(name in program.output for name in settings)


def _unreadable(file: Path) -> None:
    file.write_text(f'{{"credentials": [{{"name": "a", "kind": "anthropic", "key": "{_SECRET}"')


def _unknown_kind(file: Path) -> None:
    entry = {"name": "a", "kind": _SECRET, "key": _SECRET}
    file.write_bytes(msgspec.json.encode({"credentials": [entry]}))


@pytest.mark.parametrize("write", [_unreadable, _unknown_kind])
async def test_a_bad_file_of_credentials_stops_the_start(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    """Protects against a server that runs with other credentials than its operator wrote down."""
    file = tmp_path / "sessions.json"
    write(file)
    file.chmod(0o600)
    program = await finished(tmp_path, **_SOUND)
    assert program.process.returncode == 1
    assert "sessions.json" in program.output
    assert "canary" not in program.output
    assert "Traceback" not in program.output


async def test_short_client_keys_start_with_a_warning_that_does_not_show_them(tmp_path: Path) -> None:
    """Protects configurations of old, and their owner from not knowing."""
    async with started(tmp_path, **{**_SOUND, "API_KEY": "q7z"}) as program:
        await program.wrote("fewer than 16 characters")
    assert "q7z" not in program.output


async def test_the_pure_python_parser_is_refused(tmp_path: Path) -> None:
    """Protects against request smuggling that only the slow parser of the HTTP library has let through."""
    program = await finished(tmp_path, **_SOUND, AIOHTTP_NO_EXTENSIONS="1")
    assert program.process.returncode == 1
    assert "AIOHTTP_NO_EXTENSIONS" in program.output


async def test_an_address_that_is_taken_ends_the_start(tmp_path: Path) -> None:
    """Protects an operator from a server that says it cannot listen and then hangs."""
    async with started(tmp_path, **_SOUND) as first:
        folder = tmp_path / "second"
        folder.mkdir()
        second = await finished(folder, **_SOUND, ADDRESS=first.url.removeprefix("http://"))
    assert second.process.returncode == 1
    assert "Cannot listen" in second.output
