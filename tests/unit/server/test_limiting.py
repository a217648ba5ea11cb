"""What a key may is kept to, and what an answer used is counted, however the answer ended."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
import msgspec
import pytest

from proxy.access.keys import random_key
from proxy.access.rules import Rules
from proxy.dispatch.ownership import Made
from proxy.exchange import Operation
from proxy.pool import Fault
from proxy.server.app import ROUTES
from proxy.settings import Settings
from proxy.tasks import finish_all
from tests.unit.dispatch.building import (
    HELLO,
    OPEN,
    START,
    WHOLE,
    Answer,
    Bench,
    bench,
    body,
    credential,
    refused,
    streamed,
    whole,
)
from tests.unit.server.building import AUTHORIZED, Client, client, services, settings

_CHAT: Final = "/v1/chat/completions"
_MESSAGES: Final = "/v1/messages"
_COUNT: Final = f"{_MESSAGES}/count_tokens"
_OPUS: Final = "claude-opus-5-5"
_SERVER = settings(TOKENS_PER_MINUTE="10000")
_EACH = settings(RATE_LIMIT_REQUESTS_PER_MINUTE="2")


class _Asking:
    """A client whose key has rules."""

    def __init__(self, client: Client, key: str) -> None:
        self._client = client
        self._headers = {"x-api-key": key}

    async def ask(self, path: str = _MESSAGES, /, **fields: object) -> tuple[int, dict[str, str], bytes]:
        """Ask, and read the answer to its end, or to where it breaks off."""
        async with self._client.post(path, data=body(**fields), headers=self._headers) as answer:
            try:
                data = await answer.read()
            except aiohttp.ClientPayloadError:
                data = b""
            return answer.status, {name.lower(): value for name, value in answer.headers.items()}, data


@asynccontextmanager
async def _asking(house: Bench, rules: Rules, configured: Settings | None = None) -> AsyncIterator[_Asking]:
    shared = services(house) if configured is None else services(house, configured=configured)
    key = random_key()
    await shared.admission.desk.stored.add("work", rules, key)
    async with client(shared, ROUTES) as found:
        yield _Asking(found, key.reveal())
    assert shared.admission.limiter.running("work") == 0
    await finish_all(within_s=5)


async def test_without_any_rule_nothing_is_counted_and_no_header_tells_of_limits() -> None:
    """Protects the hot path, and clients from numbers that mean nothing."""
    house = bench(whole())
    shared = services(house)
    async with client(shared, ROUTES) as asked:
        answer = await asked.post(_MESSAGES, data=body(), headers=AUTHORIZED)
        assert not [name for name in answer.headers if name.lower().startswith("x-ratelimit")]
    assert shared.admission.limiter._meters.made == {}
    assert house.upstream.calls[0][1].body == body()


@pytest.mark.parametrize(
    ("path", "kind", "code"),
    [(_MESSAGES, "permission_error", None), (_CHAT, "permission_error", "model_not_allowed")],
)
async def test_a_model_the_key_may_not_ask_for_is_refused(path: str, kind: str, code: str | None) -> None:
    """Protects dear models, under every name they have; and tells what may be asked for."""
    house = bench(whole(), whole())
    async with _asking(house, Rules(models=("claude-sonnet-*",))) as asking:
        for model in (_OPUS, "opus", "claude-opus-5-5-think"):
            status, _, data = await asking.ask(path, model=model)
            error = msgspec.json.decode(data)["error"]
            assert (status, error["type"], error.get("code")) == (403, kind, code)
            assert "It may ask for: claude-sonnet-*." in error["message"]
        assert (await asking.ask(path, model="sonnet"))[0] == 200
    assert len(house.upstream.calls) == 1


@pytest.mark.parametrize("rules", [Rules(models=("claude-sonnet-*",)), Rules(budget_micro_usd=10**9)])
async def test_a_body_with_two_models_is_read_by_the_upstream_as_by_us(rules: Rules) -> None:
    """Protects lists of models and budgets from a body that says one thing to us and another to the upstream."""
    house = bench(whole())
    raw = b'{"model":"claude-opus-5-5","max_tokens":9,"messages":[],"model":"claude-sonnet-5-5"}'
    shared, key = services(house), random_key()
    await shared.admission.desk.stored.add("work", rules, key)
    async with client(shared, ROUTES) as asked:
        answer = await asked.post(_MESSAGES, data=raw, headers={"x-api-key": key.reveal()})
        assert answer.status == 200
    await finish_all(within_s=5)
    assert house.upstream.calls[0][1].body.count(b'"model"') == 1
    assert b"claude-sonnet-5-5" in house.upstream.calls[0][1].body


async def test_a_model_that_stands_in_is_held_to_the_list_too() -> None:
    """Protects the list from an outage that lets another model answer."""
    chain = ((_OPUS, "claude-haiku-5-5"), (_OPUS, "claude-sonnet-5-5"))
    house = bench(refused(529), whole(), credentials=[credential("api-1")], fallbacks=chain, retry_count=0)
    async with _asking(house, Rules(models=(_OPUS, "claude-sonnet-*"))) as asking:
        status, headers, _ = await asking.ask(model=_OPUS)
        assert (status, headers["x-carousel-model"]) == (200, "claude-sonnet-5-5")


@pytest.mark.parametrize("path", [_MESSAGES, _CHAT])
async def test_only_the_credentials_of_the_key_answer_it(path: str) -> None:
    """Protects credentials that were bought for somebody else, over faults and rotation."""
    house = bench(whole(), Fault.RESET, whole(), whole())
    async with _asking(house, Rules(credentials=frozenset({"api-2", "api-3"}))) as asking:
        found = [(await asking.ask(path))[1]["x-carousel-credential"] for _ in range(3)]
    assert set(found) <= {"api-2", "api-3"}
    assert {name for name, _ in house.upstream.calls} == {"api-2", "api-3"}


@pytest.mark.parametrize(
    ("names", "status", "asked"), [(("api-2",), 200, ["api-2"]), (("api-1", "api-3"), 403, [])]
)
async def test_who_holds_a_file_answers_only_where_the_key_may_use_it(
    names: tuple[str, ...], status: int, asked: list[str]
) -> None:
    """Protects credentials from files of a key that may not use their holder any more, which nobody else can read."""
    house = bench(whole())
    shared, key = services(house), random_key()
    await shared.admission.desk.stored.add("work", Rules(credentials=frozenset(names)), key)
    tenant = key.fingerprint(shared.keys.secret_key, "owner of objects")
    await shared.ownership.remember(tenant, Operation.FILES, Made(id="file_1", credential="api-2"))
    source = {"type": "document", "source": {"type": "file", "file_id": "file_1"}}
    named = body(messages=[{"role": "user", "content": [source]}])
    async with client(shared, ROUTES) as asking:
        answer = await asking.post(_MESSAGES, data=named, headers={"x-api-key": key.reveal()})
    assert (answer.status, [name for name, _ in house.upstream.calls]) == (status, asked)


@pytest.mark.parametrize(("path", "code"), [(_MESSAGES, None), (_CHAT, "credential_not_allowed")])
async def test_a_key_without_a_credential_for_the_model_is_told_so(path: str, code: str | None) -> None:
    """Protects clients from looking for a slip in the model's name."""
    members = [credential("api-1"), credential("api-2", models=("claude-haiku-*",))]
    async with _asking(bench(credentials=members), Rules(credentials=frozenset({"api-2"}))) as asking:
        status, _, data = await asking.ask(path)
        error = msgspec.json.decode(data)["error"]
        assert (status, error["type"], error.get("code")) == (403, "permission_error", code)
        assert (await asking.ask(path, model="claude-nothing-1-think"))[0] in {403, 404}


