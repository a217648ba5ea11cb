"""No secret leaves the process but to where it belongs, whatever goes wrong."""

import asyncio
from base64 import b64encode
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec
import pytest
import pytest_asyncio

from proxy.simulator import ANY_KEY, Simulator, Step
from tests.security.wire import chat_body, converse, messages_body, request
from tests.support.canaries.spellings import CANARIES, found
from tests.support.gateway import Gateway, gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")

_CLIENT: Final = CANARIES["client key"]
_SECOND: Final = CANARIES["second client key"]
_ADMIN: Final = CANARIES["admin key"]
_UPSTREAM: Final = [CANARIES[f"upstream key {number}"] for number in (1, 2, 3)]
_HURRIED: Final = {
    "RELAY_FIRST_EVENT_TIMEOUT_S": "1",
    "RELAY_UNARY_TIMEOUT_S": "1",
    "RELAY_IDLE_TIMEOUT_S": "1",
    "RETRY_COUNT": "0",
    "POOL_MIN_ATTEMPT_S": "0",
    "POOL_STRIKES": "1000",
    "POOL_STRIKE_WINDOW_CALLS": "1000",
    "POOL_RETRY_AFTER_MAX_S": "1",
    "POOL_RATE_LADDER_S": "1",
    "POOL_AUTH_COOLING_S": "1",
    "POOL_BILLING_COOLING_S": "1",
    "POOL_BILLING_MAX_S": "1",
    "POOL_BLOCKED_COOLING_S": "1",
    "POOL_BLOCKED_MAX_S": "1",
    "POOL_CLOSED_MODEL_S": "1",
}
"""Nothing is waited for long, and no credential is out of use for long."""
_ALIASES: Final = ("api-1", "api-2", "api-3", "variable")
_FORMATS: Final = ("text", "json")
_QUOTED: Final = " ".join([*_UPSTREAM, _CLIENT])

_FAULTS: Final = (
    *(Step(do="status", status=status) for status in (400, 404, 409, 413, 418, 500, 503, 529)),
    Step(do="status", status=400, message=f"You sent {_QUOTED}"),
    Step(do="status", status=500, body=_QUOTED),
    Step(do="status", status=418, body=_QUOTED, headers={"x-echo": _UPSTREAM[0]}),
    Step(do="redirect", location=f"http://127.0.0.1:1/?key={_UPSTREAM[0]}"),
    Step(do="garbage", body=f"HTTP/1.1 {_QUOTED}\r\n\r\n"),
    Step(do="garbage", body=f"{_QUOTED}\r\n\r\n"),
    Step(do="garbage", body=f"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{_QUOTED}\r\n"),
    Step(do="raw", status=200, body=_QUOTED, headers={"content-type": "application/json"}),
    Step(do="raw", status=200, body=f"data: {_QUOTED}\n\n", headers={"content-type": "text/event-stream"}),
    Step(do="success", headers={"request-id": _UPSTREAM[0], "set-cookie": f"a={_UPSTREAM[0]}"}),
    Step(do="success", headers={"anthropic-organization-id": _UPSTREAM[1]}),
    Step(do="wrong_content_type"),
    Step(do="reset_before_headers"),
    Step(do="close_before_headers"),
    Step(do="reset_before_event"),
    Step(do="empty_stream"),
    Step(do="reset_mid_stream"),
    Step(do="end_without_stop"),
    Step(do="error_event_first", type="overloaded_error"),
    Step(do="error_event_mid", type="overloaded_error", message=_QUOTED),
    Step(do="stall_before_headers", seconds=0),
)
_REFUSALS: Final = (
    Step(do="status", status=403, message=f"You sent {_QUOTED}"),
    Step(do="status", status=404, message=f"model: {_QUOTED}"),
    Step(do="status", status=429, message=f"You sent {_QUOTED}"),
    Step(do="status", status=402, message=f"You sent {_QUOTED}"),
    Step(do="status", status=403, body=f"<html>{_QUOTED}</html>"),
    Step(do="status", status=401, message=f"You sent {_QUOTED}"),
)


