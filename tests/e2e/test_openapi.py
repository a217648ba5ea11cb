"""Schemathesis, a program that reads our description and tries to prove it wrong, against the real server."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from tests.support.gateway import ADMIN_KEY, CLIENT_KEY
from tests.support.house import House, house
from tests.support.soak import sized

PHASES: Final = sized(full="examples,coverage,fuzzing,stateful", short="examples,fuzzing,stateful")
EXAMPLES: Final = sized(full=500, short=3)
LIMIT_S: Final = sized(full=850, short=100)
PROGRAM: Final = Path(sys.executable).parent / "schemathesis"
CHECKS: Final = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance,ignored_auth"
)
CONFIGURATION: Final = f"""\
[auth.openapi.clientKey]
bearer = "{CLIENT_KEY}"

[auth.openapi.clientKeyOfAnthropic]
api_key = "{CLIENT_KEY}"

[auth.openapi.clientKeyOfAzure]
api_key = "{CLIENT_KEY}"

[auth.openapi.adminKey]
bearer = "{ADMIN_KEY}"
"""


@pytest_asyncio.fixture
async def running(tmp_path: Path) -> AsyncIterator[House]:
    """A gateway in front of a simulated Claude, at which anybody may guess keys."""
    async with house(tmp_path, {"WRONG_KEYS_PER_MINUTE": "1000000"}) as found:
        yield found


@pytest.mark.long
@pytest.mark.timeout(LIMIT_S + 20)
async def test_the_server_does_what_its_description_says(running: House, tmp_path: Path) -> None:
    """Protects generated clients: no request leads to a failure of ours, or to an answer that is not described."""
    url = f"{running.server.url}/openapi.json"
    async with running.session.get(url, headers={"x-api-key": ADMIN_KEY}) as answer:
        description = await answer.read()
    await asyncio.to_thread((tmp_path / "openapi.json").write_bytes, description)
    await asyncio.to_thread((tmp_path / "schemathesis.toml").write_text, CONFIGURATION)
    status, printed = await _tried(tmp_path, running.server.url)
    assert status == 0, printed[-20_000:]
    assert "No test cases" not in printed
    credentials = await running.idle()
    assert {one.word() for one in credentials.values()} == {"ready"}
    assert running.calls() > EXAMPLES
    output = "".join(getattr(running.server, "output", []))
    assert "unexpected error" not in output
    assert "Traceback" not in output


async def _tried(folder: Path, url: str) -> tuple[int | None, str]:
    """The exit code of the program and what it printed; in its short form it does the same each time."""
    kept = sized(full=("--generation-database", "none"), short=("--generation-deterministic",))
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        "--config-file",
        folder / "schemathesis.toml",
        "run",
        folder / "openapi.json",
        *("--url", url, "--checks", CHECKS, "--max-examples", str(EXAMPLES), "--workers", "2"),
        *("--phases", PHASES),
        # a stream that has no end by itself
        *("--exclude-path", "/dashboard/events"),
        *("--continue-on-failure", "--no-color", "--warnings", "off", "--request-timeout", "30"),
        *kept,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        printed, _ = await asyncio.wait_for(process.communicate(), LIMIT_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, printed.decode(errors="replace")
