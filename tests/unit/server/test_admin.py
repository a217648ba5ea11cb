"""What an operator sees and orders: by alias, explained, remembered, and kept before it is acknowledged."""

import random
import re
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from proxy.dispatch.trace import ABANDONED, SUCCESS
from proxy.errors import ErrorKind
from proxy.pool import Failed, Failure, FailureClass, Lease, RetryBudget, Usability, Walk, Want
from proxy.server.app import ROUTES
from proxy.server.context import Services
from proxy.store.base import StoreError
from tests.support.house import ErrorBody, StateView
from tests.unit.dispatch.building import MODEL, Bench, bench, body, credential, refused, whole
from tests.unit.server.building import ADMINISTRATOR, AUTHORIZED, Client, client, services
from tests.unit.telemetry.recording import RecordedLog

_MANUAL = (Path(__file__).parents[3] / "docs/operations.md").read_text()
_ORDERS = ("enable", "disable", "reset")


@pytest.fixture
def house() -> Bench:
    """Credentials of every sort an operator meets."""
    members = [
        credential("api-1", organization="org-0123456789", weight=2),
        credential("api-2", clients=frozenset({"another"})),
        credential("api-3", enabled=False),
        credential("api-4", tier=1, models=("claude-sonnet-*",)),
    ]
    return bench(refused(404, message="model: unknown"), whole(), credentials=members)


@pytest.fixture
def shared(house: Bench) -> Services:
    """What handlers share."""
    return services(house)


@pytest.fixture
async def asked(shared: Services) -> AsyncIterator[Client]:
    """A client of all routes."""
    async with client(shared, ROUTES) as found:
        yield found


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> RecordedLog:
    """What the module logs."""
    found = RecordedLog()
    monkeypatch.setattr("proxy.server.admin._log", found)
    return found


async def _seen(asked: Client, path: str) -> dict[str, object]:
    answer = await asked.get(path, headers=ADMINISTRATOR)
    assert answer.status == 200, await answer.text()
    assert answer.headers["cache-control"] == "no-store"
    found: dict[str, object] = await answer.json()
    return found


class Told(msgspec.Struct):
    """What an order is answered with: the credential, or the error."""

    name: str = ""
    organization: str | None = None
    state: StateView = msgspec.field(default_factory=lambda: StateView("untold"))
    error: ErrorBody = msgspec.field(default_factory=lambda: ErrorBody("", ""))


async def _ordered(asked: Client, alias: str, action: str) -> tuple[int, Told]:
    answer = await asked.post(f"/admin/pool/{alias}/{action}", headers=ADMINISTRATOR)
    return answer.status, msgspec.json.decode(await answer.read(), type=Told)


def _run_out_of_credit(house: Bench) -> None:
    """The first credential's next call ends so."""
    budget = RetryBudget(house.policy, house.clock)
    walk = Walk(house.policy, house.clock, budget, house.clock.now_s + 600.0, random.Random(1))
    lease = house.pool.pick(Want(MODEL, "sonnet-5-5", "env-1"), walk)
    assert isinstance(lease, Lease)
    out_of_credit = Failure(cls=FailureClass.BILLING, status=402, kind=ErrorKind.BILLING, message="")
    house.pool.settle(lease, Failed(out_of_credit))


def _rows(found: dict[str, object], part: str) -> list[dict[str, object]]:
    rows = found[part]
    assert isinstance(rows, list)
    return rows


async def test_each_credential_is_shown_by_alias_and_its_organization_in_part(asked: Client) -> None:
    """Protects operators, who read here what their pool does, and accounts from being named in full."""
    rows = _rows(await _seen(asked, "/admin/pool"), "credentials")
    assert [row["name"] for row in rows] == ["api-1", "api-2", "api-3", "api-4"]
    assert [row["organization"] for row in rows] == ["org-0123", None, None, None]
    assert {"kind", "tier", "weight", "state", "in_flight", "max_concurrency", "closed_models"} <= set(
        rows[0]
    )
    assert {"strikes", "classes"} <= set(rows[0])
    assert rows[2]["state"] == {
        "state": "disabled",
        "reason": "manual",
        "cause": "configuration",
        "since_unix_ms": 1_795_000_000_000,
        "until_unix_ms": None,
    }


