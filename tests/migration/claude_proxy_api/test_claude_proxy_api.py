"""Moving here from Claude Proxy API Server: its settings, its start and its curl lines, run as its users run them."""

from pathlib import Path
from typing import Final

import msgspec
import pytest

from proxy.simulator import Simulator
from tests.migration.claude_proxy_api.examples import (
    DOCKER,
    DOTENV,
    JSON_MODE,
    SINGLE,
    STREAMED,
    SYSTEM,
    TURNS,
    UVICORN,
)
from tests.support.moving import Moved, environment, moved
from tests.support.program import ROOT, started

pytestmark = pytest.mark.needs("curl", "jq")

_KEY: Final = {"your_claude_proxy_api_key": "your_chosen_proxy_api_key"}
_NOW: Final = "claude-haiku-"
_TAKES_TEMPERATURE: Final = "claude-haiku-4-5"


def _started_with(folder: Path, how: str) -> dict[str, str]:
    """The settings of the environment; the others are in the file that the document says to make."""
    if how == "docker":
        return environment(DOCKER)
    (folder / ".env").write_text(DOTENV)
    (folder / ".env").chmod(0o600)
    return {}


@pytest.mark.parametrize("how", ["dotenv", "docker"])
async def test_its_settings_work_as_they_are(tmp_path: Path, simulator: Simulator, how: str) -> None:
    """Protects whoever brings the file or the docker line along: key, model, temperature and tokens are as set."""
    settings = _started_with(tmp_path, how)
    async with moved(tmp_path, simulator, settings) as found:
        for edits in (
            {'"model": "claude-3-haiku-20240307",': ""},
            {},
            {"claude-3-haiku-20240307": _TAKES_TEMPERATURE},
            {"claude-3-haiku-20240307": _TAKES_TEMPERATURE, '"temperature": 0.7': '"n": 1'},
        ):
            assert "capital of France" in (await found.shell(SINGLE, {**_KEY, **edits})).text
        without_model, as_printed, asked, silent = found.asked
        assert without_model.model.startswith(_NOW)
        assert as_printed.model == without_model.model
        assert (asked.temperature, silent.temperature, silent.max_tokens) == (0.7, 0.1, 4096)
        assert {one.key for one in simulator.record.requests} == {"your_anthropic_api_key"}
        wrong = await found.shell(SINGLE)
        assert "invalid_api_key" in wrong.body


async def _after(found: Moved, example: str) -> str:
    return (await found.shell(example, _KEY)).body


async def test_its_curl_lines_work_as_they_are(tmp_path: Path, simulator: Simulator) -> None:
    """Protects scripts: one message, a system prompt, several turns, through `jq` as printed."""
    async with moved(tmp_path, simulator, environment(DOTENV)) as found:
        for example in (SINGLE, SYSTEM, TURNS):
            assert '"content"' in await _after(found, example)
        single, system, turns = found.asked
        assert [one["role"] for one in single.messages] == ["user"]
        assert "expertise in geography" in str(system.system)
        assert [one["role"] for one in system.messages] == ["user", "assistant", "user"]
        assert [one["role"] for one in turns.messages] == ["user", "assistant", "user", "assistant", "user"]


async def test_json_is_asked_for_whole_and_streamed(tmp_path: Path, simulator: Simulator) -> None:
    """Protects users of JSON mode: the model is told to write JSON, and answers come in both forms."""
    async with moved(tmp_path, simulator, environment(DOTENV)) as found:
        streamed = await found.shell(STREAMED, _KEY)
        assert streamed.streamed_text
        assert '"choices"' in await _after(found, JSON_MODE)
        for one in found.asked:
            assert "JSON" in str(one.system)
        assert "Always respond in rhyme" in str(found.asked[0].system)


async def test_its_three_addresses_answer(tmp_path: Path, simulator: Simulator) -> None:
    """Protects health checks and clients that look which models there are."""
    async with moved(tmp_path, simulator, environment(DOTENV)) as found:
        health = await found.shell("curl http://localhost:8000/health")
        assert msgspec.json.decode(health.body)["status"] == "healthy"
        line = 'curl http://localhost:8000/v1/models -H "Authorization: Bearer your_claude_proxy_api_key"'
        listed = msgspec.json.decode((await found.shell(line, _KEY)).body)
        assert any(one["id"].startswith(_NOW) for one in listed["data"])


async def test_its_start_line_has_its_match(tmp_path: Path, simulator: Simulator) -> None:
    """Protects those who start it by hand: address and log level have options here too."""
    settings = {
        **environment(DOTENV),
        "ANTHROPIC_BASE_URL": simulator.url,
        "DATA_DIR": str(tmp_path / "data"),
    }
    _, host, _, _, _, level = UVICORN.split()
    options = ("--address", f"{host}:0", "--log-level", level)
    async with started(tmp_path, "serve", *options, **settings) as program:
        assert f"listens on http://{host}:" in program.output


def test_the_page_names_every_setting_of_the_other_program() -> None:
    """Protects those who move from searching: each setting stands in the part of the page that is for them."""
    page = (ROOT / "docs" / "moving.md").read_text(encoding="utf-8")
    part = page.partition("## Claude Proxy API Server")[2].partition("\n## ")[0]
    assert environment(DOTENV) == environment(DOCKER)
    assert [name for name in environment(DOTENV) if f"`{name}`" not in part] == []
