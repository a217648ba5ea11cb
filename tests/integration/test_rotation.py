"""Who is asked: in turn while all is well, and around whatever is out of use."""

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator
from itertools import cycle
from pathlib import Path

import pytest
import pytest_asyncio

from proxy.clock import SystemClock
from proxy.simulator import Step
from tests.support.gateway import CLIENT_KEY
from tests.support.house import MODEL, Answer, House, Spoken, house

pytestmark = pytest.mark.asyncio(loop_scope="module")

WAYS = [(spoken, stream) for spoken in Spoken for stream in (False, True)]
OTHER_CLIENT = "canary-other-client-key-0123456789abcdef"
REFUSED = Step("status", status=401)
REFUSED_AGAIN_S = 5.2
RETRY_AFTER_S = 2
clock = SystemClock()


async def ask_many(house: House, count: int, *, at_once: int, model: str = MODEL) -> list[Answer]:
    """Ask in all dialects and both forms, so many at a time."""
    gate = asyncio.Semaphore(at_once)

    async def one(number: int, spoken: Spoken, *, stream: bool) -> Answer:
        async with gate:
            return await house.ask(spoken, stream=stream, model=model, text=f"Question {number}")

    ways = zip(range(count), cycle(WAYS), strict=False)
    return await asyncio.gather(*[one(number, spoken, stream=stream) for number, (spoken, stream) in ways])


async def test_three_credentials_share_300_requests_evenly(tmp_path: Path) -> None:
    """Rotation is fair under concurrency, whatever mix of dialects and forms comes in."""
    async with house(tmp_path) as running:
        answers = await ask_many(running, 300, at_once=40)
        assert {answer.status for answer in answers} == {200}
        counts = running.simulator.record.requests_per_key
        assert set(counts) == {"k1", "k2", "k3"}
        assert all(99 <= count <= 101 for count in counts.values()), counts
        told = Counter(answer.headers["x-carousel-credential"] for answer in answers)
        assert told == {"api-1": counts["k1"], "api-2": counts["k2"], "api-3": counts["k3"]}
        assert {answer.headers["x-carousel-attempts"] for answer in answers} == {"1"}


async def test_a_dead_key_and_a_limited_one_are_never_noticed_by_clients(tmp_path: Path) -> None:
    """What one credential refuses another answers, for as long as it takes the bad ones to end or to recover."""
    settings = {"POOL_AUTH_COOLING_S": str(REFUSED_AGAIN_S)}
    async with house(tmp_path, settings) as running:
        running.simulator.script("k1", then=REFUSED)
        limited = Step("status", status=429, headers={"retry-after": str(RETRY_AFTER_S)})
        # its trial takes its time, so that others would be seen beside it if they were let through
        running.simulator.script("k2", [limited, Step("delay", seconds=0.5)])
        began_s = clock.monotonic_s()
        seen = {"k1": False, "k2": False}
        answers = await ask_many(running, 1, at_once=1)
        assert running.simulator.record.requests_per_key == {"k1": 1, "k2": 1, "k3": 1}
        while len(answers) < 200 or not all(seen.values()):
            answers += await ask_many(running, 10, at_once=10)
            found = await running.credentials()
            seen["k1"] = seen["k1"] or str(found["api-1"].state) == "disabled(auth)"
            seen["k2"] = seen["k2"] or running.calls("k2") > 20
            assert clock.monotonic_s() - began_s < 4 * REFUSED_AGAIN_S
            await asyncio.sleep(0.1)
        assert {answer.status for answer in answers} == {200}

        refusals = running.simulator.record.of("k1")
        assert len(refusals) == 2
        assert refusals[1].started_s - refusals[0].started_s >= REFUSED_AGAIN_S

        first, trial, *others = running.simulator.record.of("k2")
        assert first.ended_s is not None
        assert trial.started_s - first.ended_s >= RETRY_AFTER_S
        assert trial.first_byte_s is not None
        assert others[0].started_s >= trial.first_byte_s


