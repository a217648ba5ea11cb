"""Thousands of wrong requests as raw bytes over the socket: each is refused by name, and nothing of ours fails."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import islice
from typing import Final

import msgspec
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.security.refusals import fault_of
from tests.security.wire import ask
from tests.support.bad_requests import BadRequest, Place, bad_requests, every_field_wrong, places, put
from tests.support.house import House, house
from tests.support.soak import SOAKING, sized
from tests.support.sound_requests import (
    CHAT_PATH,
    COMPLETIONS_PATH,
    COUNT_PATH,
    MESSAGES_PATH,
    RESPONSES_PATH,
    SOUND,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

REQUESTS: Final = sized(full=20_000, short=2_000)
AT_ONCE: Final = 4


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def before_claude(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """A gateway in front of a simulated Claude, which checks what the gateway does not look at."""
    async with house(tmp_path_factory.mktemp("claude"), keys=("k1",)) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def before_another(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """A gateway in front of an API of OpenAI's dialect, for which Messages are decoded and written anew."""

    def entries(url: str) -> Iterable[dict[str, object]]:
        return [{"name": "other", "kind": "openai", "key": "k1", "base_url": f"{url}/v1", "model": "gpt-4o"}]

    async with house(tmp_path_factory.mktemp("another"), credentials=entries) as running:
        yield running


async def _told(running: House, path: str, count: int, seed: int) -> tuple[Counter[int], list[str]]:
    """How many answers of each status there were, and what was wrong with which."""
    return await _sent(running, path, islice(bad_requests(SOUND[path], seed), count))


async def _sent(running: House, path: str, requests: Iterator[BadRequest]) -> tuple[Counter[int], list[str]]:
    statuses: Counter[int] = Counter()
    wrong: list[str] = []

    async def work() -> None:
        for bad in requests:
            headers = {"anthropic-version": "2023-06-01"}
            answer = await ask(running.server.url, path, bad.body, headers=headers)
            statuses[answer.status] += 1
            if (problem := fault_of(answer, bad, path)) is not None:
                wrong.append(f"{problem}: {bad.mistake}: {answer.body[:300]!r}")

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return statuses, wrong


CASES: Final = [
    ("claude", CHAT_PATH, 1),
    ("claude", MESSAGES_PATH, 2),
    ("claude", COUNT_PATH, 3),
    ("claude", COMPLETIONS_PATH, 6),
    ("claude", RESPONSES_PATH, 7),
    ("another", CHAT_PATH, 4),
    ("another", MESSAGES_PATH, 5),
    ("another", RESPONSES_PATH, 8),
]


@pytest.mark.long
@pytest.mark.parametrize(("house_name", "path", "seed"), CASES)
async def test_every_wrong_request_is_refused_by_name_and_none_is_a_failure_of_ours(
    before_claude: House, before_another: House, house_name: str, path: str, seed: int
) -> None:
    """Protects clients from errors that do not say what is wrong, and the server from what nobody thought of."""
    running = {"claude": before_claude, "another": before_another}[house_name]
    sound = msgspec.json.encode(SOUND[path])
    assert (await ask(running.server.url, path, sound)).status == 200
    statuses, wrong = await _told(running, path, REQUESTS // len(CASES), seed)
    assert not wrong, "\n".join([f"{len(wrong)} of {statuses}", *wrong[:20]])
    assert statuses[400] > REQUESTS // len(CASES) // 4
    assert (await ask(running.server.url, path, sound)).status == 200
    await _unharmed(running)


@pytest.mark.parametrize("path", SOUND)
async def test_every_field_is_tried_with_every_wrong_type(before_claude: House, path: str) -> None:
    """Protects each field, down to those within others, from a value its reader does not expect."""
    statuses, wrong = await _sent(before_claude, path, every_field_wrong(SOUND[path]))
    assert not wrong, "\n".join([f"{len(wrong)} of {statuses}", *wrong[:20]])
    assert statuses[400] > statuses[200] / 2
    await _unharmed(before_claude)


async def _unharmed(running: House) -> None:
    """Nothing was a failure of ours, and nobody was blamed."""
    assert {one.word() for one in (await running.credentials()).values()} == {"ready"}
    output = "".join(getattr(running.server, "output", []))
    assert "unexpected error" not in output
    assert "Traceback" not in output


TEXTS: Final = st.text(max_size=8) | st.sampled_from(
    ["\x00", "\ud7ff\ue000", "\U0010ffff", "$ref", "__proto__"]
)
NUMBERS: Final = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
VALUES: Final = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.long
@pytest.mark.parametrize("path", SOUND)
@settings(
    max_examples=sized(full=20_000 // len(SOUND), short=60),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
    database=None,
    derandomize=not SOAKING,
)
@given(data=st.data())
async def test_any_value_in_any_place_is_served_or_refused_by_name(
    before_claude: House, path: str, data: st.DataObject
) -> None:
    """Protects each field from values nobody thought of, and says the smallest one that does harm."""
    sound = SOUND[path]
    place: Place = data.draw(st.sampled_from(places(sound)))
    bad = put(sound, place, data.draw(VALUES))
    answer = await ask(before_claude.server.url, path, bad.body, headers={"anthropic-version": "2023-06-01"})
    assert fault_of(answer, bad, path) is None, f"{bad.mistake}: {answer.body[:300]!r}"
