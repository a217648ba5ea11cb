"""How the simulated claude.ai refuses, and that any fault can hit any of its calls."""

import msgspec
import pytest

from proxy.simulator import BEHAVIOURS, Simulator, Step
from tests.unit.simulator.client import Answer, event_data, event_names
from tests.unit.simulator.site import UUID, complete, create, script, visit

_REFUSALS = [
    (Step("dead_cookie"), 401, "authentication_error", None),
    (Step("session_invalid"), 403, "permission_error", "account_session_invalid"),
    (Step("organization_disabled"), 400, "invalid_request_error", None),
    (Step("conversation_gone"), 404, "not_found_error", "conversation_not_found"),
    (Step("web_limit"), 429, "rate_limit_error", None),
]


@pytest.mark.parametrize(("step", "status", "kind", "code"), _REFUSALS, ids=lambda value: str(value)[:24])
async def test_a_refusal_has_the_sites_shape(
    simulator: Simulator, step: Step, status: int, kind: str, code: str | None
) -> None:
    """Protects the classification of refusals."""
    script(simulator, step)
    answer = await visit(simulator, "GET", "/api/organizations")
    error = msgspec.convert(answer.json()["error"], dict[str, object])
    details = error.get("details")
    assert (answer.status, error["type"]) == (status, kind)
    assert details == (None if code is None else {"error_code": code})


@pytest.mark.parametrize("stated", ["message", "header", "both", "nowhere"])
async def test_a_limit_says_where_it_is_told_to_when_it_ends(simulator: Simulator, stated: str) -> None:
    """Protects the three places the end of a limit is read from."""
    script(simulator, msgspec.convert({"do": "web_limit", "stated": stated, "resets_in_s": 60}, Step))
    answer = await create(simulator)
    message = str(msgspec.convert(answer.json()["error"], dict[str, object])["message"])
    inside = message.startswith("{") and b"resetsAt" in message.encode()
    header = "anthropic-ratelimit-unified-reset" in answer.headers
    assert inside == (stated in {"message", "both"})
    assert header == (stated in {"header", "both"})


async def test_a_challenge_is_a_page(simulator: Simulator) -> None:
    """Protects the stop sign: it is told by a header and by being no JSON."""
    script(simulator, Step("challenge"), Step("challenge", status=503))
    answers = [await create(simulator), await create(simulator)]
    assert [one.status for one in answers] == [403, 503]
    assert {one.headers["cf-mitigated"] for one in answers} == {"challenge"}
    assert all(one.headers["content-type"].startswith("text/html") for one in answers)
    assert simulator.site.ledger.conversations == {}


@pytest.mark.parametrize("step", [Step("answer_lost"), Step("answer_lost", status=500)])
async def test_work_can_be_done_and_its_answer_lost(simulator: Simulator, step: Step) -> None:
    """Protects the ledger of deletions: a conversation may exist though nobody was told."""
    script(simulator, step)
    answer = await create(simulator)
    assert answer.status == step.status
    assert [one.uuid for one in simulator.site.ledger.alive] == [UUID]


@pytest.mark.parametrize("limit", ["approaching_limit", "exceeded_limit"])
async def test_an_answer_can_say_that_the_limit_is_near_or_reached(simulator: Simulator, limit: str) -> None:
    """Protects health read before a refusal."""
    await create(simulator)
    script(simulator, msgspec.convert({"message_limit": limit, "resets_in_s": 60}, Step))
    answer = await complete(simulator)
    told = next(data for data in event_data(answer.body) if data["type"] == "message_limit")
    inner = msgspec.convert(told["message_limit"], dict[str, object])
    assert inner["type"] == limit
    assert isinstance(inner["resetsAt"], int)


@pytest.mark.parametrize(
    ("step", "names"),
    [
        (Step("error_event_first", type="overloaded_error"), ["error"]),
        (Step("error_event_mid", after=1), ["message_start", "error"]),
    ],
    ids=lambda value: getattr(value, "do", None),
)
async def test_an_error_event_can_come_at_any_point(
    simulator: Simulator, step: Step, names: list[str]
) -> None:
    """Protects streams that fail: the question counts once all the same."""
    await create(simulator)
    script(simulator, step)
    answer = await complete(simulator)
    assert (answer.status, event_names(answer.body)) == (200, names)
    assert simulator.site.ledger.conversations[UUID].completions == 1


@pytest.mark.parametrize("call", ["create", "complete", "delete"])
async def test_a_step_can_be_for_one_call_alone(simulator: Simulator, call: str) -> None:
    """Protects scripts: paths of conversations begin alike, so that calls are told by name."""
    script(simulator, msgspec.convert({"do": "status", "status": 500, "call": call}, Step))
    answers: dict[str, Answer] = {"create": await create(simulator)}
    if call == "create":
        await create(simulator)
    answers["complete"] = await complete(simulator)
    where = f"/api/organizations/{{org}}/chat_conversations/{UUID}"
    answers["delete"] = await visit(simulator, "DELETE", where)
    assert [name for name, answer in answers.items() if answer.status == 500] == [call]


@pytest.mark.parametrize(
    "step",
    [Step("redirect", status=302, location="/login"), Step("delay", seconds=0.1, next=Step("challenge"))],
)
async def test_faults_of_any_upstream_hit_the_site_too(simulator: Simulator, step: Step) -> None:
    """Protects tests of slow and redirected calls."""
    script(simulator, step)
    assert (await create(simulator)).status == (302 if step.do == "redirect" else 403)


def test_every_behaviour_of_the_site_is_tried_here() -> None:
    """Protects against a name that is a promise nobody checks."""
    tried = {step.do for step, *_ in _REFUSALS} | {"challenge", "answer_lost"}
    here = "proxy.simulator.web_behaviours"
    assert tried == {name for name, behaviour in BEHAVIOURS.items() if behaviour.__module__ == here}