@pytest.mark.parametrize(
    ("query", "model"), [("?model=sonnet", MODEL), (f"?model={MODEL}-think", MODEL), ("", MODEL)]
)
async def test_a_model_is_explained_under_the_name_clients_use(asked: Client, query: str, model: str) -> None:
    """Protects the explanation from being one of another model than the clients get."""
    found = await _seen(asked, f"/admin/pool/explain{query}")
    assert (found["model"], found["next"], found["waits"], found["exhausted"]) == (
        model,
        "api-1",
        False,
        None,
    )
    assert {row["name"]: row["usability"] for row in _rows(found, "credentials")} == {
        "api-1": "usable",
        "api-2": "usable",
        "api-3": "disabled",
        "api-4": "later_tier",
    }


async def test_a_clients_restrictions_are_explained(asked: Client) -> None:
    """Protects the answer to why one client is not served while another one is."""
    found = await _seen(asked, "/admin/pool/explain?model=sonnet&client=env-1")
    words = {row["name"]: row["usability"] for row in _rows(found, "credentials")}
    assert (found["client"], words["api-2"]) == ("env-1", "other_client")


async def test_nobody_left_is_explained_with_the_reason_clients_are_told(asked: Client) -> None:
    """Protects operators and clients from reading two different reasons."""
    found = await _seen(asked, "/admin/pool/explain?model=gpt-9")
    assert (found["next"], found["exhausted"]) == (None, "no_model")
    for alias in ("api-1", "api-2", "api-4"):
        await _ordered(asked, alias, "disable")
    found = await _seen(asked, "/admin/pool/explain?model=sonnet")
    assert (found["next"], found["waits"], found["exhausted"]) == (None, False, "unusable")


async def test_asking_why_does_not_move_the_rotation(asked: Client, house: Bench) -> None:
    """Protects fairness from operators who look."""
    before = [
        (seat.current, seat.strikes) for member in house.pool._members for seat in member.seats.values()
    ]
    for _ in range(5):
        await _seen(asked, "/admin/pool/explain?model=sonnet")
    after = [(seat.current, seat.strikes) for member in house.pool._members for seat in member.seats.values()]
    assert before == after


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/admin/pool/explain?model=", "model"),
        ("/admin/pool/explain?model=%00", "model"),
        (f"/admin/pool/explain?model={'x' * 200}", "model"),
        ("/admin/pool/explain?model=sonnet&model=opus", "model"),
        ("/admin/pool/explain?client=nobody", "client"),
        ("/admin/pool/explain?client=", "client"),
        ("/admin/pool/explain?modle=sonnet", "modle"),
        ("/admin/requests?limit=0", "limit"),
        ("/admin/requests?limit=1001", "limit"),
        ("/admin/requests?limit=x", "limit"),
        ("/admin/requests?limit=1&limit=2", "limit"),
        ("/admin/requests?status=99", "status"),
        ("/admin/requests?status=600", "status"),
        ("/admin/requests?status=5x", "status"),
        ("/admin/requests?status=x00", "status"),
        ("/admin/requests?status=", "status"),
        ("/admin/requests?credential=api-9", "credential"),
        ("/admin/requests?credential=", "credential"),
        ("/admin/requests?offset=5", "offset"),
    ],
)
async def test_a_wrong_question_is_refused_by_name(asked: Client, path: str, named: str) -> None:
    """Protects operators from an answer to another question."""
    answer = await asked.get(path, headers=ADMINISTRATOR)
    error = (await answer.json())["error"]
    assert (answer.status, error["type"]) == (400, "invalid_request_error")
    assert named in error["message"]
    assert error["param"] == named


async def test_the_last_requests_are_listed_and_found_by_their_id(asked: Client) -> None:
    """Protects the way from a client's complaint, which quotes an id, to what happened."""
    first = await asked.post("/v1/messages", data=body(), headers=AUTHORIZED)
    second = await asked.post("/v1/messages", data=b"nonsense", headers=AUTHORIZED)
    ids = [answer.headers["x-request-id"] for answer in (second, first)]
    rows = _rows(await _seen(asked, "/admin/requests"), "requests")
    assert [row["id"] for row in rows] == ids
    assert await _seen(asked, f"/admin/requests/{ids[1]}") == rows[1]
    attempts = rows[1]["attempts"]
    assert isinstance(attempts, list)
    assert [(each["credential"], each["outcome"], each["status"]) for each in attempts] == [
        ("api-1", "no_model", 404),
        ("api-4", "success", 200),
    ]
    for query, expected in (
        ("limit=1", ids[:1]),
        ("status=4xx", ids[:1]),
        ("status=200", ids[1:]),
        ("credential=api-1", ids[1:]),
        ("credential=api-3", []),
    ):
        found = _rows(await _seen(asked, f"/admin/requests?{query}"), "requests")
        assert [row["id"] for row in found] == expected, query


