"""Steering from another process."""

import base64

import msgspec
import pytest

from proxy.simulator import Simulator, Snapshot
from tests.unit.simulator.client import ask, question


async def _set(simulator: Simulator, script: object) -> int:
    return (await ask(simulator, script, path="/__script", key="")).status


async def test_a_script_is_taken_over_http(simulator: Simulator) -> None:
    """Steps in order, then the rest; bytes as base64."""
    body = base64.b64encode(b"\xff").decode()
    steps = [{"do": "status", "status": 529, "times": 2}, {"do": "raw", "body_bytes": body}]
    assert await _set(simulator, {"key": "k", "steps": steps, "then": {"do": "status", "status": 402}}) == 200
    answers = [await ask(simulator, question()) for _ in range(5)]
    assert [one.status for one in answers] == [529, 529, 200, 402, 402]
    assert answers[2].body == b"\xff"
    assert (await ask(simulator, question(), key="other")).status == 200


async def test_keys_can_be_put_into_one_organization(simulator: Simulator) -> None:
    """Limits and caches belong to organizations."""
    for key in ("a", "b"):
        assert await _set(simulator, {"key": key, "organization": "org-x"}) == 200
        answer = await ask(simulator, question(), key=key)
        assert answer.headers["anthropic-organization-id"] == "org-x"


@pytest.mark.parametrize(
    "script",
    [
        b"{",
        b"\xff",
        {},
        {"key": "k", "steps": [{"do": "no such thing"}]},
        {"key": "k", "steps": [], "then": {"do": "delay", "next": {"do": "no such thing"}}},
        {"key": "k", "steps": [{"do": "raw", "novelty": 1}]},
        {"key": "k", "steps": [{"times": 0}]},
    ],
)
async def test_a_wrong_script_is_refused(simulator: Simulator, script: object) -> None:
    """And changes nothing."""
    assert await _set(simulator, script) == 400
    assert (await ask(simulator, question())).status == 200


async def test_the_record_can_be_read_back(simulator: Simulator) -> None:
    """As the types it is made of; it holds the asking request too."""
    await ask(simulator, question("Hello there"))
    answer = await ask(simulator, method="GET", path="/__record", key="")
    snapshot = msgspec.json.decode(answer.body, type=Snapshot)
    assert (snapshot.requests_total, snapshot.requests_per_key, snapshot.statuses) == (
        2,
        {"k": 1, "": 1},
        {200: 1},
    )
    assert b"Hello there" in snapshot.requests[0].body
    answer = await ask(simulator, method="GET", path="/__record?newest=2&bodies=0", key="")
    snapshot = msgspec.json.decode(answer.body, type=Snapshot)
    assert {(one.path.partition("?")[0], one.body) for one in snapshot.requests} == {("/__record", b"")}
    assert len(snapshot.requests) == 2


async def test_a_reset_forgets_scripts_records_and_organizations(simulator: Simulator) -> None:
    """The next test starts clean."""
    await _set(simulator, {"key": "k", "then": {"do": "status", "status": 500}, "organization": "org-x"})
    await ask(simulator, question())
    assert (await ask(simulator, path="/__reset", key="")).status == 200
    assert simulator.record.requests_per_key == {}
    answer = await ask(simulator, question())
    assert (answer.status, answer.headers["anthropic-organization-id"] != "org-x") == (200, True)


async def test_a_reset_empties_the_caches(simulator: Simulator) -> None:
    """What one test cached must not be read by the next."""
    body = question("x" * 400, cache_control={"type": "ephemeral"})
    read = []
    for reset in (False, False, True):
        if reset:
            await ask(simulator, path="/__reset", key="")
        usage = msgspec.convert((await ask(simulator, body)).json()["usage"], dict[str, object])
        read.append(usage["cache_read_input_tokens"])
    assert read == [0, 100, 0]


async def test_other_control_paths_are_refused(simulator: Simulator) -> None:
    """The answer names the ones there are."""
    answer = await ask(simulator, method="GET", path="/__other", key="")
    assert (answer.status, b"/__record" in answer.body) == (400, True)
