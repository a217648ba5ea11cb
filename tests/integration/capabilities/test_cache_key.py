"""What becomes of a name for the prompt cache where upstreams have no such field: it shows in who is asked."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import pytest

from proxy.capabilities import CELLS, Feature, Front, Verdict
from proxy.credentials import Kind
from tests.support.capabilities.probe import MODEL
from tests.support.claude_code import claude_program
from tests.support.gateway import CLIENT_KEY
from tests.support.house import House, read_answer
from tests.support.inside import house_inside
from tests.support.web_sessions import COOKIES, sessions

_EMULATED: Final = sorted(
    kind
    for (feature, _, kind), cell in CELLS.items()
    if feature is Feature.CACHE_KEY and cell.verdict is Verdict.EMULATED
)
_HELLO: Final = {"role": "user", "content": "Hello!"}
_FIRST: Final = [_HELLO]
_LATER: Final = [_HELLO, {"role": "assistant", "content": "Hm."}, {"role": "user", "content": "And?"}]


def _entries(kind: Kind, url: str) -> list[Mapping[str, object]]:
    if kind is Kind.CLAUDE_WEB:
        return sessions(*COOKIES)(url)
    secret = "token" if kind is Kind.CLAUDE_CODE else "key"
    return [{"name": name, "kind": kind, secret: f"key-of-{name}"} for name in ("one", "two")]


async def _answered_by(running: House, key: str, messages: list[dict[str, str]]) -> str:
    body = msgspec.json.encode({"model": MODEL, "prompt_cache_key": key, "messages": messages})
    headers = {"content-type": "application/json", "authorization": f"Bearer {CLIENT_KEY}"}
    url = f"{running.server.url}/v1/chat/completions"
    async with running.session.post(url, data=body, headers=headers) as response:
        answer = await read_answer(response)
    assert answer.status == 200, answer.body
    return str(answer.headers["x-carousel-credential"])


def test_somebody_emulates_it() -> None:
    """Protects the test below from testing nothing."""
    assert _EMULATED == [Kind.ANTHROPIC, Kind.CLAUDE_CODE, Kind.CLAUDE_WEB]
    assert CELLS[Feature.CACHE_KEY, Front.CHAT, Kind.OPENAI].verdict is Verdict.CARRIED


@pytest.mark.parametrize("kind", _EMULATED)
async def test_a_conversation_goes_back_to_whoever_answered_under_its_cache_key(
    kind: Kind, tmp_path: Path
) -> None:
    """Protects caches: two conversations that begin alike are told apart by their keys, and each stays where it was."""
    if kind is Kind.CLAUDE_CODE:
        claude_program()
    async with house_inside(tmp_path, {}, partial(_entries, kind)) as (running, _):
        first = {key: await _answered_by(running, key, _FIRST) for key in ("erasmus", "more")}
        assert len(set(first.values())) == 2
        for key in ("erasmus", "more", "more", "erasmus"):
            assert await _answered_by(running, key, _LATER) == first[key]
