"""The books of a running gateway against those of the simulated Claude: equal to the token, and to the cent."""

import asyncio
import random
import signal
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec
import pytest

from proxy.simulator import Simulator, Step
from proxy.simulator.ledger import Told, told_by
from tests.support.gateway import ADMIN_KEY, gateway
from tests.support.house import House, Spoken, client, configuration, house, read_answer, simulated
from tests.support.soak import sized

_ADMINISTRATOR: Final = {"authorization": f"Bearer {ADMIN_KEY}"}
_ORDINARY, _HASTY, _UNLUCKY = (f"test-key-of-client-{number}-0123456789" for number in (1, 2, 3))
_AT_ONCE: Final = 12
_SONNET, _OPUS, _HAIKU = "claude-sonnet-5-5", "claude-opus-5-5", "claude-haiku-5-5"
_USD_FOR_A_MILLION: Final[Mapping[str, tuple[str, ...]]] = {
    # input, output, written for five minutes, written for an hour, read
    _SONNET: ("2", "10", "2.5", "4", "0.1"),
    _OPUS: ("4", "20", "5", "8", "0.2"),
    _HAIKU: ("0.1", "0.5", "0.125", "0.2", "0.01"),
    f"{_HAIKU} over 100000": ("0.5", "2.5", "0.625", "1", "0.05"),
}
_MISHAPS: Final = (
    Step("status", status=529),
    Step("status", status=500),
    Step("reset_before_headers"),
    Step("close_before_event"),
    Step("empty_stream"),
    Step("error_event_first", type="overloaded_error"),
    Step("error_event_mid", after=3),
    Step("end_without_stop"),
    Step("cut_at_byte", at_byte=900, how="end"),
    Step("cut_at_byte", at_byte=90, how="end"),
)
"""Their bytes all reach the gateway: what a reset takes out of its hands is in nobody's power to count."""

_SETTINGS: Final = {
    "API_KEY": f"{_ORDINARY},{_HASTY},{_UNLUCKY}",
    "POOL_BACKOFF_BASE_S": "0",
    "POOL_STRIKES": "1000",
    "POOL_STRIKE_WINDOW_CALLS": "100000",
    "POOL_OVERLOAD_CALLS": "100000",
    "POOL_BUDGET_MAX": "10000",
    "CACHE_ENABLED": "true",
}
_REPEATED: Final = 12
"""Questions that are asked again and again, and then answered from memory."""

_ALIASES: Final = {"k1": "one", "k2": "two", "slow": "slow", "broken": "broken", "other": "other"}


class _Sum(msgspec.Struct):
    """A row of ``GET /admin/usage``."""

    requests: int
    abandoned: int
    partial: int
    priced: int
    unpriced: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_5m_tokens: int
    cache_write_1h_tokens: int
    cost_micro_usd: int | None
    cache_hits: int
    cache_misses: int
    client: str = ""
    credential: str = ""
    model: str = ""

    @property
    def tokens(self) -> tuple[int, ...]:
        """All counts of tokens."""
        return (
            self.input_tokens,
            self.output_tokens,
            self.cache_write_5m_tokens,
            self.cache_write_1h_tokens,
            self.cache_read_tokens,
        )


class _Usage(msgspec.Struct):
    rows: list[_Sum]
    total: _Sum


class _CacheStats(msgspec.Struct):
    hits: int
    misses: int


class _Stats(msgspec.Struct):
    requests: int
    tokens: int
    cost_usd: float | None
    cache: _CacheStats


def _tokens(told: Told) -> tuple[int, ...]:
    return (
        told.input_tokens,
        told.output_tokens,
        told.cache_write_5m_tokens,
        told.cache_write_1h_tokens,
        told.cache_read_tokens,
    )


def _summed(many: Iterable[Told]) -> tuple[int, ...]:
    return tuple(map(sum, zip(*(_tokens(told) for told in many), strict=True)))


def _usd(told: Told) -> Decimal:
    fresh, _, *cached = _tokens(told)
    over = told.model == _HAIKU and fresh + sum(cached) > 100_000
    prices = _USD_FOR_A_MILLION[f"{told.model} over 100000" if over else told.model]
    return sum(
        (count * Decimal(price) / 1_000_000 for count, price in zip(_tokens(told), prices, strict=True)),
        start=Decimal(0),
    )


async def _usage(running: House, by: str) -> _Usage:
    url = f"{running.server.url}/admin/usage?by={by}"
    async with running.session.get(url, headers=_ADMINISTRATOR) as answer:
        assert answer.status == 200, await answer.text()
        return msgspec.json.decode(await answer.read(), type=_Usage)


