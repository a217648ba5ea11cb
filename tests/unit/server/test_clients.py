"""What an administrator orders about clients: keys shown once, limited, revoked, and all of it written down."""

import asyncio
from collections.abc import AsyncIterator, Mapping

import msgspec
import pytest

from proxy.access.rules import Period, Rules
from proxy.server.app import ROUTES
from proxy.server.clients import NewKey
from proxy.server.context import Services
from proxy.store.base import StoreError
from tests.unit.dispatch.building import Bench, bench
from tests.unit.server.building import ADMINISTRATOR, AUTHORIZED, Client, client, services


@pytest.fixture
def house() -> Bench:
    """A pool of three."""
    return bench()


@pytest.fixture
def shared(house: Bench) -> Services:
    """What handlers share."""
    return services(house)


@pytest.fixture
async def asked(shared: Services) -> AsyncIterator[Client]:
    """A client of all routes."""
    async with client(shared, ROUTES) as found:
        yield found


async def _made(
    asked: Client, order: str | None = None, /, **fields: object
) -> tuple[int, dict[str, object], Mapping[str, str]]:
    headers = ADMINISTRATOR | ({"idempotency-key": order} if order else {})
    answer = await asked.post("/admin/keys", data=msgspec.json.encode(fields), headers=headers)
    return answer.status, await answer.json(), answer.headers


async def _listed(asked: Client) -> list[dict[str, object]]:
    answer = await asked.get("/admin/keys", headers=ADMINISTRATOR)
    found: dict[str, list[dict[str, object]]] = await answer.json()
    return found["keys"]


async def _orders(asked: Client, query: str = "") -> list[tuple[str, str]]:
    answer = await asked.get(f"/admin/audit{query}", headers=ADMINISTRATOR)
    found = await answer.json()
    return [(row["action"], row["target"]) for row in found["orders"]]


async def test_a_made_key_opens_what_it_may_and_is_shown_once(asked: Client) -> None:
    """Protects keys from being read again by whoever may look at the list."""
    status, made, headers = await _made(asked, name="work", models=["claude-sonnet-*"])
    assert (status, set(made), headers["cache-control"]) == (201, {"name", "key"}, "no-store")
    answer = await asked.get("/v1/models", headers={"x-api-key": str(made["key"])})
    assert answer.status == 200
    shown = {each["id"] for each in (await answer.json())["data"]}
    assert shown
    assert all(name.startswith("claude-sonnet-") for name in shown)
    assert (
        await asked.get("/v1/models/claude-opus-5-5", headers={"x-api-key": str(made["key"])})
    ).status == 404
    assert str(made["key"]) not in str(await _listed(asked))
    assert [view["name"] for view in await _listed(asked)] == ["work"]


async def test_a_revoked_key_opens_nothing_and_says_why(asked: Client) -> None:
    """Protects the operator's word, and the client from looking for a slip of its own."""
    _, made, _ = await _made(asked, name="work")
    assert (await asked.delete("/admin/keys/work", headers=ADMINISTRATOR)).status == 200
    answer = await asked.get("/v1/models", headers={"x-api-key": str(made["key"])})
    assert answer.status == 401
    assert (await answer.json())["error"]["message"] == "The client key was revoked."
    assert (await asked.delete("/admin/keys/work", headers=ADMINISTRATOR)).status == 404
    (view,) = await _listed(asked)
    assert view["state"] == "revoked"
    assert (await _made(asked, name="work"))[0] == 409


async def test_an_expired_key_says_so(asked: Client, house: Bench) -> None:
    """Protects clients whose time is over from guessing why."""
    _, made, _ = await _made(asked, name="work", expires_at="2027-01-01T00:00:00+01:00")
    assert (await asked.get("/v1/models", headers={"x-api-key": str(made["key"])})).status == 200
    house.clock.advance(86_400 * 60)
    answer = await asked.get("/v1/models", headers={"x-api-key": str(made["key"])})
    assert answer.status == 401
    assert (await answer.json())["error"]["message"] == "The client key has expired."
    assert (await _listed(asked))[0]["state"] == "expired"