def _bad_requests() -> list[bytes]:
    """What clients do with keys that they should not."""
    plain = messages_body()
    return [
        request("/v1/messages", plain, key=_CLIENT[:-1]),
        request("/v1/messages", plain, key=_ADMIN),
        request("/v1/messages", plain, key=_CLIENT, headers={"x-api-key": _ADMIN}),
        request("/v1/messages", plain, key=None, headers={"authorization": f"Basic {_CLIENT}"}),
        request("/v1/messages", plain, key=_CLIENT, headers={"anthropic-version": _CLIENT}),
        request("/v1/messages", plain, key=_CLIENT, headers={"host": f"{_CLIENT}/?"}),
        request("/v1/messages", plain, key=_CLIENT, headers={"x-request-id": _ADMIN}),
        request("/v1/messages", _CLIENT.encode(), key=_CLIENT),
        request("/v1/messages", messages_body(model=_CLIENT), key=_CLIENT),
        request("/v1/chat/completions", chat_body(model=_CLIENT), key=_CLIENT),
        request("/v1/chat/completions", chat_body("Hello", **{_CLIENT: 1}), key=_CLIENT),
        request("/v1/chat/completions", chat_body(stop=[_CLIENT] * 9), key=_CLIENT),
        request("/v1/chat/completions", chat_body(messages=[{"role": _CLIENT, "content": ""}]), key=_CLIENT),
        request("/v1/chat/completions", chat_body(temperature=_CLIENT), key=_CLIENT),
        request(f"/v1/models?key={quote(_CLIENT, safe='')}", method="GET", key=_CLIENT),
        request(f"/v1/models?limit={quote(_CLIENT, safe='')}", method="GET", key=_CLIENT),
        request(f"/v1/models/{quote(_CLIENT, safe='')}", method="GET", key=_CLIENT),
        request(f"/{quote(_CLIENT, safe='')}", method="GET", key=_CLIENT),
        request(f"/{b64encode(_CLIENT.encode()).decode()}", method="GET", key=_CLIENT),
        request("/v1/models", method=_CLIENT.partition("/")[0], key=_CLIENT),
        request("/admin/pool", method="GET", key=_CLIENT),
        request("/admin/pool", method="GET", key=_ADMIN),
        request("/admin/pool", method="POST", key=_ADMIN),
        request("/v1/models", method="GET", key=_CLIENT),
        request("/health", method="GET", key=_CLIENT),
        request("/ready", method="GET", key=_CLIENT),
    ]


async def _round(server: Gateway, claude: Simulator) -> list[bytes]:
    """Everything that can go wrong once, in both dialects, whole and streamed; gives the bytes of every answer."""
    seen = []
    for fault in (*_FAULTS, *_REFUSALS):
        await _recovered(server)
        for path, make in (("/v1/messages", messages_body), ("/v1/chat/completions", chat_body)):
            for stream in (False, True):
                claude.script(ANY_KEY, then=fault)
                data = request(path, make("Hello", stream=stream), key=_CLIENT)
                seen.append((await converse(server.url, data)).wire)
                claude.reset()
    seen += await _elsewhere(server)
    seen += [(await converse(server.url, data, first=True)).wire for data in _bad_requests()]
    seen += [(await converse(server.url, data, first=True)).wire for data in _administration()]
    seen += [(await converse(server.url, data, first=True)).wire for data in _pages()]
    return seen


async def _elsewhere(server: Gateway) -> list[bytes]:
    """What is answered to questions for every credential in its turn, until Claude Code was asked too.

    Only the second client may use that one: how long a program takes to start would else decide about the answers of
    the others.
    """
    seen: list[bytes] = []
    async with asyncio.timeout(120):
        while not (seen and b"x-carousel-credential: code\r\n" in seen[-1].lower()):
            question = request("/v1/messages", messages_body(f"{len(seen)}"), key=_SECOND)
            seen.append((await converse(server.url, question, first=True)).wire)
    return seen


def _administration() -> list[bytes]:
    """What an operator looks at afterwards, and what goes wrong with a key in the wrong place."""
    key = quote(_ADMIN, safe="")
    paths = ("pool", "requests?limit=1000", f"pool/explain?model={key}")
    wrong = (
        f"requests/{key}",
        f"requests?credential={key}",
        f"requests?{key}=1",
        f"pool/explain?client={key}",
    )
    looks = [request(f"/admin/{path}", method="GET", key=_ADMIN) for path in (*paths, *wrong)]
    return [*looks, request(f"/admin/pool/{key}/disable", key=_ADMIN)]


def _pages() -> list[bytes]:
    """Everything else there is to look at, for programs and for people, with the key that shows the most."""
    shown = (
        *("/metrics", "/stats", "/openapi.json", "/admin/usage", "/admin/usage?format=csv", "/admin/audit"),
        *("/admin/keys", "/dashboard", "/dashboard/config", "/dashboard/history", "/dashboard/login"),
    )
    looks = [request(path, method="GET", key=_ADMIN) for path in shown]
    return [
        *looks,
        *(request(f"/v1/{path}", method="GET", key=_CLIENT) for path in ("models", "capabilities")),
    ]


async def _recovered(server: Gateway) -> None:
    """Have every credential used again, whatever became of it before."""
    for alias in _ALIASES:
        order = request(f"/admin/pool/{alias}/reset", key=_ADMIN)
        # what it changes holds in this process; others cannot be told, because their Redis is not there
        assert (await converse(server.url, order)).status in {200, 503}
    async with asyncio.timeout(120):
        while True:
            # a way out that rests is no credential's, and goes on by itself after a second
            talk = await converse(server.url, request("/v1/messages", messages_body(), key=_CLIENT))
            if talk.status == 200:
                return
            await asyncio.sleep(0.05)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """Everything processes with canaries for secrets have told in a bad hour, by format of their logs and where."""
    folders = [tmp_path_factory.mktemp(log_format) for log_format in _FORMATS]
    hours = await asyncio.gather(*map(_bad_hour, folders, _FORMATS))
    return dict(zip(_FORMATS, hours, strict=True))


