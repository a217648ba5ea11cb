"""Moving here from claude-code-api (Rust): its settings, configuration file, curl lines and clients' programs.

From https://github.com/ZhangHanDong/claude-code-api-rs (MIT licence). Its conversations have a folder of their own.
"""

import asyncio
import base64
import re
from pathlib import Path
from typing import Final

import msgspec
import pytest

from proxy.simulator import Simulator
from tests.support.moving import environment, moved
from tests.support.node import node_programs
from tests.support.pictures import jpeg
from tests.support.program import ROOT

_OPEN: Final = {"ANTHROPIC_API_KEYS": "k1", "REQUIRE_AUTH": "false"}
VARIABLES: Final = """\
# Server configuration
CLAUDE_CODE__SERVER__HOST=0.0.0.0
CLAUDE_CODE__SERVER__PORT=8080

# Claude CLI configuration
CLAUDE_CODE__CLAUDE__COMMAND=claude
CLAUDE_CODE__CLAUDE__TIMEOUT_SECONDS=300
CLAUDE_CODE__CLAUDE__MAX_CONCURRENT_SESSIONS=10
CLAUDE_CODE__CLAUDE__USE_INTERACTIVE_SESSIONS=true

# File access permissions
CLAUDE_CODE__FILE_ACCESS__SKIP_PERMISSIONS=false
CLAUDE_CODE__FILE_ACCESS__ADDITIONAL_DIRS='["/path1", "/path2"]'

# Cache configuration
CLAUDE_CODE__CACHE__ENABLED=true
CLAUDE_CODE__CACHE__MAX_ENTRIES=1000
CLAUDE_CODE__CACHE__TTL_SECONDS=3600

# Conversation management
CLAUDE_CODE__CONVERSATION__MAX_HISTORY_MESSAGES=20
CLAUDE_CODE__CONVERSATION__SESSION_TIMEOUT_MINUTES=30
"""
TOML: Final = """\
[server]
host = "0.0.0.0"
port = 8080

[claude]
command = "claude"
timeout_seconds = 300
max_concurrent_sessions = 10
use_interactive_sessions = true  # Enable process reuse for faster responses

[file_access]
skip_permissions = false
additional_dirs = ["/Users/me/projects", "/tmp"]
"""
QUICK: Final = """\
curl -X POST http://localhost:8080/v1/chat/completions \\
  -H "Content-Type: application/json" \\
  -d '{
    "model": "claude-opus-4-20250514",
    "messages": [
      {"role": "user", "content": "Hello, Claude!"}
    ]
  }'
"""
IMAGE: Final = """\
curl -X POST http://localhost:8080/v1/chat/completions \\
  -H "Content-Type: application/json" \\
  -d '{
    "model": "claude-opus-4-20250514",
    "messages": [{
      "role": "user",
      "content": [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "/path/to/image.png"}}
      ]
    }]
  }'
"""
CLIENT: Final = """\
import openai

client = openai.OpenAI(
    base_url="http://localhost:8080/v1",
    api_key="not-needed"  # API key is not required
)
"""
WHOLE: Final = """\
response = client.chat.completions.create(
    model="claude-opus-4-20250514",
    messages=[
        {"role": "user", "content": "Write a hello world in Python"}
    ]
)

print(response.choices[0].message.content)
"""
STREAMED: Final = """\
stream = client.chat.completions.create(
    model="claude-opus-4-20250514",
    messages=[{"role": "user", "content": "Write a long story"}],
    stream=True
)

for chunk in stream:
    if chunk.choices[0].delta.content:
        print(chunk.choices[0].delta.content, end="")
"""
NODE: Final = """\
const OpenAI = require('openai');

const client = new OpenAI({
  baseURL: 'http://localhost:8080/v1',
  apiKey: 'not-needed'
});

async function chat() {
  const response = await client.chat.completions.create({
    model: 'claude-opus-4-20250514',
    messages: [{ role: 'user', content: 'Hello!' }]
  });

  console.log(response.choices[0].message.content);
}
"""
LANGCHAIN: Final = """\
response = client.chat.completions.create(
    messages=[{"content": "Explain quantum computing", "role": "user"}],
    model="claude-opus-4-20250514",
    stream=False,
)
print(response.choices[0].message.content)
"""
OLD_LANGCHAIN: Final = LANGCHAIN.replace("stream=False,", "stream=False, n=1, temperature=0.7,")
"""What ``llm.invoke`` asks OpenAI's client for, now and in the days of ``langchain.chat_models``."""


