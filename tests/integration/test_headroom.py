"""Limits that are read before they bite, between a real gateway and a simulated Claude that counts."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from proxy.clock import SystemClock
from proxy.simulator import Limits, Step
from tests.support.house import LIMIT_CLASS, House, Spoken, house

NOTHING_LEFT = {
    "anthropic-ratelimit-requests-limit": "50",
    "anthropic-ratelimit-requests-remaining": "0",
    "anthropic-ratelimit-requests-reset": "2100-01-01T00:00:00Z",
}
WAYS = [(spoken, stream) for spoken in Spoken for stream in (False, True)]


async def answered_by(
    running: House, count: int, *, spoken: Spoken = Spoken.MESSAGES, stream: bool = False
) -> list[str]:
    """Who answers the next so many questions; fails if any is not answered."""
    answers = [await running.ask(spoken, stream=stream) for _ in range(count)]
    assert {answer.status for answer in answers} == {200}
    assert {answer.headers["x-carousel-attempts"] for answer in answers} == {"1"}
    return [answer.headers["x-carousel-credential"] for answer in answers]


@pytest.mark.parametrize(("spoken", "stream"), WAYS)
async def test_the_next_request_goes_elsewhere_before_any_refusal(
    tmp_path: Path, spoken: Spoken, *, stream: bool
) -> None:
    """An answer that says that nothing is left is enough: nobody has to be refused to know it."""
    async with house(tmp_path) as running:
        for key, organization in (("k1", "org-a"), ("k2", "org-a"), ("k3", "org-b")):
            running.simulator.assign(key, organization)
        assert Counter(await answered_by(running, 3)) == {"api-1": 1, "api-2": 1, "api-3": 1}
        running.simulator.limit("org-a", Limits(requests=2))
        found = Counter(await answered_by(running, 12, spoken=spoken, stream=stream))
        assert found["api-1"] + found["api-2"] == 2
        assert found["api-3"] == 10
        assert [one.status for one in running.simulator.record.requests if one.status != 200] == []
        shown = await running.credentials()
        assert {name: one.word() for name, one in shown.items()} == dict.fromkeys(shown, "ready")
        assert {name: one.headroom == 0 for name, one in shown.items()} == {
            "api-1": True,
            "api-2": True,
            "api-3": False,
        }


async def test_a_refusal_tells_what_is_left_as_well(tmp_path: Path) -> None:
    """Answers that are errors count too: a client's own mistake, answered with 400, shows the limit."""
    async with house(tmp_path) as running:
        running.simulator.script("k1", [Step("status", status=400, headers=NOTHING_LEFT)])
        assert (await running.ask(Spoken.MESSAGES)).status == 400
        assert set(await answered_by(running, 6)) == {"api-2", "api-3"}


async def test_a_refusal_without_a_time_ends_with_the_limit_that_is_used_up(tmp_path: Path) -> None:
    """What is told of the reset is waited for, not guessed."""
    async with house(tmp_path, {"POOL_JITTER": "0"}) as running:
        reset_unix_s = SystemClock().unix_ms() // 1000 + 40
        reset = datetime.fromtimestamp(reset_unix_s, UTC).isoformat()
        told = {**NOTHING_LEFT, "anthropic-ratelimit-requests-reset": reset}
        running.simulator.script("k1", [Step("status", status=429, headers=told)])
        assert {(await running.ask(Spoken.MESSAGES)).status for _ in range(3)} == {200}
        found = (await running.credentials())["api-1"].classes[LIMIT_CLASS]
        assert str(found) == "cooling(rate_limit)"
        assert found.until_unix_ms is not None
        assert abs(found.until_unix_ms - reset_unix_s * 1000) < 1000
