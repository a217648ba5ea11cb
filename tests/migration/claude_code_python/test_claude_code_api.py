"""Moving here from claude-code-api (Python): its settings and curl lines, their line breaks put back, run in a shell.

From https://github.com/codingworkflow/claude-code-api.
"""

from pathlib import Path
from typing import Final

import msgspec
import pytest

from proxy.simulator import Simulator
from tests.support.moving import environment, moved
from tests.support.program import ROOT, finished

pytestmark = pytest.mark.needs("curl")

_CLAUDE: Final = {"ANTHROPIC_API_KEYS": "k1"}
_OPEN: Final = {**_CLAUDE, "REQUIRE_AUTH": "false"}
SECURED: Final = """\
# Enable authentication
REQUIRE_AUTH=true
# Add your API keys (comma-separated)
API_KEYS=your-secure-api-key-1,your-secure-api-key-2
"""
WITH_BEARER: Final = """\
curl -X POST http://localhost:8000/v1/chat/completions \\
  -H "Authorization: Bearer your-secure-api-key-1" \\
  -H "Content-Type: application/json" \\
  -d '{
    "model": "claude-3-5-sonnet-20241022",
    "messages": [{"role": "user", "content": "Hello!"}]
  }'
"""
WITH_HEADER: Final = """\
curl -X POST http://localhost:8000/v1/chat/completions \\
  -H "x-api-key: your-secure-api-key-1" \\
  -H "Content-Type: application/json" \\
  -d '{
    "model": "claude-3-5-sonnet-20241022",
    "messages": [{"role": "user", "content": "Hello!"}]
  }'
"""
CHAT: Final = """\
curl -X POST http://localhost:8000/v1/chat/completions \\
  -H "Content-Type: application/json" \\
  -d '{
    "model": "claude-3-5-haiku-20241022",
    "messages": [
      {"role": "user", "content": "Hello!"}
    ]
  }'
"""
STREAMED: Final = """\
curl -X POST http://localhost:8000/v1/chat/completions \\
  -H "Content-Type: application/json" \\
  -d '{
    "model": "claude-3-5-haiku-20241022",
    "messages": [
      {"role": "user", "content": "Tell me a joke"}
    ],
    "stream": true
  }'
"""
MODELS: Final = "curl http://localhost:8000/v1/models"
HEALTH: Final = "curl http://localhost:8000/health"
SUPPORTED: Final = (
    *("claude-opus-4-1-20250805", "claude-opus-4-20250514", "claude-sonnet-4-20250514"),
    *("claude-3-7-sonnet-20250219", "claude-3-5-sonnet-20241022", "claude-3-5-haiku-20241022"),
)


@pytest.mark.parametrize("example", [WITH_BEARER, WITH_HEADER], ids=["bearer", "x-api-key"])
async def test_a_key_opens_it_in_either_header(tmp_path: Path, simulator: Simulator, example: str) -> None:
    """Protects those who turned authentication on: their two lines of settings, and both ways to show a key."""
    async with moved(tmp_path, simulator, {**_CLAUDE, **environment(SECURED)}) as found:
        assert "Hello!" in (await found.shell(example)).text
        second = {"your-secure-api-key-1": "your-secure-api-key-2"}
        assert "Hello!" in (await found.shell(example, second)).text
        assert "invalid_api_key" in (await found.shell(example, {"your-secure-api-key-1": "other"})).body


async def test_without_a_key_its_lines_work_once_that_is_allowed(
    tmp_path: Path, simulator: Simulator
) -> None:
    """Protects those who never had a key: one setting, and each line does what it did."""
    async with moved(tmp_path, simulator, _OPEN) as found:
        assert "Hello!" in (await found.shell(CHAT)).text
        assert "Tell me a joke" in (await found.shell(STREAMED)).streamed_text
        assert msgspec.json.decode((await found.shell(MODELS)).body)["data"]
        assert {"status", "version", "claude_version", "active_sessions"} <= set(
            msgspec.json.decode((await found.shell(HEALTH)).body)
        )


async def test_every_model_it_lists_still_answers(tmp_path: Path, simulator: Simulator) -> None:
    """Protects configurations that name its models: what has been retired is its family's present model."""
    async with moved(tmp_path, simulator, _OPEN) as found:
        for name in SUPPORTED:
            assert "Hello!" in (await found.shell(CHAT, {"claude-3-5-haiku-20241022": name})).text
        families = [one.model.split("-")[1] for one in found.asked]
        assert families == ["opus", "opus", "sonnet", "sonnet", "sonnet", "haiku"]


async def test_its_limit_of_a_key_is_kept_where_it_is_written_down(
    tmp_path: Path, simulator: Simulator
) -> None:
    """Protects those who rely on it: here nothing is limited by itself."""
    settings = {**_CLAUDE, **environment(SECURED), "RATE_LIMIT_REQUESTS_PER_MINUTE": "2"}
    async with moved(tmp_path, simulator, settings) as found:
        for _ in range(2):
            assert "Hello!" in (await found.shell(WITH_BEARER)).text
        assert "rate_limit" in (await found.shell(WITH_BEARER)).body


async def test_its_key_script_has_its_match(tmp_path: Path) -> None:
    """Protects the step of making keys: two of them, as one line for the file of settings."""
    made = await finished(tmp_path, *["keys", "generate", "-n", "2", "--env"])
    (line,) = [line for line in made.output.splitlines() if line.startswith("API_KEYS=")]
    assert len(set(line.partition("=")[2].split(","))) == 2


def test_the_page_names_its_settings() -> None:
    """Protects those who move from searching."""
    page = (ROOT / "docs" / "moving.md").read_text(encoding="utf-8")
    part = page.partition("## claude-code-api (Python)")[2].partition("\n## ")[0]
    names = ("REQUIRE_AUTH", "API_KEYS", "RATE_LIMIT_REQUESTS_PER_MINUTE", "claude_api_keys")
    assert [name for name in names if name not in part] == []
