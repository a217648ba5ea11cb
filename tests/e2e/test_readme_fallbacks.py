"""The README's part on fallbacks, run as a reader pastes it."""

import asyncio
import os
import re
from pathlib import Path
from typing import Final

import pytest

from proxy.simulator import Step
from tests.support.house import simulated
from tests.support.program import ROOT, started

_PART: Final = (
    (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Fallbacks\n")[2].partition("\n## ")[0]
)
_BLOCKS: Final = re.findall(r"^```sh\n(.*?)^```$", _PART, re.DOTALL | re.MULTILINE)
_LIMIT_S: Final = 30.0


def test_every_block_of_the_part_is_run_here() -> None:
    """Protects against a block nobody runs."""
    assert [block.partition("_")[0].partition(" ")[0] for block in _BLOCKS] == ["FALLBACK", "curl"]


@pytest.mark.needs("curl")
async def test_the_settings_and_the_command_show_who_answered(tmp_path: Path) -> None:
    """Protects the first thing anybody does with a fallback; only addresses are replaced."""
    settings, command = _BLOCKS
    async with simulated() as simulator:
        simulator.script("sk-claude", then=Step("status", status=401))
        lines = settings.replace("https://api.openai.com", simulator.url)
        (tmp_path / ".env").write_text(
            f"ANTHROPIC_API_KEY=sk-claude\nANTHROPIC_BASE_URL={simulator.url}\n{lines}"
        )
        (tmp_path / ".env").chmod(0o600)
        async with started(tmp_path, "serve") as program:
            text = command.replace("127.0.0.1:8080", program.url.removeprefix("http://"))
            process = await asyncio.create_subprocess_exec(
                "sh",
                "-c",
                text,
                cwd=program.folder,
                env={"PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1"},
                stdout=asyncio.subprocess.PIPE,
            )
            printed, _ = await asyncio.wait_for(process.communicate(), _LIMIT_S)
        told = dict(line.lower().split(": ", 1) for line in printed.decode().splitlines())
        assert (told["x-carousel-credential"], told["x-carousel-model"]) == ("fallback-1", "gpt-4o")
        assert told["x-carousel-attempts"] == "2"
        assert simulator.record.requests_per_key["sk-your-key"] == 1
