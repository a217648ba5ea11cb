"""Claude Code asked as one kind of upstream, with a program that does well and with one that does not."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec
import pytest

from proxy.clock import SystemClock
from proxy.credentials import Credential, Kind
from proxy.exchange import Operation
from proxy.pool import Fault
from proxy.secrets import Secret
from proxy.settings import Policy
from proxy.simulator import Simulator, Step
from proxy.upstreams.base import UpstreamCall, UpstreamFault, UpstreamRefused
from proxy.upstreams.claude_code.sessions import Limits
from proxy.upstreams.claude_code.upstream import ClaudeCode
from proxy.upstreams.http import WaysOut
from proxy.watch import Watch
from tests.support.children import children, seconds_until_none
from tests.support.claude_code import claude_program
from tests.support.fake_claude import fake_claude, starts
from tests.support.house import until

_CANARY: Final = "canary-of-the-server"
_SERVERS_OWN: Final = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/home/somebody",
    "ANTHROPIC_API_KEY": _CANARY,
    "ANTHROPIC_AUTH_TOKEN": _CANARY,
    "CLAUDE_CODE_OAUTH_TOKEN": _CANARY,
    "ADMIN_KEY": _CANARY,
    "LD_PRELOAD": _CANARY,
    "NODE_OPTIONS": _CANARY,
    "CLAUDE_CONFIG_DIR": _CANARY,
}


@asynccontextmanager
async def asking(
    folder: Path, ways_out: WaysOut, environment: Mapping[str, str] = _SERVERS_OWN, **limits: float
) -> AsyncIterator[ClaudeCode]:
    """The upstream, whose children are gone in the end."""
    claude_program()
    found = msgspec.convert({"processes": 2, "starts": 2, "waiting_s": 0.2, **limits}, Limits)
    upstream = ClaudeCode(
        ways_out, Policy(), SystemClock(), folder=folder / "children", limits=found, environment=environment
    )
    try:
        yield upstream
    finally:
        await upstream.close()
        await seconds_until_none(folder / "children", 10)


def credential(program: Path, simulator: Simulator) -> Credential:
    """A key whose program is a fake one."""
    return Credential(
        name="laptop",
        kind=Kind.CLAUDE_CODE,
        secret=Secret("k1"),
        base_url=simulator.url,
        cli_path=str(program),
    )


def call(
    text: str = "Hello!",
    fields: Mapping[str, object] = MappingProxyType({}),
    *,
    stream: bool = False,
    operation: Operation = Operation.MESSAGES,
) -> UpstreamCall:
    """A request of one message, with these fields beside or in place of it."""
    messages = [{"role": "user", "content": text}]
    body = {"model": "claude-sonnet-5-5", "max_tokens": 100, "messages": messages, **fields}
    return UpstreamCall(
        operation=operation, body=msgspec.json.encode(body), stream=stream, version="2023-06-01"
    )


async def test_a_child_is_told_nothing_but_what_it_needs(
    tmp_path: Path, simulator: Simulator, ways_out: WaysOut, watch: Watch
) -> None:
    """Protects every secret of the server from the program, its own key included."""
    program = fake_claude(tmp_path / "fake")
    async with asking(tmp_path, ways_out) as upstream:
        reply = await upstream.open(
            call(fields={"system": "--be-brief"}), credential(program, simulator), watch, 20
        )
        assert b"Hello!" in await reply.read_all(watch, 1)
        (start,) = await asyncio.to_thread(starts, tmp_path / "fake")
    environment = start["environment"]
    assert _CANARY not in str(start)
    assert "k1" not in environment.values()
    assert "--be-brief" not in start["argv"]
    # its answer is read on the wire: telling it again would cost as long as the answer
    assert "--include-partial-messages" not in start["argv"]
    assert environment["HOME"].startswith(str(tmp_path / "children"))
    assert Path(start["cwd"]).is_relative_to(tmp_path / "children")
    assert [one.key for one in simulator.record.requests] == ["k1"]


@pytest.mark.parametrize(
    ("mode", "fault"),
    [
        ("exits", Fault.RESET),
        ("crashes", Fault.RESET),
        ("no_json", Fault.GARBAGE),
        ("endless_line", Fault.BODY_TOO_LARGE),
    ],
)
async def test_a_program_that_breaks_is_a_fault_and_leaves_nothing(
    tmp_path: Path, simulator: Simulator, ways_out: WaysOut, watch: Watch, mode: str, fault: Fault
) -> None:
    """Protects clients from waiting for a program that is gone, and the machine from what is left of it."""
    program = fake_claude(tmp_path / "fake", mode)
    async with asking(tmp_path, ways_out) as upstream:
        with pytest.raises(UpstreamFault) as caught:
            await upstream.open(call(), credential(program, simulator), watch, 20)
        assert caught.value.fault is fault
        await seconds_until_none(tmp_path / "children", 10)
        await until(lambda: upstream.processes == 0)


@pytest.mark.parametrize("mode", ["chatter", "floods", "stubborn"])
async def test_a_program_with_bad_manners_is_put_up_with_and_ended(
    tmp_path: Path, simulator: Simulator, ways_out: WaysOut, watch: Watch, mode: str
) -> None:
    """Protects answers from noise, memory from a flood of it, and the machine from what will not end."""
    program = fake_claude(tmp_path / "fake", mode)
    async with asking(tmp_path, ways_out) as upstream:
        reply = await upstream.open(call(), credential(program, simulator), watch, 20)
        assert b"Hello!" in await reply.read_all(watch, 1)


async def test_a_program_that_hangs_is_given_up_in_time(
    tmp_path: Path, simulator: Simulator, ways_out: WaysOut
) -> None:
    """Protects clients from a program that says nothing."""
    watch = Watch()
    program = fake_claude(tmp_path / "fake", "hangs")
    async with asking(tmp_path, ways_out) as upstream:
        with pytest.raises(UpstreamFault) as caught:
            await upstream.open(call(), credential(program, simulator), watch, 1)
        assert caught.value.fault is Fault.FIRST_EVENT_TIMEOUT
        watch.close()
        await seconds_until_none(tmp_path / "children", 10)


async def test_a_second_request_of_a_turn_does_not_go_out(
    tmp_path: Path, simulator: Simulator, ways_out: WaysOut, watch: Watch
) -> None:
    """Protects the owner's money from what the program asks by itself."""
    program = fake_claude(tmp_path / "fake", "asks_twice")
    async with asking(tmp_path, ways_out) as upstream:
        for _ in range(2):
            await upstream.open(call(), credential(program, simulator), watch, 20)
        assert len(simulator.record.requests) == 2