async def _bad_hour(folder: Path, log_format: str) -> dict[str, bytes]:
    claude = Simulator()
    await claude.start()
    settings = _settings(folder, claude) | {"LOG_FORMAT": log_format, "DRAIN_SECONDS": "1"}
    async with gateway(folder, settings) as running:
        seen = await _round(running, claude)
        command_line = _command_line(running)
        await running.stop()
    await claude.stop()
    return {
        "answers": b"\n".join(seen),
        "output": "".join(running.output).encode(),
        "data folder": b"".join(
            path.read_bytes() for path in sorted((folder / "data").rglob("*")) if path.is_file()
        ),
        "command line": command_line,
    }


def _command_line(running: Gateway) -> bytes:
    """How the process and all below it were started, which every user of the machine can read."""
    family = {running.process.pid}
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(") ")[2].split()[1])
    while grown := {child for child, parent in parents.items() if parent in family} - family:
        family |= grown
    return b"".join(Path(f"/proc/{number}/cmdline").read_bytes() for number in sorted(family))


def _settings(folder: Path, claude: Simulator) -> dict[str, str]:
    """A configuration in which every kind of secret is a canary."""
    where = urlsplit(claude.url)
    entries = [
        {"name": "variable", "kind": "anthropic", "key": "$TEAM_KEY", "base_url": claude.url, "tier": 1},
        {
            "name": "web",
            "kind": "claude_web",
            "session_key": CANARIES["claude.ai cookie"],
            "base_url": claude.site_url,
            "clients": ["env-2"],
        },
        {
            "name": "code",
            "kind": "claude_code",
            "token": CANARIES["Claude Code token"],
            "base_url": claude.url,
            "clients": ["env-2"],
        },
    ]
    file = folder / "sessions.json"
    file.write_bytes(msgspec.json.encode({"credentials": entries}))
    file.chmod(0o600)
    return {
        "API_KEYS": f"{_CLIENT},{_SECOND}",
        "API_KEY": _CLIENT,
        "ADMIN_KEY": _ADMIN,
        "SECRET_KEY": CANARIES["secret key"],
        "ANTHROPIC_API_KEYS": ",".join(_UPSTREAM),
        "ANTHROPIC_BASE_URL": claude.url,
        "TEAM_KEY": CANARIES["key from a variable"],
        "PROXY": f"http://user:{CANARIES['password of the proxy']}@{where.hostname}:{where.port}",
        "REDIS_URL": f"redis://:{CANARIES['password of Redis']}@127.0.0.1:1/0",
        "FALLBACK_API_URL_1": "https://fallback.invalid/v1",
        "FALLBACK_API_KEY_1": CANARIES["fallback key"],
        "FALLBACK_API_MODEL_1": "m",
        **_HURRIED,
    }


@pytest.mark.parametrize("log_format", _FORMATS)
@pytest.mark.parametrize("where", ["answers", "output", "data folder", "command line"])
async def test_no_secret_is_told_anywhere_whatever_went_wrong(
    told: dict[str, dict[str, bytes]], log_format: str, where: str
) -> None:
    """Protects every secret there is, in clear and in the usual encodings, on every path of failure."""
    assert found(told[log_format][where]) == []


@pytest.mark.parametrize("log_format", _FORMATS)
async def test_the_round_told_of_every_kind_of_failure(
    told: dict[str, dict[str, bytes]], log_format: str
) -> None:
    """Protects the test above from looking at a server that did nothing."""
    one = told[log_format]
    statuses = {int(part[:3]) for part in one["answers"].split(b"HTTP/1.1 ")[1:]}
    assert statuses >= {200, 400, 401, 403, 404, 405, 413, 429, 502, 503}
    assert one["output"].count(b"request") > 100
    assert b"credential changed state" in one["output"]
    assert b"api-1" in one["answers"]
    assert b'"outcome":"overloaded"' in one["answers"]
    assert b"app.py" in one["command line"]
    assert b"credential=code" in one["output"] or b'"credential":"code"' in one["output"]
    for page in (b"carousel_requests", b'"openapi"', b"<!doctype html>", b'"data":['):
        assert page in one["answers"].lower()


async def test_upstream_keys_went_where_they_belong(server: Gateway, claude: Simulator) -> None:
    """Protects the canaries above from being keys nobody used."""
    talk = await converse(server.url, request("/v1/messages", messages_body()))
    assert talk.status == 200
    assert [received.key for received in claude.record.requests] == ["k1"]


@pytest.mark.parametrize("name", sorted(CANARIES))
async def test_a_secret_would_be_found_in_any_spelling(name: str) -> None:
    """Protects the search itself."""
    secret = CANARIES[name]
    raw = secret.encode()
    for text in (
        raw,
        quote(secret, safe="").encode(),
        b64encode(raw),
        b64encode(b"Bearer " + raw),
        b64encode(b"x:" + raw + b":y"),
        raw.hex().encode(),
        raw[:12],
    ):
        assert found(b"before " + text + b" after") == [name]
    assert found(b"nothing here") == []