def test_every_limit_is_kept_as_it_was_given() -> None:
    """Protects against two limits that are mixed up, and money that is rounded away."""
    text = (
        b'{"name": "a", "models": ["m*"], "credentials": ["api-1"], "requests_per_minute": 1, "tokens_per_minute": 2,'
        b'"concurrency": 3, "budget_usd": 0.10, "period": "day", "expires_at": "2027-01-01T00:00:00Z"}'
    )
    assert msgspec.json.decode(text, type=NewKey).rules() == Rules(
        models=("m*",),
        credentials=frozenset({"api-1"}),
        requests_per_minute=1,
        tokens_per_minute=2,
        concurrency=3,
        budget_micro_usd=100_000,
        period=Period.DAY,
        expires_unix_ms=1_798_761_600_000,
    )
    assert msgspec.json.decode(b'{"name": "a"}', type=NewKey).rules() == Rules()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "a b"}, "name"),
        ({"name": "a\n"}, "name"),
        ({"name": "a" * 65}, "name"),
        ({"name": "a", "models": "claude"}, "models"),
        ({"name": "a", "models": [" "]}, "models[0]"),
        ({"name": "a", "credentials": ["nobody"]}, "credentials[0]"),
        ({"name": "a", "requests_per_minute": 0}, "requests_per_minute"),
        ({"name": "a", "tokens_per_minute": 1.5}, "tokens_per_minute"),
        ({"name": "a", "concurrency": "2"}, "concurrency"),
        ({"name": "a", "budget_usd": -1}, "budget_usd"),
        ({"name": "a", "budget_usd": 1e300}, "budget_usd"),
        ({"name": "a", "period": "year"}, "period"),
        ({"name": "a", "expires_at": "tomorrow"}, "expires_at"),
        ({"name": "a", "expires_at": "2027-01-01T00:00:00"}, "expires_at"),
        ({"name": "a", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "a", "role": "admin"}, None),
        ({"name": "a", "key": "sk-mine"}, None),
        ({"name": "a", "digest": "00"}, None),
    ],
    ids=str,
)
async def test_a_field_that_makes_no_sense_is_refused_by_name(
    asked: Client, fields: dict[str, object], param: str | None
) -> None:
    """Protects against a limit with a slip in its name, which would limit nothing."""
    status, told, _ = await _made(asked, **fields)
    assert status == 400
    assert isinstance(told["error"], dict)
    assert told["error"]["param"] == param
    assert await _listed(asked) == []


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'"a"', b"{", b"\xff"])
async def test_what_is_no_order_is_refused(asked: Client, body: bytes) -> None:
    """Protects against a 500 for a slip."""
    assert (await asked.post("/admin/keys", data=body, headers=ADMINISTRATOR)).status == 400


async def test_an_order_sent_fifty_times_makes_one_key(asked: Client) -> None:
    """Protects an operator's script whose connection broke from keys nobody knows of."""
    found = await asyncio.gather(*(_made(asked, "order-1", name="work") for _ in range(50)))
    assert {status for status, _, _ in found} == {201}
    assert len({str(made["key"]) for _, made, _ in found}) == 1
    assert sum(headers.get("idempotent-replayed") == "true" for _, _, headers in found) == 49
    assert len(await _listed(asked)) == 1
    assert (await _made(asked, "order-1", name="other"))[0] == 409
    assert len(await _orders(asked)) == 1


async def test_a_key_that_was_refused_can_be_ordered_again(asked: Client) -> None:
    """Protects against an order that stays refused after its slip was mended."""
    assert (await _made(asked, "o", name="a", credentials=["nobody"]))[0] == 400
    assert (await _made(asked, "o", name="a"))[0] == 201


async def test_every_order_is_in_the_book(asked: Client) -> None:
    """Protects whoever has to find out what was changed, and by which request."""
    await _made(asked, name="work")
    await asked.post("/admin/pool/api-1/disable", headers=ADMINISTRATOR)
    await asked.post("/admin/pool/api-1/enable", headers=ADMINISTRATOR)
    await asked.delete("/admin/keys/work", headers=ADMINISTRATOR)
    assert await _orders(asked) == [
        ("keys.revoke", "work"),
        ("pool.enable", "api-1"),
        ("pool.disable", "api-1"),
        ("keys.new", "work"),
    ]
    assert await _orders(asked, "?limit=1&before=3") == [("pool.disable", "api-1")]
    assert (await asked.get("/admin/audit?limit=0", headers=ADMINISTRATOR)).status == 400


async def test_what_cannot_be_written_down_is_not_done(asked: Client, house: Bench) -> None:
    """Protects the book from orders that are not in it."""
    house.store.access.problem = StoreError("full")
    for answer in (
        await asked.post("/admin/keys", data=b'{"name": "a"}', headers=ADMINISTRATOR),
        await asked.delete("/admin/keys/a", headers=ADMINISTRATOR),
        await asked.get("/admin/keys", headers=ADMINISTRATOR),
        await asked.get("/admin/audit", headers=ADMINISTRATOR),
    ):
        assert answer.status == 503
    house.store.access.problem = None
    assert await _listed(asked) == []


async def test_a_client_key_orders_nothing(asked: Client) -> None:
    """Protects administration from clients, whatever they send."""
    body = msgspec.json.encode({"name": "mine", "role": "admin"})
    assert (await asked.post("/admin/keys", data=body, headers=AUTHORIZED)).status == 401
    assert (await asked.delete("/admin/keys/env-1", headers=AUTHORIZED)).status == 401
    assert (await asked.get("/admin/audit", headers=AUTHORIZED)).status == 401
    assert await _listed(asked) == []


async def test_explaining_the_pool_knows_what_a_made_key_may_use(asked: Client) -> None:
    """Protects an operator who asks why a client is not answered."""
    await _made(asked, name="work", credentials=["api-2"])
    answer = await asked.get("/admin/pool/explain?client=work", headers=ADMINISTRATOR)
    found = await answer.json()
    assert found["next"] == "api-2"
    words = {each["name"]: each["usability"] for each in found["credentials"]}
    assert words == {"api-1": "other_client", "api-2": "usable", "api-3": "other_client"}
