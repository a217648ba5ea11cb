"""The file of credentials changes under load: nothing is cut, and what it says holds from then on."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import pytest

from proxy.simulator import ANY_KEY, Insert, Pace, Step
from tests.support.house import Answer, Spoken, body_of, read_answer, until
from tests.support.reloading import Watched, text_of, watched

_STREAMS: Final = 100
_CHANGES: Final = 20
_SPOKEN_SLOWLY: Final = Step(pace=Pace(tokens_per_s=8.0, events=16))
_ENDS: Final = {Spoken.MESSAGES: b"message_stop", Spoken.CHAT: b"data: [DONE]"}


@dataclass(slots=True)
class _Crowd:
    """A hundred clients that never stop asking.

    Attributes:
        answers: each whole answer with the dialect it was asked in.
        enough: set when no more questions are wanted.
    """

    running: Watched
    answers: list[tuple[Spoken, Answer]] = field(default_factory=list)
    enough: bool = False

    async def ask_on(self, number: int) -> None:
        """One client."""
        spoken = (Spoken.MESSAGES, Spoken.CHAT)[number % 2]
        while not self.enough:
            self.answers.append((spoken, await self.running.house.ask(spoken, stream=True)))


def _key(name: str, generation: int) -> str:
    return f"key-{name}-{generation}-0123456789"


def _version(number: int) -> dict[str, str]:
    """Keys by alias: at each version one alias goes, one comes, one is another key, the rest stay."""
    names = [f"c{(number + offset) % 6}" for offset in range(4)]
    return {name: _key(name, number if offset == 1 else 0) for offset, name in enumerate(names)}


async def test_a_hundred_streams_live_through_twenty_changes(tmp_path: Path) -> None:
    """Protects running answers from a changed file, and removed keys from being used a second later."""
    async with watched(tmp_path, _version(0)) as running:
        running.simulator.script(ANY_KEY, then=_SPOKEN_SLOWLY)
        crowd = _Crowd(running)
        clients = [asyncio.create_task(crowd.ask_on(number)) for number in range(_STREAMS)]  # noqa: TID251 - held here
        await until(lambda: running.house.calls() >= _STREAMS)
        ways = (running.rewrite, running.rename, running.take_away_first, running.lead_elsewhere)
        counted = running.simulator.record.requests_per_key
        spent: dict[str, int] = {}
        interrupted = 0
        for number in range(1, _CHANGES + 1):
            wanted = _version(number)
            entries = [running.entry(name, key, weight=number) for name, key in wanted.items()]
            ways[number % 4](text_of(*entries))
            await running.taken(dict.fromkeys(wanted, number))
            still_gone = {key: calls for key, calls in spent.items() if key not in wanted.values()}
            assert {key: counted[key] for key in still_gone} == still_gone, "a removed key was used again"
            gone = set(_version(number - 1).values()) - set(wanted.values())
            interrupted += sum(running.simulator.record.in_flight[key] for key in gone)
            # calls that were on their way while the file was taken over arrive
            await asyncio.sleep(0.25)
            spent = {key: counted[key] for key in gone}
        crowd.enough = True
        await asyncio.gather(*clients)
        assert interrupted > 0, "no stream ran at a credential that was removed"
        assert len(crowd.answers) > _STREAMS
        for spoken, answer in crowd.answers:
            assert (answer.status, answer.broken_off) == (200, False), answer.body
            assert _ENDS[spoken] in answer.body[-60:]
        assert len(await running.wrote("credentials taken over", _CHANGES)) == _CHANGES
        assert not running.lines("refused")
        assert not any("key-" in line for line in running.gateway.output)
        await running.house.idle()


_REFUSED_FILE: Final = "credentials refused, the old ones stay asked_by=file"
_FAULTY: Final = {
    "no JSON": (b'{"credentials": [', "sessions.json"),
    "half written": (b'{"credentials": [{"name": "a", "kind": "anthropic", "key": "canary-', "sessions.json"),
    "nothing in it": (b"", "sessions.json"),
    "an unknown field": (b'{"credentials": [{"name": "a", "colour": "canary-red"}]}', "colour"),
    "a wrong value": (
        b'{"credentials": [{"name": "a", "kind": "anthropic", "key": "canary-k", "weight": "canary-heavy"}]}',
        "credentials[0].weight",
    ),
    "one name twice": (
        b'{"claude_api_keys": [{"name": "a", "token": "canary-1"}, {"name": "a", "token": "canary-2"}]}',
        "another credential has already",
    ),
    "a variable that is not set": (
        b'{"credentials": [{"name": "a", "kind": "anthropic", "key": "$NOT_SET"}]}',
        "$NOT_SET, which is not set",
    ),
    "an empty list": (b'{"credentials": []}', "leaves no credential"),
    "no UTF-8": (b"\xff\xfe\x00", "UTF-8"),
}


async def test_a_faulty_file_is_refused_once_and_the_old_rules_stay(tmp_path: Path) -> None:
    """Protects a serving pool from a slip of the hand, and the log from one line a second about it."""
    async with watched(tmp_path, {"a": "k1", "b": "k2"}) as running:
        for number, (name, (text, told)) in enumerate(_FAULTY.items(), 1):
            running.rename(text)
            lines = await running.wrote(_REFUSED_FILE, number)
            assert told in lines[-1], name
            answer = await running.house.ask(Spoken.MESSAGES)
            assert (answer.status, answer.headers["x-carousel-credential"] in "ab") == (200, True)
            asked = await running.reload()
            assert asked.status == 400, name
            assert told in asked.error.error.message
            assert asked.error.error.param == "SESSIONS_FILE"
            # the administrator is answered each time, of the file itself the log tells once
            assert len(running.lines(_REFUSED_FILE)) == number, name
        assert (await running.house.session.get(f"{running.gateway.url}/ready")).status == 200
        assert sorted(await running.views()) == ["a", "b"]
        running.rename(text_of(running.entry("c", "k3", weight=5)))
        await running.taken({"c": 5})
        assert not any("canary" in line for line in running.gateway.output)


def _vanish(running: Watched) -> None:
    running.file.unlink()


def _lead_in_a_circle(running: Watched) -> None:
    running.file.unlink()
    running.file.symlink_to(running.file)


def _become_a_folder(running: Watched) -> None:
    running.file.unlink()
    running.file.mkdir()


def _forbid(running: Watched) -> None:
    running.file.chmod(0)


# nothing is forbidden to root, where the same is seen by links and folders that cannot be read
_LOST: Final = [_vanish, _lead_in_a_circle, _become_a_folder, *([_forbid] if os.geteuid() else [])]


@pytest.mark.parametrize("lose", _LOST)
async def test_a_file_that_can_no_longer_be_read_is_refused(
    tmp_path: Path, lose: Callable[[Watched], None]
) -> None:
    """Protects a serving pool from a mount that went away."""
    async with watched(tmp_path, {"a": "k1"}) as running:
        lose(running)
        (line,) = await running.wrote("credentials refused")
        assert "SESSIONS_FILE" in line or "sessions.json" in line
        assert (await running.house.ask(Spoken.CHAT)).status == 200
        if running.file.is_dir():
            running.file.rmdir()
        running.rename(text_of(running.entry("a", "k1"), running.entry("b", "k2")))
        await running.taken({"a": 1, "b": 1})
        assert len(running.lines("credentials refused")) == 1


async def test_a_file_may_appear_later_and_vanish_beside_another_source(tmp_path: Path) -> None:
    """Protects operators who begin with one key in the environment and write a file when they have more."""
    async with watched(tmp_path, {}, {"ANTHROPIC_API_KEYS": "key-of-the-environment"}) as running:
        running.rename(text_of(running.entry("work", "k1", weight=3)))
        await running.taken({"work": 3, "api-1": 1})
        running.file.unlink()
        await running.taken({"api-1": 1})
        # the line is written after the pool has changed
        assert len(await running.wrote("credentials taken over", 2)) == 2
        assert not running.lines("refused")


async def test_a_hangup_or_the_administrator_has_it_read_at_once(tmp_path: Path) -> None:
    """Protects operators who do not want to wait, or to believe."""
    async with watched(tmp_path, {"a": "k1", "b": "k2", "c": "k3"}) as running:
        running.hang_up()
        (line,) = await running.wrote("credentials taken over")
        assert "asked_by=signal" in line
        running.rename(
            text_of(running.entry("d", "k4"), running.entry("b", "k5"), running.entry("c", "k3", weight=2))
        )
        answer = await running.reload()
        assert answer.status == 200
        # the watch may have been first; either way the log has it all
        assert msgspec.json.decode(answer.body).keys() == {"added", "changed", "removed"}
        await running.taken({"d": 1, "b": 1, "c": 2})
        told = [line for line in running.lines("credentials taken over") if "['d']" in line]
        assert len(told) == 1
        assert "changed=\"['b', 'c']\"" in told[0]
        assert "removed=['a']" in told[0]
        assert (await running.gateway.stop()) == 0


async def test_health_is_kept_by_key_and_forgotten_with_it(tmp_path: Path) -> None:
    """Protects a credit limit from being forgotten by a new weight, and a new key from that of the old one."""
    async with watched(tmp_path, {"a": "k1", "b": "k2"}) as running:
        running.simulator.script("k1", then=Step("status", status=402))
        for _ in range(2):
            assert (await running.house.ask(Spoken.MESSAGES)).status == 200
        assert (await running.views())["a"].word() == "cooling(billing)"
        other = running.entry("b", "k2")
        running.rename(text_of(running.entry("a", "k1", weight=2), other))
        await running.taken({"a": 2, "b": 1})
        assert (await running.views())["a"].word() == "cooling(billing)"
        running.rename(text_of(running.entry("renamed", "k1", weight=3), other))
        await running.taken({"renamed": 3, "b": 1})
        assert (await running.views())["renamed"].word() == "cooling(billing)"
        running.rename(text_of(running.entry("renamed", "k9", weight=4), other))
        await running.taken({"renamed": 4, "b": 1})
        assert (await running.views())["renamed"].word() == "ready"
        running.rename(text_of(running.entry("a", "k1", weight=5), other))
        await running.taken({"a": 5, "b": 1})
        assert (await running.views())["a"].word() == "ready"


async def test_a_disabled_credential_serves_no_more_and_an_enabled_one_again(tmp_path: Path) -> None:
    """Protects operators who take a key out by the file, over a restart of the program too."""
    async with watched(tmp_path, {"a": "k1", "b": "k2"}) as running:
        running.rename(text_of(running.entry("a", "k1", enabled=False), running.entry("b", "k2", weight=2)))
        await running.taken({"a": 1, "b": 2})
        assert (await running.views())["a"].word() == "disabled(manual)"
        served = [await running.house.ask(Spoken.CHAT) for _ in range(4)]
        assert {answer.headers["x-carousel-credential"] for answer in served} == {"b"}
        running.rename(text_of(running.entry("a", "k1", weight=3), running.entry("b", "k2")))
        await running.taken({"a": 3, "b": 1})
        assert (await running.views())["a"].word() == "ready"


async def test_a_stream_on_a_removed_way_out_ends_in_peace_and_its_connections_close(tmp_path: Path) -> None:
    """Protects running answers from losing their proxy, and the proxy from connections nobody uses."""
    async with watched(tmp_path, {"plain": "k1"}) as running:
        proxied = running.entry(
            "proxied", "k2", base_url="http://claude.invalid", proxy=running.simulator.url
        )
        running.rename(text_of(proxied))
        await running.taken({"proxied": 1})
        running.simulator.script("k2", then=Step(pace=Pace(tokens_per_s=10.0, events=30)))
        body = body_of(Spoken.MESSAGES, stream=True)
        async with running.house.opened(Spoken.MESSAGES, body) as response:
            running.rename(text_of(running.entry("plain", "k1", weight=2)))
            await running.taken({"plain": 2})
            assert running.simulator.record.in_flight["k2"] == 1
            answer = await read_answer(response)
        assert answer.body.count(b"content_block_delta\n") == 30
        assert b"message_stop" in answer.body
        await until(lambda: not running.simulator.record.open_connections)


async def test_secrets_of_the_new_file_are_masked_before_they_are_used(tmp_path: Path) -> None:
    """Protects new keys from an upstream that quotes them, and old ones from theirs while they are still used."""
    old, new = "Gy5+old/Rz48sVxDn9=Kk2Wc6", "Hu8+new/Sb73tWzEp2=Xl5Td9"
    async with watched(tmp_path, {"a": old}, {"LOG_LEVEL": "debug"}) as running:
        quoted = f"You sent {old} and {new}"
        error = msgspec.json.encode({"type": "error", "error": {"type": "api_error", "message": quoted}})
        late = Insert(before=20, text=f"event: error\ndata: {error.decode()}\n\n")
        running.simulator.script(old, then=Step(pace=Pace(tokens_per_s=10.0, events=30), insert=(late,)))
        running.simulator.script(new, then=Step("status", status=400, message=quoted))
        async with running.house.opened(Spoken.MESSAGES, body_of(Spoken.MESSAGES, stream=True)) as response:
            running.rename(text_of(running.entry("a", new, weight=2)))
            await running.taken({"a": 2})
            assert running.simulator.record.in_flight[old] == 1
            refused = await running.house.ask(Spoken.MESSAGES)
            answer = await read_answer(response)
        assert refused.status == 400
        for text in (refused.body, answer.body, "".join(running.gateway.output).encode()):
            assert old.encode() not in text
            assert new.encode() not in text
        assert b"[redacted] and [redacted]" in refused.body
        assert b"[redacted] and [redacted]" in answer.body
