"""Moving here from claude-code-api (Go): its settings, curl line, clients and fallbacks behind Claude Code."""

import asyncio
from pathlib import Path
from typing import Final

import pytest

from proxy.simulator import Simulator, Step
from tests.support.claude_code import claude_program
from tests.support.fake_claude import fake_claude, starts
from tests.support.moving import environment, moved
from tests.support.node import node_programs
from tests.support.program import ROOT

_SETTINGS: Final = {"ANTHROPIC_API_KEYS": "k1", "API_KEY": "your-api-key"}
FALLBACKS: Final = """\
# Fallback API 1 - OpenAI
FALLBACK_API_NAME_1=OpenAI
FALLBACK_API_URL_1=https://api.openai.com/v1
FALLBACK_API_KEY_1=your-openai-api-key
FALLBACK_API_MODEL_1=gpt-4-turbo-preview

# Fallback API 2 - Anthropic Claude
FALLBACK_API_NAME_2=Claude
FALLBACK_API_URL_2=https://api.anthropic.com/v1
FALLBACK_API_KEY_2=your-anthropic-api-key
FALLBACK_API_MODEL_2=claude-3-opus-20240229
"""
CURL: Final = """\
curl -X POST http://localhost:8082/v1/chat/completions \\
  -H "Authorization: Bearer your-api-key" \\
  -H "Content-Type: application/json" \\
  -d '{"model": "claude-3-sonnet-20240229", "messages": [{"role": "user", "content": "Hello"}]}'
"""
PYTHON: Final = """\
import openai

client = openai.OpenAI(
    api_key="your-api-key",
    base_url="http://localhost:8082/v1"
)

response = client.chat.completions.create(
    model="claude-code",
    messages=[{"role": "user", "content": "Hello, Claude!"}]
)
"""
NODE: Final = """\
const OpenAI = require('openai');
const client = new OpenAI({
  apiKey: 'your-api-key',
  baseURL: 'http://localhost:8082/v1'
});
"""
_ASKING: Final = """\
client.chat.completions
  .create({ model: 'claude-code', messages: [{ role: 'user', content: 'Hello, Node!' }] })
  .then((response) => console.log(response.choices[0].message.content));
"""
DOTNET: Final = """\
curl -X POST "http://localhost:8082/v1/openai/deployments/claude-code/chat/completions?api-version=2024-02-01" \\
  -H "api-key: your-api-key" \\
  -H "Content-Type: application/json" \\
  -d '{"messages": [{"role": "user", "content": "Hello, C#!"}]}'
"""
"""What the document's C# client sends; there is no compiler for it here, so its request is written out."""


@pytest.mark.needs("curl")
async def test_its_curl_line_works_as_it_is(tmp_path: Path, simulator: Simulator) -> None:
    """Protects scripts; the model they name has been retired, and its family answers."""
    async with moved(tmp_path, simulator, _SETTINGS) as found:
        assert "Hello" in (await found.shell(CURL)).text
        assert found.asked[0].model.startswith("claude-sonnet-")


@pytest.mark.needs("curl")
async def test_a_c_sharp_client_of_azures_is_understood(tmp_path: Path, simulator: Simulator) -> None:
    """Protects programs whose library names the model in the address and the key in a header of its own."""
    async with moved(tmp_path, simulator, _SETTINGS) as found:
        assert "Hello, C#!" in (await found.shell(DOTNET)).text


async def test_its_python_client_works_as_it_is(tmp_path: Path, simulator: Simulator) -> None:
    """Protects programs that ask for `claude-code`: without Claude Code it is the default model."""
    async with moved(tmp_path, simulator, _SETTINGS) as found:
        names = await asyncio.to_thread(found.python, PYTHON + "text = response.choices[0].message.content\n")
        assert "Hello, Claude!" in str(names["text"])
        assert found.asked[0].model.startswith("claude-sonnet-")


@pytest.mark.needs("node", "npm")
async def test_its_node_client_works_as_it_is(tmp_path: Path, simulator: Simulator) -> None:
    """Protects programs of Node; what the client is asked is ours, as the document stops before that."""
    folder = await asyncio.to_thread(node_programs, "node")
    async with moved(tmp_path, simulator, _SETTINGS) as found:
        assert "Hello, Node!" in await found.node(folder, NODE + _ASKING)


async def test_its_fallbacks_are_taken_over(tmp_path: Path, simulator: Simulator) -> None:
    """Protects those who have configured some: both are in the pool under their names, as last resorts."""
    settings = {**_SETTINGS, **environment(FALLBACKS), "ADMIN_KEY": "an-administrators-key"}
    async with moved(tmp_path, simulator, settings) as found:
        line = 'curl http://localhost:8082/admin/pool -H "Authorization: Bearer an-administrators-key"'
        shown = (await found.shell(line)).body
        assert '"name":"OpenAI","kind":"openai"' in shown
        assert '"name":"Claude","kind":"anthropic"' in shown
        assert "your-openai-api-key" not in shown


@pytest.mark.needs("curl")
async def test_fallbacks_answer_in_their_order_while_claude_code_fails(
    tmp_path: Path, simulator: Simulator
) -> None:
    """Protects those who rely on them: one's own Claude Code first, then each in turn, and the log says which."""
    claude_program()
    program = await asyncio.to_thread(fake_claude, tmp_path / "fake", "exits")
    # only at its own address is the second one Anthropic's, where the retired model of the example has a successor
    urls = {
        "FALLBACK_API_URL_1": f"{simulator.url}/v1",
        "FALLBACK_API_URL_2": f"{simulator.url}/other/v1",
        "FALLBACK_API_MODEL_2": "example-model",
    }
    login = {"CLAUDE_CODE": "1", "CLAUDE_BINARY_PATH": str(program), "HOME": str(tmp_path)}
    settings = {"API_KEY": "your-api-key", **environment(FALLBACKS), **urls, **login}
    async with moved(tmp_path, simulator, settings) as found:
        assert "Hello" in (await found.shell(CURL)).text
        simulator.script("your-openai-api-key", then=Step("status", status=500))
        assert "Hello" in (await found.shell(CURL)).text
        answered = [(one.key, one.status) for one in simulator.record.requests]
        assert answered[0] == ("your-openai-api-key", 200)
        assert answered[-1] == ("your-anthropic-api-key", 200)
        assert [key for key, _ in answered].count("your-anthropic-api-key") == 1
        await found.program.wrote("credential=Claude")
        assert "credential=OpenAI" in found.program.output
    assert await asyncio.to_thread(starts, tmp_path / "fake")


def test_the_page_names_its_settings() -> None:
    """Protects those who move from searching."""
    page = (ROOT / "docs" / "moving.md").read_text(encoding="utf-8")
    part = page.partition("## claude-code-api (Go)")[2].partition("\n## ")[0]
    for name in ("API_KEY", *("FALLBACK_API_" + what for what in ("NAME", "URL", "KEY", "MODEL"))):
        assert name in part
