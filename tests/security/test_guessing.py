"""Keys are not guessed, web pages call only what they may, and no key is found where it was made."""

import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Final

import msgspec
import pytest

from proxy.simulator import Simulator
from tests.security.wire import ask
from tests.support.gateway import ADMIN_KEY, CLIENT_KEY, Gateway, gateway
from tests.support.program import ROOT

_PAGE: Final = "https://chat.example.com"
_FORM: Final = re.compile(rb"sk-carousel-[A-Za-z0-9_-]{43}")


def _settings(claude: Simulator, **more: str) -> dict[str, str]:
    return {"ANTHROPIC_API_KEYS": "k1", "ANTHROPIC_BASE_URL": claude.url, **more}


async def _tried(server: Gateway, key: str | None, path: str = "/v1/models", **headers: str) -> int:
    return (await ask(server.url, path, method="GET", key=key, headers=headers)).status


async def test_guesses_are_throttled_and_the_right_key_never_is(tmp_path: Path, simulator: Simulator) -> None:
    """Protects both kinds of keys; forwarded addresses are not believed, so they are no way out."""
    async with gateway(tmp_path, _settings(simulator)) as server:
        statuses = [await _tried(server, f"wrong-{number}") for number in range(8)]
        statuses += [await _tried(server, f"wrong-{number}", "/admin/pool") for number in range(4)]
        assert statuses == [401] * 10 + [429] * 2
        forged = {"x-forwarded-for": "192.0.2.1", "forwarded": "for=192.0.2.1"}
        assert await _tried(server, "wrong", **forged) == 429
        assert await _tried(server, CLIENT_KEY) == 200
        assert await _tried(server, ADMIN_KEY, "/admin/pool") == 200
        assert await _tried(server, None) == 401


async def test_a_page_may_ask_first_and_still_needs_a_key(tmp_path: Path, simulator: Simulator) -> None:
    """Protects administration and every other page; no answer lets cookies ride along."""
    async with gateway(tmp_path, _settings(simulator, CORS_ORIGINS=_PAGE)) as server:
        asking = {"origin": _PAGE, "access-control-request-method": "POST"}
        for path, status in (("/v1/messages", 204), ("/hf/v1/messages", 204), ("/admin/keys", 401)):
            answer = await ask(server.url, path, method="OPTIONS", key=None, headers=asking)
            assert answer.status == status, path
            assert answer.header("access-control-allow-credentials") is None
        evil = asking | {"origin": "https://evil.example.com"}
        answer = await ask(server.url, "/v1/messages", method="OPTIONS", key=None, headers=evil)
        assert (answer.status, answer.header("access-control-allow-origin")) == (401, None)
        assert await _tried(server, None, origin=_PAGE) == 401


async def test_a_made_key_is_in_its_answer_and_nowhere_else(tmp_path: Path, simulator: Simulator) -> None:
    """Protects keys from whoever reads the database, its copies, the log or the output of commands."""
    order = {"idempotency-key": "canary-order-1", "content-type": "application/json"}
    async with gateway(tmp_path, _settings(simulator)) as server:
        body = msgspec.json.encode({"name": "work"})
        found = [
            await ask(server.url, "/admin/keys", method="POST", key=ADMIN_KEY, body=body, headers=order)
            for _ in range(2)
        ]
        assert found[0].body == found[1].body
        key = str(msgspec.json.decode(found[0].body)["key"])
        assert await _tried(server, key) == 200
        for path in ("/admin/keys", "/admin/audit", "/admin/requests", "/admin/pool"):
            answer = await ask(server.url, path, method="GET", key=ADMIN_KEY)
            assert key.encode() not in answer.body
        await server.stop()
        output = "".join(server.output)
    command = subprocess.run(  # noqa: S603, ASYNC221 - our own program, and nothing else runs in this loop
        [sys.executable, str(ROOT / "app.py"), "keys", "new", "other"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path / "data")},
        capture_output=True,
        check=True,
    )
    assert len(_FORM.findall(command.stdout)) == 1
    assert _FORM.search(command.stderr) is None
    assert _FORM.search(output.encode()) is None
    for file in (tmp_path / "data").rglob("*"):
        text = file.read_bytes()
        for canary in (key.encode(), command.stdout.strip(), b"canary-order-1"):
            assert canary not in text, file


async def test_what_is_kept_of_a_key_is_its_digest_alone(tmp_path: Path, simulator: Simulator) -> None:
    """Protects against a column that holds more of a key than is needed to know it again."""
    async with gateway(tmp_path, _settings(simulator)) as server:
        await ask(server.url, "/admin/keys", method="POST", key=ADMIN_KEY, body=b'{"name": "work"}')
    database = sqlite3.connect(tmp_path / "data/carousel.db")
    (row,) = database.execute("SELECT name, digest, rules FROM client_keys").fetchall()
    database.close()
    assert (row[0], row[2]) == ("work", '{"credentials":[]}')
    assert re.fullmatch("[0-9a-f]{64}", row[1])


@pytest.mark.parametrize("field", ["admin", "role", "key", "digest", "owner", "revoked_unix_ms"])
async def test_a_field_nobody_offers_changes_nothing(
    tmp_path: Path, simulator: Simulator, field: str
) -> None:
    """Protects against a client key that is given more than its order could give it."""
    async with gateway(tmp_path, _settings(simulator)) as server:
        body = msgspec.json.encode({"name": "work", field: True})
        for key, status in ((CLIENT_KEY, 401), (ADMIN_KEY, 400)):
            answer = await ask(server.url, "/admin/keys", method="POST", key=key, body=body)
            assert answer.status == status
        listed = await ask(server.url, "/admin/keys", method="GET", key=ADMIN_KEY)
        assert listed.body == b'{"keys":[]}'
