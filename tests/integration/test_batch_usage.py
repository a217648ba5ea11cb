"""What batches use: seen by the limit of the whole server, and in the books once their results are read."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import msgspec
import pytest

from tests.support.gateway import ADMIN_KEY
from tests.support.house import Answer
from tests.support.objects import ALICE, BOB, Storehouse, batch, params, storehouse

_BATCHES: Final = "/v1/messages/batches"


class _Stats(msgspec.Struct):
    requests: int
    tokens: int
    cost_usd: float | None


class _Usage(msgspec.Struct):
    input_tokens: int
    output_tokens: int


class _Message(msgspec.Struct):
    usage: _Usage


class _Result(msgspec.Struct):
    message: _Message


class _Line(msgspec.Struct):
    result: _Result


async def _stats(house: Storehouse, key: str) -> _Stats:
    answer = await house.ask("GET", "/stats", key=key, headers={"authorization": f"Bearer {key}"})
    assert answer.status == 200
    return msgspec.json.decode(answer.body, type=_Stats)


def _told(results: Answer) -> tuple[int, int]:
    """All tokens of the questions and of the answers, as the results tell."""
    lines = [msgspec.json.decode(line, type=_Line) for line in results.body.splitlines()]
    usages = [line.result.message.usage for line in lines]
    return sum(each.input_tokens for each in usages), sum(each.output_tokens for each in usages)


async def test_what_a_batch_used_is_counted_once_when_its_results_have_been_read(tmp_path: Path) -> None:
    """Protects the bill of who asks in batches: in the client's own numbers, at half the price, and only once."""
    async with storehouse(tmp_path) as house:
        batch_id = await house.batched(*(params(f"question {number}") for number in range(50)))
        assert (await house.ask("GET", f"{_BATCHES}/{batch_id}")).status == 200
        assert (await _stats(house, ALICE)).tokens == 0
        assert (await house.ask("HEAD", f"{_BATCHES}/{batch_id}/results")).status in {200, 405}
        read = [await house.ask("GET", f"{_BATCHES}/{batch_id}/results") for _ in range(2)]
        fresh, said = _told(read[0])
        assert fresh > 50
        assert said > 50
        for key in (ALICE, ADMIN_KEY):
            found = await _stats(house, key)
            assert found.tokens == fresh + said
            # 2 dollars a million tokens read and 10 written, of which a batch costs half; each answer is rounded once
            assert found.cost_usd == pytest.approx((fresh * 2 + said * 10) / 2_000_000, abs=50e-6)
        assert (await _stats(house, BOB)).tokens == 0


async def test_a_download_that_breaks_off_is_counted_when_it_has_come_whole(tmp_path: Path) -> None:
    """Protects the books from half a batch, and from one and a half."""
    async with storehouse(tmp_path) as house:
        house.simulator.objects.padding_mib = 64
        batch_id = await house.batched(params("one"), params("two"))
        assert (await house.ask("GET", f"{_BATCHES}/{batch_id}")).status == 200
        url = f"{house.server.url}{_BATCHES}/{batch_id}/results"
        sent = {"x-api-key": ALICE, "anthropic-version": "2023-06-01"}
        async with house.session.get(url, headers=sent) as answer:
            await answer.content.readany()
            answer.close()
        house.simulator.objects.padding_mib = 0
        whole = await asyncio.gather(*(house.ask("GET", f"{_BATCHES}/{batch_id}/results") for _ in range(4)))
        assert (await _stats(house, ALICE)).tokens == sum(_told(whole[0]))


async def test_the_limit_of_the_whole_server_sees_batches(tmp_path: Path) -> None:
    """Protects the limit from being gone around by asking a thousand questions at once."""
    async with storehouse(tmp_path, {"TOKENS_PER_MINUTE": "20000"}) as house:
        # about 150 tokens each, with the answers
        await house.batched(*(params() for _ in range(100)))
        made = len(house.simulator.objects.batches)
        refused = await house.ask("POST", _BATCHES, batch(*(params() for _ in range(200))), key=BOB)
        assert refused.status == 429, refused.body
        assert b"TOKENS_PER_MINUTE" in refused.body
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.headers["x-ratelimit-limit-tokens"] == "20000"
        large = await house.ask("POST", _BATCHES, batch(params("word " * 20_000)), key=BOB)
        assert large.status == 400, large.body
        assert len(house.simulator.objects.batches) == made
        message = await house.says({**params("x " * 15_000), "max_tokens": 1000}, key=BOB)
        assert message.status == 429


async def test_a_batch_that_was_not_made_takes_nothing_from_the_limit(tmp_path: Path) -> None:
    """Protects clients from waiting for a batch that the upstream refused."""
    async with storehouse(tmp_path, {"TOKENS_PER_MINUTE": "20000"}) as house:
        empty = b'{"requests":[' + b" " * 60_000 + b"]}"
        answers = [await house.ask("POST", _BATCHES, empty) for _ in range(4)]
        # its own reservation, by its length, was all that was set apart
        assert [(one.status, int(one.headers["x-ratelimit-remaining-tokens"])) for one in answers] == [
            (400, 20_000 - len(empty) // 4)
        ] * 4
        await house.batched(params())


async def test_a_batch_of_unknown_length_is_counted_by_what_came(tmp_path: Path) -> None:
    """Protects the limit from a body that does not say how long it is."""
    async with storehouse(tmp_path, {"TOKENS_PER_MINUTE": "20000"}) as house:
        whole = batch(*(params() for _ in range(120)))

        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, len(whole), 1000):
                yield whole[start : start + 1000]

        made = await house.ask("POST", _BATCHES, pieces())
        assert made.status == 200, made.body
        assert (await house.ask("POST", _BATCHES, batch(*(params() for _ in range(300))))).status == 429
