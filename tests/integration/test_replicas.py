"""Several processes with a Redis between them go by one another's word."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import pytest

from proxy.simulator import Simulator, Step
from proxy.simulator.ledger import told_by
from tests.support.gateway import ADMIN_KEY, CLIENT_KEY
from tests.support.house import MODEL, House, Spoken, eventually, until
from tests.support.real_redis import PROGRAM, real_redis, replicas

pytestmark = pytest.mark.needs(PROGRAM)

_ADMINISTRATOR: Final = {"authorization": f"Bearer {ADMIN_KEY}"}
_HEARD_WITHIN_S: Final = 1.5
# what the machine may take on top of it while other tests run
_PATIENCE: Final = 4
_USD_FOR_A_MILLION: Final = (2, 10)
"""Input and output of the model that is asked."""


async def _order(running: House, method: str, path: str, body: object = None) -> tuple[int, dict[str, str]]:
    data = None if body is None else msgspec.json.encode(body)
    url = f"{running.server.url}{path}"
    async with running.session.request(method, url, data=data, headers=_ADMINISTRATOR) as answer:
        found: dict[str, str] = await answer.json()
        return answer.status, found


async def _word(running: House, name: str, word: str) -> None:
    """Wait until a credential is in this state here; raises TimeoutError when that takes too long."""

    async def heard() -> bool:
        return (await running.credentials())[name].word() == word

    await eventually(heard, _HEARD_WITHIN_S * _PATIENCE)


async def test_a_rate_limit_and_its_end_are_known_to_the_sibling(tmp_path: Path) -> None:
    """Protects an upstream's limit from being run into once by every process."""
    simulator = Simulator()
    simulator.script("k1", [Step("status", status=429, headers={"retry-after": "30"})])
    async with real_redis(tmp_path) as redis, replicas(tmp_path, redis, 2, simulator=simulator) as (one, two):
        for _ in range(3):
            assert (await one.ask(Spoken.MESSAGES)).status == 200
        await _word(two, "api-1", "cooling(rate_limit)")
        for _ in range(4):
            answered = await two.ask(Spoken.MESSAGES)
            assert answered.headers["x-carousel-credential"] != "api-1"
        (before,) = (found for name, found in (await one.credentials()).items() if name == "api-1")
        (after,) = (found for name, found in (await two.credentials()).items() if name == "api-1")
        (until,), (heard) = (
            [state.until_unix_ms for state in before.classes.values()],
            [state.until_unix_ms for state in after.classes.values()],
        )
        assert until is not None
        assert heard[0] is not None
        assert abs(until - heard[0]) < 1000
        assert (await _order(two, "POST", "/admin/pool/api-1/reset"))[0] == 200
        await _word(one, "api-1", "ready")


async def test_of_two_limits_the_later_end_counts_everywhere(tmp_path: Path) -> None:
    """Protects an upstream from being asked too early because a shorter word came after a longer one."""
    simulator = Simulator()
    sooner, later = (Step("status", status=429, headers={"retry-after": after}) for after in ("30", "100"))
    simulator.script("k1", [Step("delay", seconds=0.5, next=sooner), later])
    async with (
        real_redis(tmp_path) as redis,
        replicas(tmp_path, redis, 2, keys=("k1",), simulator=simulator) as (one, two),
    ):
        asking = asyncio.create_task(one.ask(Spoken.MESSAGES))  # noqa: TID251 - a test's own
        await until(lambda: simulator.record.requests_total == 1)
        assert (await two.ask(Spoken.MESSAGES)).headers["retry-after"] == "100"
        assert (await asking).status == 429
        for running in (one, two):
            await eventually(partial(_rests_for, running, 90), _HEARD_WITHIN_S * _PATIENCE)


async def _rests_for(running: House, least_s: int) -> bool:
    """Whether an answer would tell to come back so late."""
    answered = await running.ask(Spoken.MESSAGES)
    return answered.status == 429 and int(answered.headers["retry-after"]) >= least_s


async def test_what_an_operator_disables_rests_everywhere_and_comes_back_everywhere(tmp_path: Path) -> None:
    """Protects an operator who orders something of one process and means all."""
    async with real_redis(tmp_path) as redis, replicas(tmp_path, redis, 2) as (one, two):
        assert (await _order(one, "POST", "/admin/pool/api-2/disable"))[0] == 200
        await _word(two, "api-2", "disabled(manual)")
        assert (await _order(two, "POST", "/admin/pool/api-2/enable"))[0] == 200
        await _word(one, "api-2", "ready")
        assert (await _order(one, "POST", "/admin/pool/api-2/disable"))[0] == 200
        await _word(two, "api-2", "disabled(manual)")


async def test_sixty_requests_a_minute_are_sixty_over_three_processes(tmp_path: Path) -> None:
    """Protects a limit from being multiplied by the number of processes."""
    limit = {"RATE_LIMIT_REQUESTS_PER_MINUTE": "60"}
    async with real_redis(tmp_path) as redis, replicas(tmp_path, redis, 3, limit) as running:

        async def client(number: int) -> list[int]:
            return [(await running[number % 3].ask(Spoken.MESSAGES)).status for _ in range(10)]

        # the first call of a process connects, which on a busy machine takes its time
        first = [(await one.ask(Spoken.MESSAGES)).status for one in running]
        found = await asyncio.gather(*(client(number) for number in range(9)))
        statuses = [*first, *(status for each in found for status in each)]
        assert 59 <= statuses.count(200) <= 61
        assert set(statuses) == {200, 429}