@pytest.mark.parametrize("wanted", ["req_0", "%00", "x" * 500, "%FF", "a%2Fb"])
async def test_a_request_that_is_not_remembered_is_not_found(asked: Client, wanted: str) -> None:
    """Protects operators from a page that looks like an answer."""
    answer = await asked.get(f"/admin/requests/{wanted}", headers=ADMINISTRATOR)
    assert answer.status == 404
    assert "message" in (await answer.json())["error"]


async def test_an_order_is_carried_out_kept_and_answered_with_the_new_state(
    asked: Client, house: Bench
) -> None:
    """Protects the three orders, and what is told from being more than what was kept."""
    _run_out_of_credit(house)
    status, view = await _ordered(asked, "api-1", "reset")
    assert (status, view.state.state, house.store.rows[-1].state) == (200, "ready", "ready")
    status, view = await _ordered(asked, "api-1", "disable")
    assert (status, view.state.state, house.store.rows[-1].state) == (200, "disabled", "disabled")
    assert view.organization == "org-0123"
    status, view = await _ordered(asked, "api-1", "enable")
    assert (status, view.state.state, house.store.rows[-1].state) == (200, "ready", "ready")


@pytest.mark.parametrize("action", _ORDERS)
async def test_an_order_given_twice_is_answered_the_same(asked: Client, action: str) -> None:
    """Protects scripts that repeat what they are not sure of."""
    first = await _ordered(asked, "api-1", action)
    assert first[0] == 200
    assert await _ordered(asked, "api-1", action) == first


@pytest.mark.parametrize("action", _ORDERS)
@pytest.mark.parametrize("alias", ["api-9", "API-1", "%00", "%FF", "x" * 300, "..%2Fapi-1"])
async def test_an_unknown_alias_is_not_found_and_named(asked: Client, alias: str, action: str) -> None:
    """Protects operators from believing that something happened."""
    status, answer = await _ordered(asked, alias, action)
    assert status == 404
    assert answer.error.message.startswith("No credential is called ")
    if "%" not in alias:
        assert alias[:64] in answer.error.message


@pytest.mark.parametrize(("action", "status"), [("enable", 409), ("reset", 409), ("disable", 200)])
async def test_what_the_configuration_disables_only_the_configuration_enables(
    asked: Client, action: str, status: int
) -> None:
    """Protects operators from an order that the next start would undo."""
    found, answer = await _ordered(asked, "api-3", action)
    assert found == status
    if status == 409:
        assert "api-3" in answer.error.message


async def test_an_order_that_cannot_be_kept_is_not_acknowledged(
    asked: Client, house: Bench, log: RecordedLog
) -> None:
    """Protects operators from a credential that comes back with the next start, now and when they ask again."""
    house.store.problem = StoreError("the disk is full")
    for _ in range(2):
        status, answer = await _ordered(asked, "api-1", "disable")
        assert (status, answer.error.code) == (503, "not_kept")
    assert log.of("order not kept")[0]["problem"] == "the disk is full"
    house.store.problem = None
    assert (await _ordered(asked, "api-1", "disable"))[0] == 200
    assert [row.state for row in house.store.rows] == ["disabled"]


@pytest.mark.parametrize("action", _ORDERS)
async def test_an_order_is_logged_with_who_gave_it(asked: Client, log: RecordedLog, action: str) -> None:
    """Protects those who look for the one who did it."""
    await _ordered(asked, "api-1", action)
    (line,) = log.of("credential administered")
    assert str(line.pop("request_id")).startswith("req_")
    assert line == {"action": action, "credential": "api-1", "by": "admin key", "remote": "127.0.0.1"}


def test_the_manual_knows_every_word_and_every_address() -> None:
    """Protects operators from a word in an answer that is explained nowhere, and from a line that cannot be pasted."""
    words = {*FailureClass, *Usability, SUCCESS, ABANDONED, "no_tool_call"}
    assert sorted(word for word in words if f"`{word}`" not in _MANUAL) == []
    told = {path.partition("?")[0] for path in re.findall(r"127\.0\.0\.1:8080(/admin/[^\s\"]+)", _MANUAL)}
    known = [re.sub(r"\{\w+\}", "[A-Za-z0-9_-]+", route.path) for route in ROUTES]
    assert len(told) >= 5
    assert sorted(path for path in told if not any(re.fullmatch(one, path) for one in known)) == []