@pytest.mark.parametrize(("path", "kind"), [(_MESSAGES, "rate_limit_error"), (_CHAT, "rate_limit_error")])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_requests_a_minute_are_told_in_headers_and_then_refused(
    path: str,
    kind: str,
    stream: bool,
) -> None:
    """Protects clients that read how much is left, before and after it is nothing."""
    reply = [streamed(*WHOLE) if stream else whole() for _ in range(2)]
    async with _asking(bench(*reply), Rules(), _EACH) as asking:
        for left in ("1", "0"):
            status, headers, _ = await asking.ask(path, stream=stream)
            assert (status, headers["x-ratelimit-remaining-requests"]) == (200, left)
        status, headers, data = await asking.ask(path, stream=stream)
        assert (status, headers["retry-after"]) == (429, "60")
        assert headers["x-ratelimit-limit-requests"] == "2"
        assert headers["x-ratelimit-reset-requests"] == "1m0s"
        assert msgspec.json.decode(data)["error"]["type"] == kind


_LIMIT = 10_000


def _reserved(**fields: object) -> int:
    return len(body(**fields)) // 4 + 64


@pytest.mark.parametrize(
    ("answers", "stream", "counted"),
    [
        ((whole(),), False, 10),
        ((streamed(*WHOLE),), True, 10),
        ((Fault.RESET, whole()), False, 10),
        ((refused(400, message="no"),), False, 0),
        ((Fault.RESET, Fault.RESET, Fault.RESET), False, 0),
        ((streamed(START, OPEN, HELLO, Fault.RESET),), True, None),
        ((whole(b'{"type":"message","role":"assistant","content":[],"usage":{}}'),), False, None),
    ],
    ids=["whole", "streamed", "rescued", "refused", "failed", "cut", "without numbers"],
)
async def test_an_answer_counts_for_what_it_used_however_it_ended(
    answers: tuple[Answer, ...],
    stream: bool,
    counted: int | None,
) -> None:
    """Protects limits both ways: nothing is free that was used, nothing is charged that was not."""
    house = bench(*answers)
    async with _asking(house, Rules(tokens_per_minute=_LIMIT)) as asking:
        await asking.ask(stream=stream)
        house.upstream.answers[:] = [whole()]
        _, headers, _ = await asking.ask()
        used = _LIMIT - int(headers["x-ratelimit-remaining-tokens"]) - _reserved()
        assert used == (_reserved(stream=stream) if counted is None else counted)