async def test_cold_start_refusals_under_way_together_count_once(tmp_path: Path) -> None:
    """Calls that are refused at the same moment are one refusal: the key cools, it is not disabled."""
    async with house(tmp_path) as running:
        running.simulator.script("k1", then=Step("delay", seconds=0.5, next=REFUSED))
        answers = await ask_many(running, 30, at_once=30)
        assert {answer.status for answer in answers} == {200}
        assert 1 < running.calls("k1") <= 10
        assert str((await running.credentials())["api-1"].state) == "cooling(auth)"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def plain_house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """Three plain keys; tests keep apart by their models, as limits of one class say nothing about others."""
    async with house(tmp_path_factory.mktemp("plain")) as running:
        yield running


@pytest.fixture
def plain(plain_house: House) -> House:
    """The same without a memory of what was asked."""
    plain_house.simulator.reset()
    return plain_house


@pytest.mark.parametrize(("spoken", "stream"), WAYS)
@pytest.mark.parametrize(("waits_s", "given_up"), [((29, 25, 27), None), ((90, 70, 80), "false")])
async def test_when_all_are_limited_the_least_wait_is_told_without_asking(
    plain: House, spoken: Spoken, *, stream: bool, waits_s: tuple[int, ...], given_up: str | None
) -> None:
    """A client learns the true time at once, and a waiting of minutes is not left to its SDK."""
    model = {
        (Spoken.CHAT, False, None): "claude-opus-5-5",
        (Spoken.CHAT, True, None): "claude-opus-5",
        (Spoken.MESSAGES, False, None): "claude-sonnet-5",
        (Spoken.MESSAGES, True, None): "claude-sonnet-4-6",
        (Spoken.CHAT, False, "false"): "claude-haiku-5-5",
        (Spoken.CHAT, True, "false"): "claude-haiku-4-5-20251001",
        (Spoken.MESSAGES, False, "false"): "claude-opus-4-8",
        (Spoken.MESSAGES, True, "false"): "claude-fable-5-2",
    }[spoken, stream, given_up]
    for key, wait_s in zip(("k1", "k2", "k3"), waits_s, strict=True):
        plain.simulator.script(
            key, then=Step("status", status=429, headers={"retry-after": str(wait_s)}, path="/v1/messages")
        )
    began_s = clock.monotonic_s()
    first = await plain.ask(spoken, stream=stream, model=model)
    assert (first.status, plain.calls()) == (429, 3)
    second = await plain.ask(spoken, stream=stream, model=model)
    passed_s = clock.monotonic_s() - began_s
    assert plain.calls() == 3
    for answer in (first, second):
        assert answer.status == 429
        told_s = int(answer.headers["retry-after"])
        assert math.ceil(min(waits_s) - passed_s) <= told_s <= min(waits_s)
        assert answer.headers.get("x-should-retry") == given_up
        assert answer.error.error.type == "rate_limit_error"
        assert answer.error.error.code == ("rate_limit_exceeded" if spoken is Spoken.CHAT else None)


async def test_a_limit_of_one_model_class_leaves_the_others_open(plain: House) -> None:
    """Limits are counted by model class: another model is asked of the same credential at once."""
    limited = Step("status", status=429, headers={"retry-after": "60"})
    for key in ("k1", "k2", "k3"):
        plain.simulator.script(key, [limited])
    assert (await plain.ask(Spoken.MESSAGES, model="claude-mythos-5-2")).status == 429
    assert (await plain.ask(Spoken.MESSAGES, model="claude-fable-5")).status == 200


@pytest.mark.parametrize(
    ("step", "state"),
    [
        (Step("status", status=429, headers={"retry-after": "60"}), "cooling(rate_limit)"),
        (Step("status", status=402), "cooling(billing)"),
    ],
    ids=["limit", "billing"],
)
async def test_the_sibling_of_a_limited_credential_is_not_asked(
    tmp_path: Path, step: Step, state: str
) -> None:
    """Limits and credit belong to an organization, which its answers name: its second key would fail as well."""
    async with house(tmp_path) as running:
        for key, organization in (("k1", "org-a"), ("k2", "org-a"), ("k3", "org-b")):
            running.simulator.assign(key, organization)
        assert {answer.status for answer in await ask_many(running, 3, at_once=1)} == {200}
        running.simulator.record.clear()
        running.simulator.script("k1", then=step)
        answer = await running.ask(Spoken.CHAT)
        assert answer.status == 200
        assert running.simulator.record.requests_per_key == {"k1": 1, "k3": 1}
        found = await running.credentials()
        assert (found["api-1"].word(), found["api-1"].organization) == (state, "org-a")
        if step.status == 429:
            assert found["api-2"].word() == state
            await ask_many(running, 6, at_once=2)
            assert running.simulator.record.requests_per_key == {"k1": 1, "k3": 7}
            await ask_many(running, 6, at_once=2, model="claude-haiku-5-5")
            assert running.calls("k2") > 0


