"""Keys made beside a running server, and limits kept by it, over real sockets and processes."""

import asyncio
import os
import sqlite3
import sys
from pathlib import Path
from typing import Final

import msgspec
import openai
import pytest

from proxy.simulator import Simulator, Step
from tests.support.gateway import ADMIN_KEY
from tests.support.house import MODEL, House, Spoken, house
from tests.support.program import ROOT

_ADMINISTRATOR: Final = {"authorization": f"Bearer {ADMIN_KEY}"}
_PATIENCE_S: Final = 30.0


async def _keys(running: House, folder: Path, *words: str, **settings: str) -> tuple[int, str, str]:
    """Run ``keys`` in a process of its own beside the server."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *(str(ROOT / "app.py"), "keys", *words),
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONWARNINGS": "error",
            "DATA_DIR": str(folder / "data"),
            "ANTHROPIC_API_KEYS": "k1,k2,k3",
            **settings,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), _PATIENCE_S)
    return process.returncode or 0, out.decode().strip(), err.decode()


async def _status(running: House, key: str, path: Spoken = Spoken.MESSAGES) -> int:
    return (await running.ask(path, key=key)).status


async def test_a_key_of_the_command_line_works_at_once_and_ends_by_itself(tmp_path: Path) -> None:
    """Protects operators, who give a key to somebody, or take it from them, while the server runs."""
    async with house(tmp_path) as running:
        key = ""
        for name in ("one", "two"):
            code, key, err = await _keys(running, tmp_path, "new", name)
            assert code == 0, err
            assert await _status(running, key) == 200
            assert await _status(running, key, Spoken.CHAT) == 200
        code, _, err = await _keys(running, tmp_path, "revoke", "two")
        assert code == 0, err
        async with asyncio.timeout(_PATIENCE_S):
            while await _status(running, key) != 401:  # noqa: ASYNC110 - only the answer shows it
                await asyncio.sleep(0.02)
        answer = await running.ask(Spoken.MESSAGES, key=key)
        assert answer.error.error.message == "The client key was revoked."
        _, listed, _ = await _keys(running, tmp_path, "list")
        assert listed.splitlines() == ["one\tactive", "two\trevoked"]


async def test_a_key_made_over_http_outlives_a_restart_with_its_limits(tmp_path: Path) -> None:
    """Protects clients from a restart, and limits from being forgotten by one."""
    wanted = msgspec.json.encode({"name": "work", "models": ["claude-haiku-*"], "credentials": ["api-2"]})
    async with house(tmp_path) as running:
        url = f"{running.server.url}/admin/keys"
        async with running.session.post(url, data=wanted, headers=_ADMINISTRATOR) as answer:
            assert answer.status == 201
            key = (await answer.json())["key"]
    async with house(tmp_path) as running:
        for spoken in Spoken:
            refused = await running.ask(spoken, key=key)
            assert (refused.status, refused.error.error.type) == (403, "permission_error")
            for _ in range(3):
                answered = await running.ask(spoken, key=key, model="claude-haiku-5-5")
                assert answered.status == 200
                assert answered.headers["x-carousel-credential"] == "api-2"
        assert running.calls("k1", "k3") == 0


async def test_a_minute_holds_as_many_requests_as_were_said_under_eight_clients(tmp_path: Path) -> None:
    """Protects the limit from clients that ask at the same moment."""
    async with house(tmp_path, {"RATE_LIMIT_REQUESTS_PER_MINUTE": "60"}) as running:

        async def client() -> list[int]:
            return [(await running.ask(Spoken.MESSAGES)).status for _ in range(12)]

        statuses = [
            status for found in await asyncio.gather(*(client() for _ in range(8))) for status in found
        ]
        assert 59 <= statuses.count(200) <= 61
        assert statuses.count(429) == len(statuses) - statuses.count(200)
        assert running.calls() == statuses.count(200)


async def test_concurrency_is_given_back_by_every_way_an_answer_can_end(tmp_path: Path) -> None:
    """Protects a client from being locked out by its own aborted requests."""
    simulator = Simulator()
    async with house(tmp_path, {"RETRY_COUNT": "0"}, simulator=simulator) as running:
        _, key, err = await _keys(running, tmp_path, "new", "one", "--concurrency", "1")
        assert key, err
        for key_of in ("k1", "k2", "k3"):
            simulator.script(key_of, [Step("status", status=500), Step("end_without_stop")])
        ends = [await running.ask(Spoken.MESSAGES, key=key, stream=True) for _ in range(6)]
        assert all(answer.status != 429 for answer in ends)
        assert await _status(running, key) == 200


def _spent(folder: Path) -> int:
    database = sqlite3.connect(folder / "data/carousel.db")
    try:
        return sum(row[0] for row in database.execute("SELECT micro_usd FROM spending"))
    finally:
        database.close()


async def test_a_spent_budget_is_written_by_itself_and_kept_over_a_kill(tmp_path: Path) -> None:
    """Protects the operator's money from a client that asks until the server falls over."""
    async with house(tmp_path) as running:
        _, key, err = await _keys(
            running, tmp_path, "new", "poor", "--budget", "0.000001", "--period", "total"
        )
        assert key, err
        assert await _status(running, key) == 200
        for spoken, status, kind in (
            (Spoken.MESSAGES, 402, "billing_error"),
            (Spoken.CHAT, 429, "insufficient_quota"),
        ):
            answer = await running.ask(spoken, key=key)
            assert (answer.status, answer.error.error.type) == (status, kind)
            assert answer.headers["x-should-retry"] == "false"
        async with asyncio.timeout(_PATIENCE_S):
            while not _spent(tmp_path):  # noqa: ASYNC110 - only the database shows it
                await asyncio.sleep(0.02)
        # the house ends its server by a kill
    async with house(tmp_path) as running:
        assert await _status(running, key) == 402


async def test_openais_library_reads_the_headers_and_the_error(tmp_path: Path) -> None:
    """Protects the clients most people use."""
    async with house(tmp_path, {"RATE_LIMIT_REQUESTS_PER_MINUTE": "1"}) as running:
        _, key, _ = await _keys(running, tmp_path, "new", "sdk")
        async with openai.AsyncOpenAI(
            api_key=key, base_url=f"{running.server.url}/v1", max_retries=0
        ) as client:
            ask = client.chat.completions.with_raw_response.create
            messages = [{"role": "user", "content": "Hello"}]
            first = await ask(model=MODEL, messages=messages)  # type: ignore[arg-type]  # a plain message
            assert first.headers["x-ratelimit-limit-requests"] == "1"
            assert first.headers["x-ratelimit-remaining-requests"] == "0"
            assert first.headers["x-ratelimit-reset-requests"] == "1m0s"
            with pytest.raises(openai.RateLimitError) as caught:
                await ask(model=MODEL, messages=messages)  # type: ignore[arg-type]  # a plain message
            assert caught.value.code == "rate_limit_exceeded"
            assert 1 <= int(caught.value.response.headers["retry-after"]) <= 60