@pytest.mark.needs("curl")
@pytest.mark.parametrize("how", ["variables", "file"])
async def test_its_configuration_works_as_it_is(tmp_path: Path, simulator: Simulator, how: str) -> None:
    """Protects whoever brings the variables or `config/local.toml` along; what the file says is what holds."""
    settings = environment(VARIABLES) if how == "variables" else {}
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "local.toml").write_text(TOML if how == "file" else "")
    async with moved(tmp_path, simulator, {**_OPEN, **settings}) as found:
        assert "Hello, Claude!" in (await found.shell(QUICK)).text
        again = (await found.shell(QUICK)).text
        assert "Hello, Claude!" in again
        assert len(found.asked) == (1 if how == "variables" else 2)
        assert found.asked[0].model.startswith("claude-opus-")


@pytest.mark.needs("curl")
async def test_an_image_is_read_where_its_folder_is_opened(tmp_path: Path, simulator: Simulator) -> None:
    """Protects its image line: the path has to lie below a directory that the setting names, else it is refused."""
    picture = tmp_path / "pictures" / "image.png"
    picture.parent.mkdir()
    content = jpeg(64, 48)
    picture.write_bytes(content)
    settings = {**_OPEN, "CLAUDE_CODE__FILE_ACCESS__ADDITIONAL_DIRS": f'["{picture.parent}"]'}
    async with moved(tmp_path, simulator, settings) as found:
        assert "What is this?" in (await found.shell(IMAGE, {"/path/to/image.png": str(picture)})).text
        assert base64.b64encode(content).decode() in str(found.asked[0].messages)
        assert "image_url.url" in (await found.shell(IMAGE)).body


async def test_its_python_programs_work_as_they_are(
    tmp_path: Path, simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """Protects programs without a key, whole and streamed."""
    async with moved(tmp_path, simulator, _OPEN) as found:
        for example, asked in ((WHOLE, "hello world in Python"), (STREAMED, "a long story")):
            await asyncio.to_thread(found.python, CLIENT + example)
            assert asked in capsys.readouterr().out


async def test_what_langchain_sends_is_answered(
    tmp_path: Path, simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """Protects its example of LangChain, whose library is not here: the test makes the call that it makes."""
    async with moved(tmp_path, simulator, _OPEN) as found:
        for example in (LANGCHAIN, OLD_LANGCHAIN):
            await asyncio.to_thread(found.python, CLIENT + example)
            assert "Explain quantum computing" in capsys.readouterr().out


@pytest.mark.needs("curl")
async def test_a_page_in_a_browser_may_ask_and_each_answer_has_an_id(
    tmp_path: Path, simulator: Simulator
) -> None:
    """Protects what it promises of web applications and of audit trails: the one by a setting, the other always."""
    page = {"CORS_ORIGINS": "https://app.example"}
    line = QUICK.replace("curl ", "curl -i -H 'Origin: https://app.example' ")
    async with moved(tmp_path, simulator, {**_OPEN, **page}) as found:
        heads = [(await found.shell(line)).body.lower().partition("\r\n\r\n")[0] for _ in range(2)]
        assert all("access-control-allow-origin: https://app.example" in head for head in heads)
        first, second = (re.findall(r"^x-request-id: (req_\w+)", head, re.MULTILINE) for head in heads)
        assert len({*first, *second}) == 2


@pytest.mark.needs("node", "npm")
async def test_its_node_program_works_as_it_is(tmp_path: Path, simulator: Simulator) -> None:
    """Protects programs of Node; the example defines a function, which is called here."""
    folder = await asyncio.to_thread(node_programs, "node")
    async with moved(tmp_path, simulator, _OPEN) as found:
        assert "Hello!" in await found.node(folder, NODE + "\nchat();\n")


@pytest.mark.needs("curl")
async def test_its_statistics_and_health_answer(tmp_path: Path, simulator: Simulator) -> None:
    """Protects what watches it: both addresses, without a key where none is needed."""
    async with moved(tmp_path, simulator, _OPEN) as found:
        await found.shell(QUICK)
        told = msgspec.json.decode((await found.shell("curl http://localhost:8080/stats")).body)
        assert {"requests", "errors", "tokens", "active_sessions", "conversations", "cache"} <= set(told)
        health = msgspec.json.decode((await found.shell("curl http://localhost:8080/health")).body)
        assert health["status"] == "healthy"


async def test_its_log_level_is_read(tmp_path: Path, simulator: Simulator) -> None:
    """Protects start lines that begin with `RUST_LOG=info`."""
    async with moved(tmp_path, simulator, {**_OPEN, "RUST_LOG": "info"}) as found:
        assert "listens on" in found.program.output


def test_the_page_names_its_settings() -> None:
    """Protects those who move from searching."""
    page = (ROOT / "docs" / "moving.md").read_text(encoding="utf-8")
    part = page.partition("## claude-code-api (Rust)")[2].partition("\n## ")[0]
    assert [name for name in environment(VARIABLES) if name.split("__")[-1] not in part] == []
