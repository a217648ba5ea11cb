"""What clients say is never told in the log, and what they choose to be called by never becomes a line or a field."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import msgspec
import pytest
import pytest_asyncio

from proxy.simulator import ANY_KEY, Simulator, Step
from tests.security.wire import ask, chat_body, messages_body
from tests.support.gateway import ADMIN_KEY, Gateway, gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")

_LINE: Final = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (debug|info|warning|error|critical) +\S*: \S"
)
_FIELD: Final = re.compile(r' (\w+)=("(?:[^"\\]|\\.)*"|\S+)')
_FORGED: Final = (
    "2026-01-01T00:00:00.000Z info    gate: forged outcome=success",
    '{"event":"forged","outcome":"success"}',
)
_ENDS: Final = ("\n", "\r\n", "\r", "\u2028", "\x85", "\x0b")
_FORGING: Final = (
    *(f"m{end}{line}{end}" for end in _ENDS for line in _FORGED),
    "\x1b[2K\x1b[1Gforged",
    "\x1b]0;forged\x07",
    "\x9b2Kforged",
    "\x7f\u202eforged\U000e0001",
    'm" outcome="success" forged="1',
    "m outcome=success forged=1",
)
_PROMPT: Final = "marker-of-a-prompt-7c1f"
_ANSWER: Final = "marker-of-an-answer-5e2a"
_TOLD: Final = (
    Step(text=_ANSWER),
    Step(do="status", status=500, message=f"Cannot answer {_PROMPT}"),
    Step(do="status", status=400, message=f"messages.0: {_PROMPT}"),
    Step(do="raw", status=200, body=_ANSWER, headers={"content-type": "application/json"}),
    Step(do="reset_mid_stream", text=_ANSWER),
    Step(do="error_event_mid", type="overloaded_error", message=f"Lost {_PROMPT}", text=_ANSWER),
)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["text", "json"])
async def talking(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, claude: Simulator
) -> AsyncIterator[Gateway]:
    """A gateway that logs everything it ever would, in one format or the other."""
    settings = {
        "ANTHROPIC_API_KEYS": "k1",
        "ANTHROPIC_BASE_URL": claude.url,
        "LOG_FORMAT": request.param,
        "RETRY_COUNT": "0",
        "POOL_STRIKES": "1000",
        "POOL_STRIKE_WINDOW_CALLS": "1000",
    }
    async with gateway(tmp_path_factory.mktemp(request.param), settings) as running:
        yield running


def _fields(line: str) -> dict[str, object]:
    """What a reader, or a program, takes out of a line."""
    if line.startswith("{"):
        return msgspec.json.decode(line, type=dict[str, object])
    return dict(_FIELD.findall(line))


async def _lines_of(server: Gateway, text: str) -> list[str]:
    """The lines that one name chosen by a client left behind, once the request's own is among them."""
    before = len(server.output)
    plain = text.encode().replace(b"\r", b"").replace(b"\n", b"")
    headers = {"user-agent": plain, "x-request-id": plain}
    await ask(server.url, "/v1/messages", messages_body(), headers=headers)
    for make, path in ((messages_body, "/v1/messages"), (chat_body, "/v1/chat/completions")):
        answer = await ask(server.url, path, make(model=text, metadata={"user_id": text}, user=text))
        await server.program.wrote(answer.header("x-request-id") or "an id of ours")
    return server.output[before:]


@pytest.mark.parametrize("text", _FORGING, ids=ascii)
async def test_no_name_a_client_chooses_becomes_a_line_or_a_field_of_the_log(
    talking: Gateway, text: str
) -> None:
    """Protects whoever reads the log, or counts it, from lines that somebody else wrote."""
    lines = await _lines_of(talking, text)
    assert lines
    for line in lines:
        assert line.startswith("{") or _LINE.match(line), line
        assert line.rstrip("\n").isprintable(), line
        fields = _fields(line)
        assert "forged" not in fields
        assert fields.get("outcome") != "success" or fields.get("path") not in {
            "/v1/messages",
            "/v1/chat/completions",
        }


async def test_nothing_that_was_said_is_told_but_to_its_client(
    talking: Gateway, claude: Simulator, tmp_path: Path
) -> None:
    """Protects what people ask and are answered: no log, page, metric or file of ours holds a word of it."""
    heard = b""
    for step in _TOLD:
        for path, make in (("/v1/messages", messages_body), ("/v1/chat/completions", chat_body)):
            for stream in (False, True):
                claude.script(ANY_KEY, then=step)
                body = (
                    make(_PROMPT, stream=stream, system=_PROMPT) if make is messages_body else make(_PROMPT)
                )
                heard += (await ask(talking.url, path, body)).body
                claude.reset()
    looks = ("pool", "requests?limit=1000", "usage", "audit", "keys", "pool/explain?model=claude-sonnet-5-5")
    pages = [f"/admin/{path}" for path in looks]
    pages += ["/metrics", "/stats", "/openapi.json", "/dashboard/history", "/dashboard/config", "/dashboard"]
    shown = [await ask(talking.url, path, method="GET", key=ADMIN_KEY) for path in pages]
    files = [path.read_bytes() for path in (talking.program.folder / "data").rglob("*") if path.is_file()]
    kept = b"".join([*(answer.body for answer in shown), *files, "".join(talking.output).encode()])
    for marker in (_PROMPT, _ANSWER):
        assert marker.encode() in heard
        assert marker.encode() not in kept
    assert {answer.status for answer in shown} == {200}
    assert b"api-1" in kept