async def test_a_refusal_is_told_as_the_api_said_it(
    tmp_path: Path, simulator: Simulator, ways_out: WaysOut, watch: Watch
) -> None:
    """Protects the pool's judgement: status, words and times are those of the wire."""
    program = fake_claude(tmp_path / "fake")
    simulator.script("k1", [Step(do="status", status=429, headers={"retry-after": "7"})])
    async with asking(tmp_path, ways_out) as upstream:
        with pytest.raises(UpstreamRefused) as caught:
            await upstream.open(call(), credential(program, simulator), watch, 20)
    error = caught.value.error
    assert (error.status, error.type, error.kind) == (429, "rate_limit_error", Kind.CLAUDE_CODE)
    assert error.headers["retry-after"] == "7"
    assert caught.value.source.organization is not None


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (
            {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
            "messages:",
        ),
        ({"model": "--dangerously-skip-permissions"}, "model:"),
        ({"mcp_servers": [{"type": "url", "name": "a"}]}, "mcp_servers:"),
    ],
)
async def test_what_cannot_be_asked_is_refused_before_anything_starts(
    tmp_path: Path,
    simulator: Simulator,
    ways_out: WaysOut,
    watch: Watch,
    fields: dict[str, object],
    told: str,
) -> None:
    """Protects clients from another answer than they asked for, and the command line from them."""
    program = fake_claude(tmp_path / "fake")
    async with asking(tmp_path, ways_out) as upstream:
        with pytest.raises(UpstreamRefused) as caught:
            await upstream.open(call(fields=fields), credential(program, simulator), watch, 20)
        assert caught.value.error.status == 400
        assert caught.value.error.message.startswith(told)
        assert not (tmp_path / "children").exists()


