"""Whose answers a caller may get, and which requests are looked for in memory at all."""

from pathlib import Path

import msgspec
import pytest
from aiohttp.test_utils import make_mocked_request

from proxy.clock import SystemClock
from proxy.credentials import Credential, Kind
from proxy.dispatch.cache import AnswerCache
from proxy.server.answers import owner_of_answers, question_of
from proxy.server.app import ROUTES
from proxy.settings import CacheSettings, CodePolicy, Policy
from proxy.telemetry.requests import HasLine
from proxy.upstreams.claude_code.runs import Runs
from proxy.upstreams.claude_code.saved import SavedSessions
from proxy.upstreams.claude_code.sessions import Limits
from proxy.upstreams.claude_code.upstream import ClaudeCode
from proxy.upstreams.http import WaysOut
from tests.support.gateway import CLIENT_KEY
from tests.unit.dispatch.building import bench, body, exchange, whole
from tests.unit.server.building import AUTHORIZED, client, keys, services

_MESSAGES = "/v1/messages"


def _owner(**headers: str) -> str:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return owner_of_answers(make_mocked_request("POST", _MESSAGES, headers=sent), keys())


def test_every_key_has_answers_of_its_own_wherever_it_is_sent() -> None:
    """Protects clients from each other, also where any key will do; and the key, of which nothing is kept."""
    own = _owner(x_api_key=CLIENT_KEY)
    assert own == _owner(authorization=f"Bearer {CLIENT_KEY}") == _owner(api_key=CLIENT_KEY)
    others = {_owner(x_api_key=f"{CLIENT_KEY}x"), _owner(x_api_key="not-needed"), _owner()}
    assert len({own, *others}) == 4
    assert CLIENT_KEY not in own


async def test_a_large_request_is_the_same_question_as_elsewhere() -> None:
    """Protects the other clients' streams: it is read beside the loop, by the same rules."""
    shared = services()
    cache = AnswerCache(CacheSettings(enabled=True), shared.clock)
    request = make_mocked_request("POST", _MESSAGES, headers=AUTHORIZED)
    large = body(messages=[{"role": "user", "content": "x" * 200_000}])
    spaced = msgspec.json.format(large, indent=2)
    found = [await question_of(exchange(raw), request, shared, cache) for raw in (large, spaced, body())]
    assert found[0] is not None
    assert found[0] == found[1] != found[2]
    assert await question_of(exchange(body(temperature=1)), request, shared, cache) is None


async def test_the_log_says_what_memory_did_and_a_hit_names_no_attempt() -> None:
    """Protects operators, who have to tell an answer from memory from one that was paid for."""
    house = bench(whole())
    shared = services(house)
    shared.cache = AnswerCache(CacheSettings(enabled=True), shared.clock)
    ended: list[HasLine] = []
    shared.record = ended.append
    async with client(shared, ROUTES) as asked:
        for _ in range(2):
            assert (await asked.post(_MESSAGES, data=body(), headers=AUTHORIZED)).status == 200
    lines = [each.line() for each in ended]
    assert [(line.cache, line.credential, line.attempts) for line in lines] == [
        ("miss", "api-1", 1),
        ("hit", None, None),
    ]


@pytest.mark.parametrize("joins", [False, True])
async def test_nothing_is_kept_where_mcp_servers_may_join_a_request(tmp_path: Path, *, joins: bool) -> None:
    """Protects clients from the old findings of a tool, and from one use of it for two requests."""
    shared = services()
    cache = AnswerCache(CacheSettings(enabled=True), shared.clock)
    request = make_mocked_request("POST", _MESSAGES, headers=AUTHORIZED)
    clock, own = (
        SystemClock(),
        Credential(name="own", kind=Kind.CLAUDE_CODE, secret=None, base_url="https://api.example"),
    )
    policy = CodePolicy(servers={"birds": b"{}"}, servers_join=joins)
    code = ClaudeCode(
        WaysOut(Policy()),
        Policy(),
        clock,
        folder=tmp_path,
        limits=Limits(processes=1, starts=1),
        credentials=[own],
        runs=Runs(policy, SavedSessions(tmp_path, clock, 60)),
    )
    shared.claude_code = code
    assert (await question_of(exchange(body()), request, shared, cache) is None) is joins
    code.follow([])
    assert await question_of(exchange(body()), request, shared, cache) is not None
    await code.close()
