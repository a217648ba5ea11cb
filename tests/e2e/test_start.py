"""Starting and ending the server, as an operator and a process manager do it."""

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
import pytest

from proxy.clock import SystemClock
from proxy.simulator import Pace, Simulator, Step
from tests.support.endings import is_told_of_the_stop, is_whole
from tests.support.house import read_answer
from tests.support.program import ROOT, Program, finished, started

CLIENT_KEY: Final = "canary-client-key-0123456789abcdef"
ADMIN_KEY: Final = "canary-admin-key-0123456789abcdef"
UPSTREAM_KEY: Final = "sk-ant-api03-canary-upstream-key-0123456789"
KEYS: Final = {"API_KEY": CLIENT_KEY, "ADMIN_KEY": ADMIN_KEY}
CLIENT: Final = {"authorization": f"Bearer {CLIENT_KEY}"}
ADMIN: Final = {"authorization": f"Bearer {ADMIN_KEY}"}
ROUTES: Final = {"chat": "/v1/chat/completions", "messages": "/v1/messages"}
ENDLESS: Final = Step(pace=Pace(tokens_per_s=20.0, events=2000))
ASKED: Final = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 10_000,
    "messages": [{"role": "user", "content": "Hello!"}],
}
clock = SystemClock()


@pytest.fixture
async def web() -> AsyncIterator[aiohttp.ClientSession]:
    """A client that keeps its connections."""
    async with aiohttp.ClientSession() as session:
        yield session


@asynccontextmanager
async def serving(folder: Path, simulator: Simulator, **settings: str) -> AsyncIterator[Program]:
    """A server with one credential, in front of the simulated Claude."""
    upstream = {"ANTHROPIC_API_KEY": UPSTREAM_KEY, "ANTHROPIC_BASE_URL": simulator.url}
    async with started(folder, "serve", **{**KEYS, **upstream, **settings}) as program:
        yield program


async def ask(web: aiohttp.ClientSession, program: Program, route: str = "chat") -> tuple[int, bytes]:
    """A whole answer: its status and its body."""
    async with web.post(program.url + ROUTES[route], json=ASKED, headers=CLIENT) as answer:
        return answer.status, await answer.read()


@asynccontextmanager
async def streaming(
    web: aiohttp.ClientSession, program: Program, route: str
) -> AsyncIterator[aiohttp.ClientResponse]:
    """A streamed answer whose headers, and with them its first event, have come."""
    body = {**ASKED, "stream": True}
    async with web.post(program.url + ROUTES[route], json=body, headers=CLIENT) as answer:
        assert answer.status == 200
        yield answer


async def pool_of(web: aiohttp.ClientSession, program: Program) -> list[dict[str, object]]:
    """The credentials as the administrator sees them."""
    async with web.get(f"{program.url}/admin/pool", headers=ADMIN) as answer:
        found: dict[str, list[dict[str, object]]] = msgspec.json.decode(await answer.read())
        return found["credentials"]


async def test_without_a_credential_the_start_says_what_to_set(tmp_path: Path) -> None:
    """Protects the first minute of a new operator."""
    program = await finished(tmp_path, "serve")
    assert program.process.returncode == 1
    for word in ("ANTHROPIC_API_KEY", ".env", "sessions.json", "--demo"):
        assert word in program.output
    assert "Traceback" not in program.output


async def test_demo_mode_answers_and_says_that_it_is_one(tmp_path: Path, web: aiohttp.ClientSession) -> None:
    """Protects ``--demo``, and nobody taking its answers for Claude's."""
    async with started(tmp_path, "serve", "--demo", **KEYS) as program:
        async with web.post(program.url + ROUTES["chat"], json=ASKED, headers=CLIENT) as answer:
            assert answer.headers["x-carousel-demo"] == "1"
            assert b'"[demo] You said' in await answer.read()
        assert "DEMO MODE" in program.output