async def test_no_more_processes_are_started_than_are_allowed(
    tmp_path: Path, simulator: Simulator, ways_out: WaysOut, watch: Watch
) -> None:
    """Protects the machine's memory: who finds all busy is told so, and one that idles gives way."""
    key = credential(fake_claude(tmp_path / "fake"), simulator)
    async with asking(tmp_path, ways_out, processes=1) as upstream:
        first = await upstream.open(call(stream=True), key, watch, 20)
        with pytest.raises(UpstreamRefused) as caught:
            await upstream.open(call("Me too!", stream=True), key, watch, 20)
        assert (caught.value.error.status, caught.value.error.type) == (529, "overloaded_error")
        while await first.read():
            pass
        first.close()
        assert upstream.processes == 1
        await upstream.open(call(fields={"system": "another sort"}), key, watch, 20)
        assert len(await asyncio.to_thread(starts, tmp_path / "fake")) == 2


async def test_a_process_is_used_again_for_the_same_conversation_and_ended_after_its_turns(
    tmp_path: Path, simulator: Simulator, ways_out: WaysOut, watch: Watch
) -> None:
    """Protects the speed of conversations, and the machine from a process that grows for ever."""
    key = credential(fake_claude(tmp_path / "fake"), simulator)
    said: list[dict[str, object]] = [{"role": "user", "content": "one"}]
    async with asking(tmp_path, ways_out, turns=2) as upstream:
        for number in range(3):
            reply = await upstream.open(call(fields={"messages": said}), key, watch, 20)
            content = msgspec.json.decode(await reply.read_all(watch, 1))["content"]
            said += [{"role": "assistant", "content": content}, {"role": "user", "content": f"and {number}"}]
        recorded = await asyncio.to_thread(starts, tmp_path / "fake")
    assert [any(one.startswith("--resume=") for one in start["argv"]) for start in recorded] == [False, True]


async def test_only_a_request_with_tools_starts_a_process_that_can_call_them(
    tmp_path: Path, simulator: Simulator, ways_out: WaysOut, watch: Watch
) -> None:
    """Protects requests without tools from what these cost; a process that has them goes on without them."""
    key = credential(fake_claude(tmp_path / "fake"), simulator)
    said: list[dict[str, object]] = [{"role": "user", "content": "one"}]
    tools = [{"name": "look_up", "input_schema": {"type": "object"}}]
    turns: list[dict[str, object]] = [{"tools": []}, {"tools": tools}, {"tools": tools}, {}]
    async with asking(tmp_path, ways_out) as upstream:
        for fields in turns:
            reply = await upstream.open(call(fields={"messages": said, **fields}), key, watch, 20)
            content = msgspec.json.decode(await reply.read_all(watch, 1))["content"]
            said += [{"role": "assistant", "content": content}, {"role": "user", "content": "more"}]
        recorded = await asyncio.to_thread(starts, tmp_path / "fake")
    assert ["--mcp-config" in start["argv"] for start in recorded] == [False, True]


async def test_a_process_serves_once_where_the_operator_wants_that(
    tmp_path: Path, simulator: Simulator, ways_out: WaysOut, watch: Watch
) -> None:
    """Protects who trusts no process with two requests."""
    key = credential(fake_claude(tmp_path / "fake"), simulator)
    async with asking(tmp_path, ways_out, keeps=False) as upstream:
        await upstream.open(call(), key, watch, 20)
        await seconds_until_none(tmp_path / "children", 10)


async def test_a_client_that_leaves_ends_the_child_and_the_call(
    tmp_path: Path, simulator: Simulator, ways_out: WaysOut, watch: Watch
) -> None:
    """Protects the owner from paying for an answer nobody reads."""
    key = credential(fake_claude(tmp_path / "fake"), simulator)
    simulator.script("k1", [Step(do="stall_mid", after=3)])
    async with asking(tmp_path, ways_out) as upstream:
        reply = await upstream.open(call(stream=True), key, watch, 20)
        assert b"message_start" in await reply.read()
        reply.close()
        await seconds_until_none(tmp_path / "children", 10)
        assert await asyncio.to_thread(children, tmp_path / "children") == []
    (asked,) = simulator.record.requests
    assert asked.ended_by is not None


async def test_counting_tokens_starts_nothing(
    tmp_path: Path, simulator: Simulator, ways_out: WaysOut, watch: Watch
) -> None:
    """Protects clients that count before each question from a process each time."""
    key = credential(fake_claude(tmp_path / "fake"), simulator)
    async with asking(tmp_path, ways_out) as upstream:
        reply = await upstream.open(call(operation=Operation.COUNT_TOKENS), key, watch, 20)
        assert msgspec.json.decode(await reply.read())["input_tokens"] > 0
        assert upstream.processes == 0