async def test_counting_tokens_counts_as_a_request_and_not_as_tokens() -> None:
    """Protects clients that ask for the size of a request before they send it."""
    counts = [whole(b'{"input_tokens":12}') for _ in range(3)]
    async with _asking(bench(*counts), Rules(tokens_per_minute=1, concurrency=1)) as asking:
        for _ in range(3):
            status, headers, _ = await asking.ask(_COUNT)
            assert status == 200
            assert "x-ratelimit-limit-tokens" not in headers


async def test_a_limit_of_the_server_binds_a_key_without_rules() -> None:
    """Protects upstreams from the keys nobody limits."""
    async with _asking(bench(whole()), Rules(), _SERVER) as asking:
        _, headers, _ = await asking.ask()
        assert headers["x-ratelimit-limit-tokens"] == "10000"


async def test_a_spent_budget_is_told_and_costs_nothing_more() -> None:
    """Protects the operator's money."""
    house = bench(whole())
    async with _asking(house, Rules(budget_micro_usd=1)) as asking:
        assert (await asking.ask())[0] == 200
        status, headers, data = await asking.ask()
        assert (status, headers["x-should-retry"]) == (402, "false")
        assert b"has spent its budget of 0.00 USD (month)" in data
        status, _, data = await asking.ask(_CHAT)
        assert status == 429
        assert b'"type":"insufficient_quota","param":null,"code":"insufficient_quota"' in data
    assert len(house.upstream.calls) == 1