async def test_demo_mode_by_itself_stays_off_other_addresses(tmp_path: Path) -> None:
    """Protects a server that others can reach from answering with a simulation because a setting was lost."""
    program = await finished(tmp_path, "serve", "--demo-if-unconfigured", ADDRESS="0.0.0.0:0")
    assert program.process.returncode == 1
    assert "ANTHROPIC_API_KEY" in program.output


async def test_demo_mode_by_itself_gives_way_to_a_credential(
    tmp_path: Path, simulator: Simulator, web: aiohttp.ClientSession
) -> None:
    """Protects the step from trying out to using: a credential in place, and ``make run`` uses it."""
    upstream = {"ANTHROPIC_API_KEY": UPSTREAM_KEY, "ANTHROPIC_BASE_URL": simulator.url}
    async with started(tmp_path, "serve", "--demo-if-unconfigured", **KEYS, **upstream) as program:
        status, body = await ask(web, program)
        assert status == 200
        assert b"[demo]" not in body
        assert "DEMO MODE" not in program.output
    assert [one.key for one in simulator.record.requests] == [UPSTREAM_KEY]


async def test_every_wrong_setting_is_named_at_once_and_no_secret_is_shown(tmp_path: Path) -> None:
    """Protects operators from mending one mistake a start, and logs from their keys."""
    secrets = {"ADMIN_KEY": "canary\twith a blank", "ANTHROPIC_API_KEY": "canary-\N{SNOWMAN}-key"}
    wrong = {
        "ADDRESS": "nowhere",
        "LOG_LEVEL": "loud",
        "RETRY_COUNT": "many",
        "POOL_JITTER": "7",
        "REQUIRE_AUTH": "perhaps",
        **secrets,
    }
    program = await finished(tmp_path, "serve", **wrong)
    assert program.process.returncode == 1
    assert [name for name in wrong if name not in program.output] == []
    assert "canary" not in program.output
    assert "Traceback" not in program.output