async def _stats(running: House, key: str) -> _Stats:
    headers = {"authorization": f"Bearer {key}"}
    async with running.session.get(f"{running.server.url}/stats", headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        return msgspec.json.decode(await answer.read(), type=_Stats)


async def _settled(running: House, requests: int) -> _Usage:
    """The sums by client once so many requests are in the books; some clients left, and nobody tells of those."""
    async with asyncio.timeout(30):
        while (found := await _usage(running, "client")).total.requests < requests:  # noqa: ASYNC110 - the books are in another process
            await asyncio.sleep(0.05)
    return found


def _credentials(url: str) -> list[dict[str, object]]:
    ordinary: dict[str, object] = {"clients": ["env-1"]}
    return [
        {"name": "one", "key": "k1", **ordinary},
        {"name": "two", "key": "k2", **ordinary},
        {"name": "slow", "key": "slow", "clients": ["env-2"]},
        {"name": "broken", "key": "broken", "clients": ["env-3"]},
        {
            "name": "other",
            "kind": "openai",
            "base_url": f"{url}/v1",
            "key": "other",
            "model": "gpt-4o",
            "tier": 1,
        },
    ]


def _question(chance: random.Random) -> tuple[Spoken, dict[str, object]]:
    """Something one could ask: either dialect, any model, long or short, with marks for the cache or without."""
    spoken = chance.choice(tuple(Spoken))
    model = chance.choice((_SONNET, _OPUS, _HAIKU))
    words = chance.randint(1, 60)
    fields: dict[str, object] = {
        "model": model,
        "max_tokens": 30_000 if chance.random() < 0.15 else 500,
        "messages": [
            {"role": "user", "content": " ".join(f"w{chance.randint(0, 999)}" for _ in range(words))}
        ],
    }
    if model == _HAIKU and chance.random() < 0.1:
        fields["messages"] = [{"role": "user", "content": "long " * 90_000}]
    if spoken is Spoken.MESSAGES and chance.random() < 0.4:
        mark = {"type": "ephemeral", "ttl": chance.choice(("5m", "1h"))}
        text = f"rule {chance.randint(0, 5)} " * 100
        fields["system"] = [{"type": "text", "text": text, "cache_control": mark}]
    if chance.random() < 0.5 and fields["max_tokens"] == 500:
        fields["stream"] = True
    return spoken, fields


async def _ask_and_leave(running: House, spoken: Spoken, fields: Mapping[str, object]) -> None:
    body = msgspec.json.encode({**fields, "stream": True})
    async with running.opened(spoken, body, key=_HASTY) as response:
        await response.content.readany()
        response.close()


async def _ask_all(running: House, chance: random.Random, count: int) -> Counter[str]:
    """Ask so many questions, a few at a time. Returns how many each client asked."""
    asked: Counter[str] = Counter()
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(key: str, spoken: Spoken, fields: Mapping[str, object]) -> None:
        async with gate:
            if key == _HASTY:
                await _ask_and_leave(running, spoken, fields)
            else:
                async with running.opened(spoken, msgspec.json.encode(fields), key=key) as response:
                    await read_answer(response)

    repeated = [_question(chance) for _ in range(_REPEATED)]
    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            key = chance.choices((_ORDINARY, _HASTY, _UNLUCKY), (0.8, 0.12, 0.08))[0]
            asked[key] += 1
            again = key == _ORDINARY and chance.random() < 0.25
            group.create_task(one(key, *(chance.choice(repeated) if again else _question(chance))))
    return asked


def _script(simulator: Simulator, chance: random.Random, count: int) -> None:
    for key in ("k1", "k2"):
        steps = [chance.choice(_MISHAPS) if chance.random() < 0.2 else Step() for _ in range(2 * count)]
        simulator.script(key, steps)
    simulator.script("slow", then=Step("stall_mid", after=3))
    simulator.script("broken", then=Step("status", status=500))


@pytest.mark.long
async def test_the_books_are_those_of_the_upstream(tmp_path: Path) -> None:
    """Protects the bill: cut, left, rescued or whole, what was told is counted once, for who did it and who asked."""
    count, chance = sized(full=2000, short=500), random.Random(11)
    simulator = Simulator(keep_answers=True, record_limit=100_000)
    _script(simulator, chance, count)
    async with house(tmp_path, _SETTINGS, credentials=_credentials, simulator=simulator) as running:
        asked = await _ask_all(running, chance, count)
        by_client = await _settled(running, count)
        told = told_by(simulator.record.requests)
        assert {row.client: row.requests for row in by_client.rows} == {
            f"env-{number}": asked[key] for number, key in enumerate((_ORDINARY, _HASTY, _UNLUCKY), 1)
        }
        by_credential, by_model = await _usage(running, "credential"), await _usage(running, "model")
        _compare({row.credential: row for row in by_credential.rows}, told, lambda one: _ALIASES[one.key])
        _compare({row.model: row for row in by_model.rows}, told, lambda one: one.model)
        _check_costs(by_model, told)
        hasty = next(row for row in by_client.rows if row.client == "env-2")
        assert (hasty.abandoned, hasty.partial) == (asked[_HASTY], asked[_HASTY])
        assert hasty.tokens == _summed(one for one in told if one.key == "slow")
        assert by_client.total.partial == sum(not one.whole for one in told)
        assert len({one.key for one in told if not one.whole}) == 3
        whole = await _stats(running, ADMIN_KEY)
        own = [await _stats(running, key) for key in (_ORDINARY, _HASTY, _UNLUCKY)]
        assert whole.requests == sum(one.requests for one in own) == count
        assert whole.tokens == sum(one.tokens for one in own) == sum(_summed(told))
        assert own[2].cost_usd is None
        _check_hits(by_client, own, count)


def _check_hits(by_client: _Usage, own: list[_Stats], count: int) -> None:
    """Answers from memory are counted as that; what they cost, nothing, is in all other sums."""
    total = by_client.total
    assert total.cache_hits > count // 10
    # who joined a call that failed was answered by nobody
    assert count - count // 50 <= total.cache_hits + total.cache_misses <= count
    assert [(one.cache.hits, one.cache.misses) for one in own] == [
        (row.cache_hits, row.cache_misses) for row in by_client.rows
    ]
    assert [one.cache.hits for one in own][1:] == [0, 0]


def _compare(rows: Mapping[str, _Sum], told: Iterable[Told], name_of: Callable[[Told], str]) -> None:
    """Each row has the tokens that were told of it, and every answer that told of any has its row."""
    apart: dict[str, list[Told]] = defaultdict(list)
    for one in told:
        apart[name_of(one)].append(one)
    assert {name: row.tokens for name, row in rows.items() if any(row.tokens)} == {
        name: _summed(many) for name, many in apart.items()
    }
    for name, many in apart.items():
        assert rows[name].priced + rows[name].unpriced == len(many)


def _check_costs(by_model: _Usage, told: list[Told]) -> None:
    apart: dict[str, list[Told]] = defaultdict(list)
    for one in told:
        apart[one.model].append(one)
    assert set(apart) == {_SONNET, _OPUS, _HAIKU, "gpt-4o"}
    total = Decimal(0)
    for row in by_model.rows:
        if row.model == "gpt-4o":
            assert row.cost_micro_usd is None
        elif row.model:
            exact = sum(map(_usd, apart[row.model]), start=Decimal(0))
            assert row.cost_micro_usd is not None
            # each answer is rounded once, to the nearest micro-dollar
            assert abs(Decimal(row.cost_micro_usd) / 1_000_000 - exact) <= len(apart[row.model]) * Decimal(
                "5e-7"
            )
            total += exact
    assert any(one.model == _HAIKU and one.input_tokens > 100_000 for one in told)
    assert by_model.total.cost_micro_usd is not None
    assert abs(Decimal(by_model.total.cost_micro_usd) / 1_000_000 - total) < Decimal("0.005")


async def test_what_was_used_outlives_a_stop_in_the_next_moment(tmp_path: Path) -> None:
    """Protects the last seconds of a server that is stopped, and the books of two that ran one after the other."""
    async with simulated(Simulator(keep_answers=True)) as simulator, client() as session:
        settings = configuration(tmp_path, simulator, ("k1", "k2"), None)
        for _ in range(2):
            async with gateway(tmp_path, settings) as server:
                running = House(server, simulator, session)
                for spoken in Spoken:
                    assert (await running.ask(spoken)).status == 200
                assert await server.stop(signal.SIGTERM) == 0
        async with gateway(tmp_path, settings) as server:
            running = House(server, simulator, session)
            found = await _usage(running, "client")
            assert (found.total.requests, found.total.tokens) == (
                4,
                _summed(told_by(simulator.record.requests)),
            )
            assert (await _stats(running, ADMIN_KEY)).requests == 0
