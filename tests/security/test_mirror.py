"""A caller's claude.ai session shows nowhere: not in answers, logs, metrics, pages or files, whatever goes wrong."""

import asyncio
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec
import pytest
import pytest_asyncio

from proxy.simulator import Simulator, Step
from tests.support.canaries.spellings import found
from tests.support.gateway import ADMIN_KEY, gateway
from tests.support.house import Spoken, body_of, client, configuration, simulated
from tests.support.web_sessions import place_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

_COOKIE: Final = "sk-ant-sid01-Rk7mirrorcanaryWb46eGgMx9Gu3Bn8Lc2"
_CANARY: Final = {"a caller's cookie": _COOKIE, "its own part": _COOKIE.removeprefix("sk-ant-sid01-")}
_ORGANIZATION: Final = "0c4c93ec-0000-4000-8000-5a1d0f3b7c11"
_QUOTED: Final = f"Hello {_COOKIE} there"
_STEPS: Final = (
    Step(),
    Step("status", status=500, message=_QUOTED),
    Step("status", status=400, message=_QUOTED, call="complete"),
    Step("status", status=403, message=_QUOTED, call="complete"),
    Step("raw", status=200, body=_QUOTED, headers={"content-type": "application/json"}),
    Step("garbage", body=f"HTTP/1.1 200 {_QUOTED}\r\n\r\n"),
    Step("error_event_first", type="api_error", message=_QUOTED, call="complete"),
    Step("error_event_mid", type="overloaded_error", message=_QUOTED, call="complete"),
    Step("reset_mid_stream", call="complete"),
    Step("status", status=500, message=_QUOTED, call="delete"),
    Step("web_limit", call="complete", resets_in_s=1),
    Step("dead_cookie", call="complete"),
    Step("challenge", call="complete"),
)


def _settings(folder: Path, site: Simulator, log_format: str) -> dict[str, str]:
    """A mirror that tells all it has to tell."""
    return {
        **configuration(folder, site, ("k1",), None),
        "ENABLE_MIRROR_API": "true",
        "CLAUDE_WEB_BASE_URL": place_of(site.url),
        "TRUSTED_PROXIES": "127.0.0.1/32",
        "WRONG_KEYS_PER_MINUTE": "1000000",
        "POOL_BLOCKED_COOLING_S": "1",
        "LOG_LEVEL": "debug",
        "LOG_FORMAT": log_format,
    }


async def _told(folder: Path, log_format: str) -> dict[str, bytes]:
    """Everything a mirror has told in a bad hour, by where."""
    answers = []
    async with (
        simulated() as site,
        gateway(folder, _settings(folder, site, log_format)) as server,
        client() as session,
    ):
        for number, step in enumerate(_STEPS):
            # each time somebody else, as a stop holds for its caller and for the session
            cookie = f"{_COOKIE}{number}"
            site.script(cookie, then=step)
            for spoken in Spoken:
                for stream in (False, True):
                    headers = {"x-forwarded-for": f"192.0.2.{number}", "x-api-key": cookie}
                    body = body_of(spoken, stream=stream)
                    url = f"{server.url}/mirror{spoken.value}"
                    async with session.post(url, data=body, headers=headers) as response:
                        answers.append(str(response.headers).encode() + await _read(response.content))
            site.reset()
        for path in (quote(_COOKIE), f"mirror/v1/{_COOKIE}", f"mirror/v1/models?limit={_COOKIE}"):
            headers = {"authorization": f"Bearer {_COOKIE}:{_ORGANIZATION}"}
            async with session.get(f"{server.url}/{path}", headers=headers) as response:
                answers.append(await response.read())
        pages = []
        admin = {"authorization": f"Bearer {ADMIN_KEY}"}
        looks = (
            "admin/pool",
            "admin/requests?limit=1000",
            "admin/usage",
            "metrics",
            "stats",
            "admin/audit",
        )
        for path in (*looks, "dashboard/history", "admin/keys"):
            async with session.get(f"{server.url}/{path}", headers=admin) as response:
                assert response.status == 200
                pages.append(await response.read())
        await server.stop()
    files = [path.read_bytes() for path in sorted((folder / "data").rglob("*")) if path.is_file()]
    return {
        "answers": b"\n".join(answers),
        "pages": b"\n".join(pages),
        "output": "".join(server.output).encode(),
        "data folder": b"".join(files),
    }


async def _read(content: object) -> bytes:
    read = b""
    try:
        while chunk := await content.readany():  # type: ignore[attr-defined]  # a stream of aiohttp's
            read += chunk
    except Exception:  # noqa: BLE001 - a broken end is one of the things that go wrong
        return read
    return read


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """What was told in each format of the log."""
    formats = ("text", "json")
    hours = [_told(tmp_path_factory.mktemp(log_format), log_format) for log_format in formats]
    return dict(zip(formats, await asyncio.gather(*hours), strict=True))


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("where", ["answers", "pages", "output", "data folder"])
async def test_a_callers_cookie_is_told_nowhere(
    told: dict[str, dict[str, bytes]], log_format: str, where: str
) -> None:
    """Protects callers: what they lend for one request is in nothing that outlives it."""
    assert found(told[log_format][where], _CANARY) == []


async def test_the_hour_was_a_bad_one(told: dict[str, dict[str, bytes]]) -> None:
    """Protects the test above from looking at a mirror that did nothing."""
    one = told["json"]
    assert b'"client":"mirror"' in one["output"]
    lines = [line for line in one["pages"].split(b"\n") if b'"requests"' in line]
    statuses = {each["status"] for each in msgspec.json.decode(lines[0])["requests"]}
    assert statuses >= {200, 400, 401, 403, 429, 502, 503}
    assert b"its owner's to delete" in one["output"]
    assert _ORGANIZATION.encode() not in one["output"]
