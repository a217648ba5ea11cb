"""``claude_options`` as a way onto the machine: hostile values through processes, and starts that are broken off."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
import pytest

from proxy.clock import SystemClock
from proxy.credentials import Credential, Kind
from proxy.dialects.claude_options import read_options
from proxy.errors import GatewayError
from proxy.exchange import Operation
from proxy.secrets import Secret
from proxy.settings import CodePolicy, Policy
from proxy.simulator import Simulator
from proxy.upstreams.base import CodeWish, UpstreamCall, UpstreamFault, UpstreamRefused
from proxy.upstreams.claude_code.runs import Runs
from proxy.upstreams.claude_code.saved import SavedSessions
from proxy.upstreams.claude_code.sessions import Limits
from proxy.upstreams.claude_code.upstream import ClaudeCode
from proxy.upstreams.http import WaysOut
from proxy.watch import Watch
from tests.support.children import seconds_until_none
from tests.support.claude_code import claude_program
from tests.support.fake_claude import fake_claude, starts
from tests.support.soak import sized

_CANARY: Final = "canary-of-the-server"
_STARTS: Final = sized(full=200, short=40)
_HOSTILE: Final = (
    "--dangerously-skip-permissions",
    "-p",
    ";$(touch canary)",
    "`touch canary`",
    "a\nb",
    "a\0b",
    "../..",
    "x" * 200_000,
    "Bash(*),Read",
    "mcp__birds__look --mcp-config=/tmp/x",
)
_OPTIONS: Final = {
    *("--output-format", "--verbose", "--system-prompt", "--system-prompt-file", "--tools", "--allowedTools"),
    *("--disallowedTools", "--mcp-config", "--max-turns", "--model", "--permission-mode", "--session-id"),
    *("--include-partial-messages", "--strict-mcp-config", "--setting-sources=", "--disable-slash-commands"),
    *("--debug-to-stderr", "--input-format"),
}
_ENVIRONMENT: Final = {
    *(
        "PATH",
        "LANG",
        "HOME",
        "TMPDIR",
        "CLAUDE_CONFIG_DIR",
        "XDG_CONFIG_HOME",
        "XDG_CACHE_HOME",
        "XDG_DATA_HOME",
    ),
    *("CLAUDE_CODE_ENTRYPOINT", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "CLAUDE_CODE_ATTRIBUTION_HEADER"),
    *(
        "CLAUDE_CODE_MAX_RETRIES",
        "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK",
        "CLAUDE_CODE_NO_MODEL_FALLBACK",
    ),
    *("DISABLE_AUTOUPDATER", "DISABLE_TELEMETRY", "DISABLE_ERROR_REPORTING", "CLAUDE_AGENT_SDK_VERSION"),
    *(
        "CLAUDE_CODE_SIMPLE",
        "CLAUDE_CODE_CERT_STORE",
        "BUN_GC_TIMER_DISABLE",
        "ENABLE_TOOL_SEARCH",
        "ANTHROPIC_BASE_URL",
        "ANTHROPIC_API_KEY",
        "NO_PROXY",
        "LC_CTYPE",
    ),
}


class _Bench:
    """Claude Code with a program that writes down how it was started."""

    def __init__(self, folder: Path, upstream: ClaudeCode, credential: Credential) -> None:
        self.folder = folder
        self.root = folder / "root"
        self._upstream = upstream
        self._credential = credential

    async def ask(self, text: str, **options: object) -> bool:
        """Ask. Returns whether it was let."""
        read = read_options(msgspec.json.encode({"claude_options": options}))
        assert read is not None
        body = {
            "model": "claude-code",
            "max_tokens": 9,
            "messages": [{"role": "user", "content": text}],
            "system": text,
        }
        call = UpstreamCall(
            operation=Operation.MESSAGES,
            body=msgspec.json.encode(body),
            stream=False,
            version="2023-06-01",
            wish=CodeWish(options=read, owner="alice", folder=None, tell=lambda _: None),
        )
        watch = Watch()
        try:
            await self._upstream.open(call, self._credential, watch, 30)
        except GatewayError:
            return False
        finally:
            watch.close()
        return True


@asynccontextmanager
async def _bench(folder: Path, simulator: Simulator, ways_out: WaysOut) -> AsyncIterator[_Bench]:
    claude_program()
    work = folder / "root" / "work"
    work.mkdir(parents=True)
    policy = CodePolicy(
        tools=frozenset({"Read", "Bash"}),
        roots=(folder / "root",),
        servers={"birds": b'{"command": "birds"}'},
        named_servers=frozenset({"birds"}),
        debug=True,
    )
    clock = SystemClock()
    upstream = ClaudeCode(
        ways_out,
        Policy(),
        clock,
        folder=folder / "children",
        limits=Limits(processes=4, starts=2),
        environment={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "ADMIN_KEY": _CANARY, "LD_PRELOAD": _CANARY},
        runs=Runs(policy, SavedSessions(folder / "sessions", clock, 60)),
    )
    program = await asyncio.to_thread(fake_claude, folder / "fake")
    key = Credential(
        name="c", kind=Kind.CLAUDE_CODE, secret=Secret("k1"), base_url=simulator.url, cli_path=str(program)
    )
    try:
        yield _Bench(folder, upstream, key)
    finally:
        await upstream.close()
        await seconds_until_none(folder / "children", 10)


@pytest.fixture
async def bench(tmp_path: Path, simulator: Simulator, ways_out: WaysOut) -> AsyncIterator[_Bench]:
    """See `_Bench`."""
    async with _bench(tmp_path, simulator, ways_out) as found:
        yield found


@pytest.fixture
async def ways_out() -> AsyncIterator[WaysOut]:
    """Connections that are closed again."""
    ways = WaysOut(Policy())
    yield ways
    await ways.close()


def _hostile(chance: random.Random, bench: _Bench) -> dict[str, object]:
    def word(fine: str) -> str:
        return fine if chance.random() < 0.85 else chance.choice(_HOSTILE)[:4000]

    made: dict[str, object] = {
        "tools": [word("Read"), word("Bash")],
        "disallowed_tools": [word("Edit")],
        "working_dir": word(str(bench.root / "work")),
        "mcp_config": word("birds"),
        "model": word("opus"),
        "debug": True,
    }
    return {name: made[name] for name in chance.sample(sorted(made), 3)}


async def test_a_hundred_hostile_requests_stay_in_their_template(bench: _Bench) -> None:
    """Protects command line, environment and directory of every child from whatever a request holds."""
    chance = random.Random(3)
    let = 0
    for _ in range(25):
        batch = (
            bench.ask(chance.choice(_HOSTILE).replace("\0", ""), **_hostile(chance, bench)) for _ in range(4)
        )
        let += sum(await asyncio.gather(*batch))
    found = await asyncio.to_thread(starts, bench.folder / "fake")
    assert let == len(found) > 20
    for start in found:
        assert {word for word in start["argv"] if word.startswith("-")} <= _OPTIONS
        assert set(start["environment"]) <= _ENVIRONMENT
        assert _CANARY not in str(start)
        cwd = Path(start["cwd"])
        assert cwd.is_relative_to(bench.root) or cwd.is_relative_to(bench.folder / "children")
    assert list(bench.root.rglob("canary")) == []


@pytest.mark.long
async def test_starts_broken_off_anywhere_leave_no_process(bench: _Bench) -> None:
    """Protects the machine from children of requests nobody waits for, and sessions from being held for ever."""
    chance = random.Random(5)

    async def cancelled() -> None:
        try:
            async with asyncio.timeout(chance.uniform(0.0, 0.6)):
                await bench.ask("Hello!", working_dir=str(bench.root / "work"))
        except (TimeoutError, UpstreamFault, UpstreamRefused):
            pass

    for _ in range(_STARTS // 4):
        await asyncio.gather(*(cancelled() for _ in range(4)))
    await seconds_until_none(bench.folder / "children", 10)
    assert await bench.ask("Hello!")
