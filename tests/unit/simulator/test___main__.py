"""The simulator as a program of its own."""

import asyncio
import signal
import sys
from urllib.request import Request, urlopen

import msgspec
import pytest

from proxy.simulator.__main__ import main
from tests.unit.simulator.client import question


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_serves_until_it_is_told_to_end(number: signal.Signals) -> None:
    """It prints where it listens, and leaves with status 0."""
    arguments = [
        "--address",
        "127.0.0.1:0",
        "--prefix",
        "[p] ",
        "--events",
        "2",
        "--first-token-delay",
        "0.001",
    ]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "proxy.simulator", *arguments, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    url = (await process.stdout.readline()).decode().strip()
    headers = {"x-api-key": "k", "anthropic-version": "2023-06-01"}
    asked = Request(f"{url}/v1/messages", msgspec.json.encode(question()), headers)  # noqa: S310 - our own URL

    def ask() -> bytes:
        with urlopen(asked, timeout=10) as answer:  # noqa: S310 - our own URL
            body: bytes = answer.read()
            return body

    assert b'"text":"[p] You "' in await asyncio.to_thread(ask)
    process.send_signal(number)
    assert await process.wait() == 0


@pytest.mark.parametrize("address", ["9000", "host:", ":80", "host:http"])
def test_an_address_that_is_none_is_refused(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The message shows what was typed."""
    with pytest.raises(SystemExit):
        main(["--address", address])
    assert address in capsys.readouterr().err
