"""Claude Code measured: the first answer of a conversation cold and warm, later turns, memory of a process.

The real program answers from the simulated Claude; what is told is the time a client waits for a whole short answer. It
runs only where the SDK is installed.
"""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Protocol

import aiohttp
import msgspec

from tests.bench.measure import percentile
from tests.bench.programs import ADMIN_KEY, KEY, LOAD_CORE, Program, carousel, clock, running, upstream

_UPSTREAM_PORT: Final = 19103
_PORT: Final = 19115
_ROUNDS: Final = 10
_MODEL: Final = "claude-sonnet-5-5"
_SETTLING_S: Final = 3.0
_KIB: Final = 1024
_SETTINGS: Final = {"CLAUDE_CODE__CLAUDE__MAX_CONCURRENT_SESSIONS": "4", "LOG_LEVEL": "error"}
_COLD: Final = {"CLAUDE_CODE__CLAUDE__USE_INTERACTIVE_SESSIONS": "false"}


class Report(Protocol):
    """Where figures go."""

    def figure(self, name: str, program: str, value: float, unit: str, **more: float) -> None:
        """One line."""
        ...

    def failure(self, name: str, program: str, problem: str) -> None:
        """One line for what could not be measured."""
        ...


class _Answer(msgspec.Struct):
    content: list[dict[str, object]]


class _Client:
    """A client of one gateway."""

    def __init__(self, session: aiohttp.ClientSession, port: int, key: str) -> None:
        self._session = session
        self._url = f"http://127.0.0.1:{port}/v1/messages"
        self._headers = {
            "x-api-key": key,
            "anthropic-version": "2023-06-01",
            "content-type": "application/json",
        }

    async def ask(self, messages: list[dict[str, object]]) -> float:
        """Ask, put the answer behind the messages, and give the milliseconds it took."""
        body = msgspec.json.encode({"model": _MODEL, "max_tokens": 200, "messages": messages})
        begun_s = clock.monotonic_s()
        async with self._session.post(self._url, data=body, headers=self._headers) as response:
            told = await response.read()
        took_ms = (clock.monotonic_s() - begun_s) * 1000
        if response.status != 200:
            raise RuntimeError(told[:200].decode(errors="replace"))
        messages.append({"role": "assistant", "content": msgspec.json.decode(told, type=_Answer).content})
        return took_ms


async def claude_code(report: Report) -> None:
    """All figures of Claude Code, one line each."""
    if find_spec("claude_agent_sdk") is None:
        report.failure("claude_code", "carousel", "claude-agent-sdk is not installed")
        return
    async with running(upstream(_UPSTREAM_PORT), LOAD_CORE), aiohttp.ClientSession() as session:
        direct = _Client(session, _UPSTREAM_PORT, "bench-1")
        alone = await _repeated(lambda: direct.ask([_question(0)]))
        _tell(report, "claude_code_upstream_alone", "upstream", alone)
        with tempfile.TemporaryDirectory() as folder:
            async with running(_gateway(Path(folder), **_COLD)):
                client = _Client(session, _PORT, KEY)
                cold = await _repeated(lambda: client.ask([_question(0)]))
        _tell(report, "claude_code_first_answer_cold", "carousel", cold)
        with tempfile.TemporaryDirectory() as folder:
            async with running(_gateway(Path(folder))) as found:
                warm, later = await _warm(_Client(session, _PORT, KEY))
                resident = await asyncio.to_thread(_resident_mib, found.pid)
    ratio = percentile(cold, 50) / percentile(warm, 50)
    _tell(report, "claude_code_first_answer_warm", "carousel", warm, times_faster=ratio)
    added_ms = percentile(later, 50) - percentile(alone, 50)
    _tell(report, "claude_code_second_turn", "carousel", later, above_upstream_ms=added_ms)
    for size in resident:
        report.figure("claude_code_process_memory", "carousel", size, "MiB")


def _gateway(folder: Path, **settings: str) -> Program:
    entry = {
        "name": "code",
        "kind": "claude_code",
        "token": "bench-1",
        "base_url": f"http://127.0.0.1:{_UPSTREAM_PORT}",
        "max_concurrency": 4,
    }
    file = folder / "sessions.json"
    file.write_bytes(msgspec.json.encode({"credentials": [entry]}))
    file.chmod(0o600)
    only = {"SESSIONS_FILE": str(file), "ANTHROPIC_API_KEYS": "", "ADMIN_KEY": ADMIN_KEY}
    return carousel(_PORT, _UPSTREAM_PORT, folder, **_SETTINGS, **only, **settings)


def _question(number: int) -> dict[str, object]:
    return {"role": "user", "content": f"Hello, number {number}!"}


async def _repeated(measured: Callable[[], Awaitable[float]]) -> list[float]:
    """Several times over, after one that does not count."""
    await measured()
    return [await measured() for _ in range(_ROUNDS)]


async def _warm(client: _Client) -> tuple[list[float], list[float]]:
    """First answers of conversations for which a process stands ready, and second turns of them."""
    for number in range(2):
        await client.ask([_question(number)])
    first, second = [], []
    for number in range(_ROUNDS):
        # a process is started ahead once the one before it was taken
        await asyncio.sleep(_SETTLING_S)
        messages = [_question(number)]
        first.append(await client.ask(messages))
        messages.append(_question(number + 1))
        second.append(await client.ask(messages))
    return first, second


def _tell(report: Report, name: str, program: str, took_ms: Sequence[float], **more: float) -> None:
    report.figure(name, program, percentile(took_ms, 50), "ms", worst=max(took_ms), **more)


def _resident_mib(process: int) -> list[float]:
    """The memory of each Claude Code process below one, shared pages counted in each. Blocks."""
    found = []
    for pid in _below(process):
        file = Path(f"/proc/{pid}")
        try:
            name = (file / "comm").read_text().strip()
            status = (file / "status").read_text()
        except OSError:
            continue
        if name == "claude":
            line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
            found.append(int(line.split()[1]) / _KIB)
    return found


def _below(process: int) -> list[int]:
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return []
    return [pid for child in map(int, children) for pid in (child, *_below(child))]
