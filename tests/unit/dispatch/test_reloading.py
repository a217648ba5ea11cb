"""The file of credentials looked after: taken over whole, or refused in one line."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import msgspec
import pytest

from proxy.credentials import Credential, CredentialSource
from proxy.dispatch.membership import Membership
from proxy.dispatch.reloading import Reloader, checked, mask
from proxy.pool import Difference
from proxy.pool.replacing import compare
from proxy.settings import ConfigurationError, load_settings
from proxy.telemetry.redaction import Redactor
from proxy.upstreams.claude_code.program import NOT_THERE
from tests.support.clock import FakeClock
from tests.support.house import until
from tests.unit.telemetry.recording import RecordedLog

_OLD, _NEW = "canary-of-the-old-key", "canary-of-the-new-key"


@dataclass(slots=True)
class _Members:
    """A membership that remembers.

    Attributes:
        present: what it was given last.
        leaving: who still has calls open.
        departed: whether the last call of somebody has ended since it was asked.
        masked: whether the newest keys were masked when they were taken over.
        stuck: what a change waits for.
        waiting: whether it does.
        mistake: raised by a change.
    """

    redactor: Redactor
    present: tuple[Credential, ...]
    leaving: tuple[Credential, ...] = ()
    departed: bool = False
    masked: list[bool] = field(default_factory=list)
    stuck: asyncio.Event | None = None
    waiting: bool = False
    mistake: Exception | None = None

    async def replace(self, credentials: tuple[Credential, ...]) -> Difference:
        """See `Membership.replace`."""
        if self.mistake is not None:
            raise self.mistake
        if self.stuck is not None:
            self.waiting = True
            await self.stuck.wait()
        keys = [each.secret.reveal().encode() for each in credentials if each.secret is not None]
        self.masked.append(all(self.redactor.clean(key) == b"[redacted]" for key in keys))
        difference = compare(self.present, credentials)
        self.present = tuple(credentials)
        return difference

    async def clear_away(self, _: object) -> bool:
        """See `Membership.clear_away`."""
        found, self.departed = self.departed, False
        return found


@dataclass(slots=True)
class _Desk:
    """A reloader over a real file.

    Attributes:
        file: it.
    """

    file: Path
    reloader: Reloader
    members: _Members
    redactor: Redactor
    clock: FakeClock
    log: RecordedLog

    def write(self, *entries: Mapping[str, object]) -> None:
        """Put other credentials into the file."""
        self.file.write_bytes(msgspec.json.encode({"credentials": entries}))
        self.file.chmod(0o600)

    async def look(self, times: int = 3) -> None:
        """Look at the file so often."""
        for _ in range(times):
            await self.reloader.look()

    @property
    def names(self) -> list[str]:
        """Who is in the pool."""
        return [each.name for each in self.members.present]


def _entry(name: str, key: str = _OLD, **fields: object) -> dict[str, object]:
    return {"name": name, "kind": "anthropic", "key": key, **fields}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _Desk:
    """One whose file has one credential."""
    redactor, clock, log = Redactor(), FakeClock(), RecordedLog()
    monkeypatch.setattr("proxy.dispatch.reloading.REDACTOR", redactor)
    monkeypatch.setattr("proxy.dispatch.reloading._log", log)
    monkeypatch.setattr("proxy.dispatch.reloading._LOOK_EVERY_S", 0.001)
    file = tmp_path / "sessions.json"
    file.write_bytes(msgspec.json.encode({"credentials": [_entry("a")]}))
    file.chmod(0o600)
    source = CredentialSource(load_settings({}, {}, tmp_path), {})
    found = source.load().found
    mask(found)
    members = _Members(redactor, found)
    reloader = Reloader(source, cast(Membership, members), clock)
    return _Desk(file, reloader, members, redactor, clock, log)


async def test_a_change_is_told_by_alias_and_a_look_at_nothing_new_is_silent(desk: _Desk) -> None:
    """Protects the record of who may answer since when."""
    await desk.look()
    desk.write(_entry("a", weight=2), _entry("b", _NEW))
    await desk.look()
    desk.write(_entry("a", weight=2), _entry("b", _NEW))
    await desk.look()
    assert desk.log.lines == [
        (
            "warning",
            "credentials taken over",
            {"asked_by": "file", "added": ["b"], "changed": ["a"], "removed": []},
        )
    ]


async def test_new_keys_are_masked_before_the_pool_has_them(desk: _Desk) -> None:
    """Protects a key from standing in the log in its first moment."""
    desk.write(_entry("a", _NEW), {"name": "w", "kind": "claude_web", "session_key": "canary-cookie"})
    await desk.look()
    assert desk.members.masked == [True]
    assert desk.redactor.clean(b"canary-cookie") == b"[redacted]"


async def test_old_keys_are_masked_until_a_minute_after_their_last_use(desk: _Desk) -> None:
    """Protects an old key in the last lines about it, and the log from masks that add up for ever."""
    line = f"{_OLD} {_NEW}".encode()
    desk.write(_entry("a", _NEW))
    await desk.look()
    desk.members.leaving = (desk.members.present[0],)
    desk.clock.advance(3600)
    await desk.look(1)
    assert desk.redactor.clean(line) == b"[redacted] [redacted]"
    desk.members.leaving, desk.members.departed = (), True
    await desk.look(1)
    desk.clock.advance(59)
    await desk.look(1)
    assert desk.redactor.clean(line) == b"[redacted] [redacted]"
    desk.clock.advance(2)
    await desk.look(1)
    assert desk.redactor.clean(line) == f"{_OLD} [redacted]".encode()


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        (b"{", "sessions.json: is not valid JSON"),
        (b"", "sessions.json: is not valid JSON"),
        (b'{"credentials": []}', "sessions.json: leaves no credential to answer with"),
        (
            b'{"credentials": [{"name": "a", "kind": "anthropic", "key": "$UNSET", "wight": 1}]}',
            "sessions.json credentials[0].key: refers to $UNSET, which is not set; sessions.json credentials[0].wight",
        ),
    ],
)
async def test_what_cannot_be_used_is_refused_in_one_line_with_every_mistake(
    desk: _Desk, text: bytes, mistake: str
) -> None:
    """Protects the pool from a slip of the hand, and the operator from a riddle."""
    desk.file.write_bytes(text)
    await desk.look(8)
    ((level, event, fields),) = desk.log.lines
    assert (level, event) == ("warning", "credentials refused, the old ones stay")
    assert fields["asked_by"] == "file"
    assert str(fields["mistakes"]).startswith(mistake)
    assert desk.names == ["a"]
    with pytest.raises(ConfigurationError):
        await desk.reloader.reload("administrator")
    assert len(desk.log.lines) == 2


async def test_a_thousand_mistakes_make_a_line_of_twenty(desk: _Desk) -> None:
    """Protects the log from a file of another program."""
    desk.write(*({"name": f"n{number}", "kind": "anthropic"} for number in range(1000)))
    await desk.look()
    told = str(desk.log.lines[0][2]["mistakes"])
    assert told.count(";") == 20
    assert told.endswith("; and 980 more")


async def test_a_vanished_file_is_refused_where_it_was_the_only_source(desk: _Desk) -> None:
    """Protects the pool from a mount that went away."""
    desk.file.unlink()
    await desk.look(8)
    (line,) = desk.log.lines
    assert line[1] == "credentials refused, the old ones stay"
    assert desk.names == ["a"]


async def test_a_warning_is_told_once_and_again_after_it_was_gone(desk: _Desk) -> None:
    """Protects the log from the same sentence with each change."""
    code = {"name": "w", "kind": "claude_code", "token": "canary-token", "cli_path": "/nowhere/claude"}
    told = f"w: Claude Code cannot be used: {NOT_THERE}."
    for weight, entries in enumerate(([code], [code], [], [code]), 2):
        desk.write(_entry("a", weight=weight), *entries)
        await desk.look()
    assert [event for _, event, _ in desk.log.lines].count(told) == 2


async def test_a_request_is_answered_even_when_nothing_changed(desk: _Desk) -> None:
    """Protects operators from silence."""
    assert await desk.reloader.reload("administrator") == Difference()
    assert len(desk.log.of("credentials taken over")) == 1
    desk.write(_entry("b"))
    assert (await desk.reloader.reload("administrator")).added == ("b",)
    await desk.look()
    assert len(desk.log.lines) == 2


async def test_a_hangup_reads_it_again(desk: _Desk) -> None:
    """Protects the usual way to ask a server of this sort."""
    desk.reloader.on_hangup()
    await until(lambda: bool(desk.log.lines))
    assert desk.log.lines[0][2]["asked_by"] == "signal"


async def test_whoever_asked_and_left_stops_nothing(desk: _Desk) -> None:
    """Protects a change from being broken off in the middle by a client that hangs up."""
    desk.members.stuck = asyncio.Event()
    desk.write(_entry("b"))
    asking = asyncio.get_running_loop().create_task(desk.reloader.reload("administrator"))
    await until(lambda: desk.members.waiting)
    asking.cancel()
    await asyncio.wait({asking})
    desk.members.stuck.set()
    await until(lambda: bool(desk.log.lines))
    assert desk.names == ["b"]


async def test_a_mistake_of_ours_does_not_end_the_watch(desk: _Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects later changes from an earlier one that met a fault of the program."""
    monkeypatch.setattr("proxy.dispatch.reloading._LOOK_EVERY_S", 0.001)
    desk.members.mistake = KeyError(_OLD)
    desk.write(_entry("b"))
    running = asyncio.get_running_loop().create_task(desk.reloader.run())
    await until(lambda: bool(desk.log.lines))
    desk.members.mistake = None
    desk.write(_entry("c"))
    await until(lambda: desk.names == ["c"])
    running.cancel()
    assert desk.log.lines[0] == ("error", "looking after the credentials failed", {"error": "KeyError"})


def test_a_credential_whose_program_is_missing_is_switched_off_and_the_others_stay(tmp_path: Path) -> None:
    """Protects the rest of the pool from a program that is not there, and the operator from not knowing why."""
    environ = {"ANTHROPIC_API_KEYS": "k1", "CLAUDE_CODE": "true", "CLAUDE_BINARY_PATH": "/nowhere/claude"}
    found = checked(CredentialSource(load_settings({}, environ, tmp_path), environ).load())
    assert [(each.name, each.enabled) for each in found.found] == [("api-1", True), ("code-1", False)]
    assert found.warnings == (f"code-1: Claude Code cannot be used: {NOT_THERE}.",)