LISTED: list[dict[str, object]] = [
    {"name": "low", "key": "k-low", "tier": 1},
    {"name": "first", "key": "k-first", "tier": 0, "weight": 3},
    {"name": "second", "key": "k-second", "tier": 0, "weight": 1},
    {"name": "haiku", "key": "k-haiku", "models": ["claude-haiku-*"], "max_concurrency": 2},
    {"name": "guest", "key": "k-guest", "clients": ["env-2"], "models": ["claude-opus-5"]},
    {"name": "off", "key": "k-off", "enabled": False},
]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def listed_house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """Credentials from a file, one for each rule of choice."""
    settings = {"API_KEY": f"{CLIENT_KEY},{OTHER_CLIENT}"}
    async with house(tmp_path_factory.mktemp("listed"), settings, credentials=lambda _: LISTED) as running:
        yield running


@pytest.fixture
def listed(listed_house: House) -> House:
    """The same without a memory of what was asked."""
    listed_house.simulator.reset()
    return listed_house


async def test_weights_share_out_the_lowest_tier_alone(listed: House) -> None:
    """A heavier credential gets its multiple, a higher tier and a disabled credential get nothing."""
    answers = await ask_many(listed, 80, at_once=8)
    assert {answer.status for answer in answers} == {200}
    assert listed.simulator.record.requests_per_key == {"k-first": 60, "k-second": 20}


async def test_the_next_tier_serves_while_the_first_is_out_of_use(listed: House) -> None:
    """A tier is passed over when none of it is usable, never before."""
    limited = Step("status", status=429, headers={"retry-after": "60"})
    listed.simulator.script("k-first", then=limited)
    answers = await ask_many(listed, 8, at_once=1, model="claude-opus-4-8")
    assert {answer.status for answer in answers} == {200}
    assert listed.simulator.record.requests_per_key == {"k-first": 1, "k-second": 8}
    listed.simulator.script("k-second", then=limited)
    answers = await ask_many(listed, 4, at_once=1, model="claude-opus-4-8")
    assert {answer.status for answer in answers} == {200}
    assert listed.calls("k-low") == 4


async def test_patterns_say_which_models_a_credential_serves(listed: House) -> None:
    """A credential for Haiku is asked for Haiku and for nothing else."""
    await ask_many(listed, 20, at_once=4)
    assert listed.calls("k-haiku") == 0
    await ask_many(listed, 20, at_once=4, model="claude-haiku-5-5")
    assert listed.calls("k-haiku") > 0


async def test_a_reserved_credential_serves_its_clients_alone(listed: House) -> None:
    """What one client's key may use is never used for another's."""
    await ask_many(listed, 20, at_once=4, model="claude-opus-5")
    assert listed.calls("k-guest") == 0
    for _ in range(8):
        assert (await listed.ask(Spoken.CHAT, model="claude-opus-5", key=OTHER_CLIENT)).status == 200
    assert listed.calls("k-guest") > 0


async def test_a_credential_is_never_used_beyond_its_places(listed: House) -> None:
    """The limit on concurrency holds under load, and what does not fit goes elsewhere."""
    listed.simulator.script("*", then=Step("delay", seconds=0.05))
    answers = await ask_many(listed, 60, at_once=30, model="claude-haiku-5-5")
    assert {answer.status for answer in answers} == {200}
    assert listed.simulator.record.max_in_flight["k-haiku"] == 2
    assert listed.calls("k-haiku") < listed.calls("k-first")
