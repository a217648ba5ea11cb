"""``/v1/conversations`` over HTTP."""

from typing import Final

import msgspec
import pytest

from proxy.server.context import Services
from proxy.server.conversations import CONVERSATION_ROUTES
from proxy.store.base import StoreError
from tests.unit.dispatch.building import Bench, bench
from tests.unit.server.building import AUTHORIZED, Client, client, services, settings

_OFF: Final = settings(CONVERSATIONS="off")
_V1: Final = "/v1/conversations"


class _Error(msgspec.Struct):
    message: str
    param: str | None = None
    code: str | None = None


class _Envelope(msgspec.Struct):
    error: _Error


def _client(shared: Services) -> Client:
    return client(shared, CONVERSATION_ROUTES)


@pytest.fixture
def house() -> Bench:
    """What the server rests on."""
    return bench()


async def _refused(asked: Client, body: bytes, status: int, **headers: str) -> _Error:
    answer = await asked.post(_V1, data=body, headers=AUTHORIZED | headers)
    assert answer.status == status, await answer.text()
    return msgspec.json.decode(await answer.read(), type=_Envelope).error


async def test_a_conversation_is_made_found_listed_and_deleted(house: Bench) -> None:
    """Protects the shapes that clients of both sorts read."""
    async with _client(services(house)) as asked:
        made = await (await asked.post(_V1, data=b'{"metadata":{"a":"b"}}', headers=AUTHORIZED)).json()
        seconds = house.clock.unix_ms() // 1000
        assert made == {
            "id": made["id"],
            "object": "conversation",
            "created_at": seconds,
            "updated_at": seconds,
            "message_count": 0,
            "metadata": {"a": "b"},
        }
        assert await (await asked.get(f"{_V1}/{made['id']}", headers=AUTHORIZED)).json() == made
        assert await (await asked.get(f"/hf{_V1}", headers=AUTHORIZED)).json() == {
            "object": "list",
            "data": [made],
            "conversations": [{"id": made["id"], "updated_at": seconds}],
            "first_id": made["id"],
            "last_id": made["id"],
            "has_more": False,
        }
        gone = await asked.delete(f"{_V1}/{made['id']}", headers=AUTHORIZED)
        assert await gone.json() == {"id": made["id"], "object": "conversation.deleted", "deleted": True}
        assert (await asked.get(f"{_V1}/{made['id']}", headers=AUTHORIZED)).status == 404


async def test_lists_come_in_pages_the_last_used_first(house: Bench) -> None:
    """Protects clients with many conversations."""
    async with _client(services(house)) as asked:
        made = []
        for _ in range(5):
            house.clock.advance(1)
            made.append((await (await asked.post(_V1, headers=AUTHORIZED)).json())["id"])
        seen: list[str] = []
        more, query = True, "limit=2"
        while more:
            page = await (await asked.get(f"{_V1}?{query}", headers=AUTHORIZED)).json()
            seen += [each["id"] for each in page["data"]]
            more, query = page["has_more"], f"limit=2&after={page['last_id']}"
        assert seen == made[::-1]
        for query in ("limit=0", "limit=x", "after=conv_1", "order=asc"):
            assert (await asked.get(f"{_V1}?{query}", headers=AUTHORIZED)).status == 400


async def test_an_order_sent_twice_makes_one_conversation(house: Bench) -> None:
    """Protects clients whose connection broke, and metadata from being kept in a second place."""
    order = AUTHORIZED | {"idempotency-key": "o-1"}
    async with _client(services(house)) as asked:
        first, again = [
            await asked.post(_V1, data=b'{"metadata":{"a":"canary"}}', headers=order) for _ in range(2)
        ]
        assert await first.read() == await again.read()
        assert again.headers["idempotent-replayed"] == "true"
        assert (await asked.post(_V1, data=b"{}", headers=order)).status == 409
        listed = await (await asked.get(_V1, headers=AUTHORIZED)).json()
        assert len(listed["data"]) == 1
    kept = [row[0] for row in await house.store.access._carry_out("SELECT body FROM idempotency")]
    assert kept
    assert "canary" not in "".join(kept)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"metadata":{"a":1}}', "metadata"),
        (b'{"metadata":[]}', "metadata"),
        (msgspec.json.encode({"metadata": {str(number): "" for number in range(17)}}), "metadata"),
        (b'{"metadata":{"a":"' + b"x" * 513 + b'"}}', "metadata"),
        (b'{"model":5}', "model"),
        (b'{"project_path":"../x"}', "project_path"),
        (b'{"items":[{"role":"user"}]}', "items"),
        (b"[]", None),
        (b"{", None),
        (b'{"model":"\xff"}', None),
    ],
)
async def test_what_makes_no_sense_is_refused_by_name(body: bytes, param: str | None) -> None:
    """Protects clients from an error of ours."""
    async with _client(services()) as asked:
        error = await _refused(asked, body, 400)
        assert (error.param or "").partition("[")[0] == (param or "")


async def test_turned_off_there_are_none() -> None:
    """Protects the operator's word."""
    async with _client(services(configured=_OFF)) as asked:
        assert (await _refused(asked, b"{}", 404)).code == "conversations_off"


async def test_a_store_in_trouble_is_told(house: Bench) -> None:
    """Protects clients from an id that would lead nowhere."""
    house.store.tables.problem = StoreError("full")
    async with _client(services(house)) as asked:
        assert (await _refused(asked, b"{}", 503)).code == "not_kept"
        for path in (_V1, f"{_V1}/conv_{'0' * 32}"):
            assert (await asked.get(path, headers=AUTHORIZED)).status == 503


async def test_nobody_without_a_key_gets_in() -> None:
    """Protects everything that was said."""
    async with _client(services()) as asked:
        for answer in (await asked.get(_V1), await asked.post(_V1), await asked.delete(f"{_V1}/x")):
            assert answer.status == 401