@pytest.mark.parametrize("arguments", [("serve",), ("serve", "--demo")], ids=["plain", "demo"])
async def test_the_example_of_a_settings_file_changes_nothing(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """Protects ``cp .env.example .env``: whoever does it starts as if they had not."""
    told = []
    for name in ("without", "with"):
        folder = tmp_path / name
        folder.mkdir()
        if name == "with":
            shutil.copy(ROOT / ".env.example", folder / ".env")
            (folder / ".env").chmod(0o600)
        if "--demo" not in arguments:
            told.append((await finished(folder, *arguments)).output)
            continue
        async with started(folder, *arguments) as program:
            await program.wrote("Hello!")
            told.append(program.output.replace(program.url.removeprefix("http://"), "ADDRESS"))
    assert told[0] == told[1]
    assert told[0]


async def test_a_credential_file_may_name_a_secret_of_the_environment(
    tmp_path: Path, simulator: Simulator, web: aiohttp.ClientSession
) -> None:
    """Protects ``$NAME`` in ``sessions.json``, which keeps keys out of files."""
    credential = {"name": "team", "kind": "anthropic", "key": "$TEAM_KEY", "base_url": simulator.url}
    file = tmp_path / "sessions.json"
    file.write_bytes(msgspec.json.encode({"credentials": [credential]}))
    file.chmod(0o600)
    async with started(tmp_path, "serve", TEAM_KEY=UPSTREAM_KEY, **KEYS) as program:
        assert (await ask(web, program))[0] == 200
        assert [member["name"] for member in await pool_of(web, program)] == ["team"]
    assert [one.key for one in simulator.record.requests] == [UPSTREAM_KEY]
    assert UPSTREAM_KEY not in program.output


async def test_it_is_ready_within_seconds(
    tmp_path: Path, simulator: Simulator, web: aiohttp.ClientSession
) -> None:
    """Protects probes and people: five seconds are promised, four times that is allowed on a busy machine."""
    began_s = clock.monotonic_s()
    async with serving(tmp_path, simulator) as program:
        async with web.get(f"{program.url}/ready") as answer:
            assert answer.status == 200
        assert clock.monotonic_s() - began_s < 4 * 5


async def test_the_slow_parser_is_refused(tmp_path: Path) -> None:
    """Protects against the one parser of aiohttp that requests have been smuggled through."""
    program = await finished(tmp_path, "serve", "--demo", AIOHTTP_NO_EXTENSIONS="1")
    assert program.process.returncode == 1
    assert "AIOHTTP_NO_EXTENSIONS" in program.output
    assert "Traceback" not in program.output


async def test_an_interrupt_ends_an_idle_server_cleanly(
    tmp_path: Path, simulator: Simulator, web: aiohttp.ClientSession
) -> None:
    """Protects exit code 0 after Ctrl-C, also while a client keeps a connection open."""
    async with serving(tmp_path, simulator) as program:
        assert (await ask(web, program))[0] == 200
        program.send(signal.SIGINT)
        assert await program.ended() == 0
    assert "Traceback" not in program.output


async def both_interrupted(
    web: aiohttp.ClientSession, program: Program, number: signal.Signals
) -> dict[str, bytes]:
    """A stream of each dialect, to its end, while the server is sent a signal."""
    async with AsyncExitStack() as stack:
        answers = {route: await stack.enter_async_context(streaming(web, program, route)) for route in ROUTES}
        program.send(number)
        rests = await asyncio.gather(*map(read_answer, answers.values()))
        return {route: rest.body for route, rest in zip(answers, rests, strict=True)}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_streams_that_outlast_the_drain_are_told_why_they_end(
    tmp_path: Path, simulator: Simulator, web: aiohttp.ClientSession, number: signal.Signals
) -> None:
    """Protects readers of long answers at a restart: an error frame, and nothing that looks like an end."""
    simulator.script(UPSTREAM_KEY, then=ENDLESS)
    async with serving(tmp_path, simulator, DRAIN_SECONDS="1") as program:
        rests = await both_interrupted(web, program, number)
        assert await program.ended() == 0
    assert [route for route, rest in rests.items() if not is_told_of_the_stop(rest)] == []
    assert "Traceback" not in program.output


async def test_short_streams_end_well_within_the_drain(
    tmp_path: Path, simulator: Simulator, web: aiohttp.ClientSession
) -> None:
    """Protects the answers that were nearly done when the server was told to go."""
    simulator.script(UPSTREAM_KEY, then=Step(pace=Pace(tokens_per_s=20.0, events=16)))
    async with serving(tmp_path, simulator, DRAIN_SECONDS="20") as program:
        rests = await both_interrupted(web, program, signal.SIGTERM)
        assert await program.ended() == 0
    assert all(map(is_whole, rests.values()))
    assert b"shutting down" not in b"".join(rests.values())


async def test_a_second_signal_does_not_wait_for_anybody(
    tmp_path: Path, simulator: Simulator, web: aiohttp.ClientSession
) -> None:
    """Protects the operator in a hurry: two seconds are promised, and the exit code tells that it was cut short."""
    simulator.script(UPSTREAM_KEY, then=ENDLESS)
    async with (
        serving(tmp_path, simulator, DRAIN_SECONDS="600") as program,
        streaming(web, program, "messages"),
    ):
        program.send(signal.SIGTERM)
        await program.wrote("draining")
        began_s = clock.monotonic_s()
        program.send(signal.SIGTERM)
        assert await program.ended() == 130
        assert clock.monotonic_s() - began_s < 4 * 2
    assert "Traceback" not in program.output


async def test_a_draining_server_turns_away_probes_and_keeps_no_connection(
    tmp_path: Path, simulator: Simulator, web: aiohttp.ClientSession
) -> None:
    """Protects a rolling restart: traffic is led away while requests that still come are answered."""
    async with serving(tmp_path, simulator, DRAIN_DELAY="30") as program:
        program.send(signal.SIGTERM)
        await program.wrote("draining")
        async with web.get(f"{program.url}/ready") as answer:
            assert answer.status == 503
            assert answer.headers["connection"] == "close"
        async with web.post(program.url + ROUTES["chat"], json=ASKED, headers=CLIENT) as answer:
            assert answer.status == 200
            assert answer.headers["connection"] == "close"
        program.send(signal.SIGTERM)
        await program.ended()


async def test_nothing_that_is_written_holds_a_key(
    tmp_path: Path, simulator: Simulator, web: aiohttp.ClientSession
) -> None:
    """Protects keys from logs at their most talkative, and from answers whose upstream quotes one."""
    quoting = Step("status", status=400, message=f"the key {UPSTREAM_KEY} of {CLIENT_KEY} is odd")
    cut = Step("error_event_mid", type="api_error", message=f"the key {UPSTREAM_KEY} is odd")
    simulator.script(UPSTREAM_KEY, [Step(), quoting, cut, Step("status", status=401, message=UPSTREAM_KEY)])
    async with serving(tmp_path, simulator, LOG_LEVEL="debug") as program:
        answers = [await ask(web, program), await ask(web, program)]
        # a cut stream's connection is closed behind it: one of its own, so that no later call is sent on it
        async with aiohttp.ClientSession() as other, streaming(other, program, "chat") as answer:
            answers.append((answer.status, (await read_answer(answer)).body))
        answers.append(await ask(web, program))
        wrong = {"authorization": "Bearer canary-wrong-key-0123456789"}
        async with web.get(f"{program.url}/v1/models", headers=wrong) as answer:
            assert answer.status == 401
        shown = msgspec.json.encode(await pool_of(web, program)).decode()
        program.send(signal.SIGTERM)
        assert await program.ended() == 0
    kept = (tmp_path / "data" / "secret.key").read_text().strip()
    assert [status for status, _ in answers] == [200, 400, 200, 503]
    assert b"is odd" in answers[1][1]
    assert b"is odd" in answers[2][1]
    for text in (program.output, shown, *(body.decode() for _, body in answers)):
        assert "canary" not in text
        assert kept not in text
    assert program.output.count("request") >= 3


async def test_the_keys_it_makes_are_kept_to_the_owner_and_never_written_to_a_pipe(tmp_path: Path) -> None:
    """Protects the first start under a process manager, whose journal others may read."""
    async with started(tmp_path, "serve", "--demo") as program:
        await program.wrote("Hello!")
        made = {name: (tmp_path / "data" / name) for name in ("client.key", "admin.key", "secret.key")}
        for file in made.values():
            assert file.stat().st_mode & 0o077 == 0
            assert file.read_text().strip() not in program.output
    assert "client.key" in program.output


async def test_what_is_known_of_a_credential_survives_a_kill(
    tmp_path: Path, simulator: Simulator, web: aiohttp.ClientSession
) -> None:
    """Protects a refused key from being asked again by every restart."""
    simulator.script(UPSTREAM_KEY, then=Step("status", status=401))
    async with serving(tmp_path, simulator) as program:
        assert (await ask(web, program))[0] == 503
        (before,) = await pool_of(web, program)
        program.send(signal.SIGKILL)
        await program.ended()
    calls = len(simulator.record.requests)
    async with serving(tmp_path, simulator) as program:
        (after,) = await pool_of(web, program)
        assert (await ask(web, program))[0] == 503
    assert isinstance(after["state"], dict)
    assert (after["state"]["state"], after["state"]["reason"]) == ("cooling", "auth")
    assert isinstance(before["state"], dict)
    assert abs(after["state"]["until_unix_ms"] - before["state"]["until_unix_ms"]) < 2000
    assert len(simulator.record.requests) == calls