async def test_a_budget_is_spent_once_by_all_processes(tmp_path: Path) -> None:
    """Protects an operator's money from being multiplied by the number of processes."""
    simulator = Simulator(keep_answers=True)
    budget_micro_usd = 20_000
    async with real_redis(tmp_path) as redis, replicas(tmp_path, redis, 2, simulator=simulator) as running:
        wanted = {"name": "payer", "budget_usd": budget_micro_usd / 1e6, "period": "total"}
        status, made = await _order(running[0], "POST", "/admin/keys", wanted)
        assert status == 201
        body = msgspec.json.encode(
            {"model": MODEL, "max_tokens": 20, "messages": [{"role": "user", "content": "Hello!"}]}
        )
        statuses = [200]
        while 200 in statuses[-2:]:
            assert len(statuses) < 1000
            answers = [await one.send(Spoken.MESSAGES, body, key=made["key"]) for one in running]
            statuses += [answer.status for answer in answers]
        assert set(statuses[-2:]) <= {402, 429}
        told = told_by(simulator.record.requests)
        input_usd, output_usd = _USD_FOR_A_MILLION
        spent = sum(each.input_tokens * input_usd + each.output_tokens * output_usd for each in told)
        # what was spent is told to the others a tenth of a second later
        assert budget_micro_usd * 0.9 < spent < budget_micro_usd * 1.3


async def test_a_key_is_made_and_revoked_for_all(tmp_path: Path) -> None:
    """Protects clients that reach another process than the one that knows them, and operators who end a key."""
    async with real_redis(tmp_path) as redis, replicas(tmp_path, redis, 2) as (one, two):
        status, made = await _order(one, "POST", "/admin/keys", {"name": "work"})
        assert status == 201
        assert (await two.ask(Spoken.MESSAGES, key=made["key"])).status == 200
        assert (await _order(two, "POST", "/admin/keys", {"name": "work"}))[0] == 409
        assert (await _order(two, "DELETE", "/admin/keys/work"))[0] == 200

        async def revoked() -> bool:
            return (await one.ask(Spoken.MESSAGES, key=made["key"])).status == 401

        await eventually(revoked, _HEARD_WITHIN_S * _PATIENCE)


async def test_one_of_two_processes_tries_what_was_out_of_use(tmp_path: Path) -> None:
    """Protects an upstream that has just come back from a question of every process at once."""
    simulator = Simulator()
    limited = Step("status", status=429, headers={"retry-after": "1"})
    simulator.script("k1", [limited, Step("stall_before_headers", seconds=1.5)])
    async with (
        real_redis(tmp_path) as redis,
        replicas(tmp_path, redis, 2, keys=("k1",), simulator=simulator) as (one, two),
    ):
        assert (await one.ask(Spoken.MESSAGES)).status == 429
        await _word(two, "api-1", "cooling(rate_limit)")
        await _word(two, "api-1", "trial(rate_limit)")
        asking = [asyncio.create_task(running.ask(Spoken.MESSAGES)) for running in (one, two)]  # noqa: TID251 - a test's own
        await asyncio.sleep(1)
        assert simulator.record.requests_total == 2
        assert [(await each).status for each in asking] == [200, 200]
        assert simulator.record.requests_total == 3


async def test_a_conversation_goes_home_from_another_process(tmp_path: Path) -> None:
    """Protects the prompt cache from a load balancer that knows nothing of conversations."""
    turns: list[dict[str, str]] = [{"role": "user", "content": "The beginning of something long."}]
    async with real_redis(tmp_path) as redis, replicas(tmp_path, redis, 2) as (one, two):
        began = await _said(one, turns)
        turns += [{"role": "assistant", "content": "Go on."}, {"role": "user", "content": "I do."}]
        for running in (two, one, two):
            assert await _said(running, turns) == began


async def _said(running: House, turns: list[dict[str, str]]) -> str:
    body = msgspec.json.encode({"model": "claude-sonnet-5-5", "max_tokens": 100, "messages": turns})
    answered = await running.send(Spoken.MESSAGES, body)
    assert answered.status == 200
    return answered.headers["x-carousel-credential"]


async def test_a_response_is_gone_on_from_read_and_deleted_at_another_process(tmp_path: Path) -> None:
    """Protects clients of the Responses API from a load balancer that knows nothing of conversations."""
    async with real_redis(tmp_path) as redis, replicas(tmp_path, redis, 2) as (one, two):
        status, first = await _responses(one, "POST", "", {"model": MODEL, "input": "The beginning."})
        assert status == 200
        more = {"model": MODEL, "input": "Go on.", "previous_response_id": first["id"]}
        status, second = await _responses(two, "POST", "", more)
        assert status == 200
        status, asked = await _responses(one, "GET", f"/{second['id']}")
        assert (status, asked["previous_response_id"]) == (200, first["id"])
        assert (await _responses(one, "DELETE", f"/{first['id']}"))[0] == 200
        for running in (one, two):
            assert (await _responses(running, "GET", f"/{first['id']}"))[0] == 404
            status, refused = await _responses(
                running, "POST", "", {**more, "previous_response_id": second["id"]}
            )
            assert status == 400
            assert "previous_response_not_found" in str(refused)


async def _responses(
    running: House, method: str, path: str, body: object = None
) -> tuple[int, dict[str, object]]:
    data = None if body is None else msgspec.json.encode(body)
    headers = {"authorization": f"Bearer {CLIENT_KEY}", "content-type": "application/json"}
    url = f"{running.server.url}/v1/responses{path}"
    async with running.session.request(method, url, data=data, headers=headers) as answer:
        found: dict[str, object] = await answer.json()
        return answer.status, found
