"""``/v1/projects`` and ``/v1/sessions`` over HTTP."""

from pathlib import Path
from typing import Final

import msgspec
import pytest

from proxy.access import Rules
from proxy.access.keys import random_key
from proxy.model.message import Usage
from proxy.secrets import Secret
from proxy.server.projects import PROJECT_ROUTES
from proxy.settings import Settings
from proxy.store.base import StoreError
from tests.support.gateway import CLIENT_KEY
from tests.unit.dispatch.building import MODEL, bench
from tests.unit.server.building import AUTHORIZED, client, services, settings

_PROJECTS: Final = "/v1/projects"
_SESSIONS: Final = "/v1/sessions"


@pytest.fixture
def configured(tmp_path: Path) -> Settings:
    """A configuration with a folder for projects."""
    return settings(PROJECT_ROOT=str(tmp_path / "projects"))


async def test_a_project_is_made_found_listed_and_deleted(configured: Settings) -> None:
    """Protects the shapes that clients of the other program read."""
    async with client(services(configured=configured), PROJECT_ROUTES) as asked:
        answer = await asked.post(
            _PROJECTS, data=b'{"name":"Site","description":"Mine.","path":"web/site"}', headers=AUTHORIZED
        )
        assert answer.status == 201
        made = await answer.json()
        assert set(made) == {"id", "name", "description", "path", "created_at", "updated_at", "is_active"}
        assert (made["name"], made["description"], made["is_active"]) == ("Site", "Mine.", True)
        assert made["created_at"] == made["updated_at"]
        assert made["path"].endswith("/web/site")
        assert await (await asked.get(f"{_PROJECTS}/{made['id']}", headers=AUTHORIZED)).json() == made
        assert await (await asked.get(_PROJECTS, headers=AUTHORIZED)).json() == {
            "data": [made],
            "pagination": {
                "page": 1,
                "per_page": 20,
                "total_items": 1,
                "total_pages": 1,
                "has_next": False,
                "has_prev": False,
            },
        }
        assert (await asked.delete(f"{_PROJECTS}/{made['id']}", headers=AUTHORIZED)).status == 200
        assert (await asked.get(f"{_PROJECTS}/{made['id']}", headers=AUTHORIZED)).status == 404


async def test_pages_are_counted_from_one(configured: Settings) -> None:
    """Protects clients that walk through a list, to its end and beyond."""
    async with client(services(configured=configured), PROJECT_ROUTES) as asked:
        for number in range(5):
            body = msgspec.json.encode({"title": f"{number}"})
            assert (await asked.post(_SESSIONS, data=body, headers=AUTHORIZED)).status == 201
        sizes, flags = [], []
        for page in (1, 2, 3, 4):
            found = await (await asked.get(f"{_SESSIONS}?page={page}&per_page=2", headers=AUTHORIZED)).json()
            sizes.append(len(found["data"]))
            flags.append((found["pagination"]["has_prev"], found["pagination"]["has_next"]))
            assert found["pagination"]["total_pages"] == 3
        assert sizes == [2, 2, 1, 0]
        assert flags == [(False, True), (True, True), (True, False), (True, False)]
        for query in ("page=0", "per_page=101", "page=x", "offset=1"):
            for path in (_SESSIONS, _PROJECTS):
                assert (await asked.get(f"{path}?{query}", headers=AUTHORIZED)).status == 400


async def test_a_session_shows_its_totals_alone_and_together(configured: Settings) -> None:
    """Protects the numbers people look at."""
    shared = services(configured=configured)
    async with client(shared, PROJECT_ROUTES) as asked:
        wanted = b'{"title":"Talk","model":"sonnet","system_prompt":"Be brief."}'
        made = await (await asked.post(_SESSIONS, data=wanted, headers=AUTHORIZED)).json()
        assert (made["title"], made["model"], made["system_prompt"]) == ("Talk", "sonnet", "Be brief.")
        assert (made["total_tokens"], made["total_cost"], made["message_count"]) == (0, 0.0, 0)
        owner = Secret(CLIENT_KEY).fingerprint(shared.keys.secret_key, "owner of objects")
        await shared.projects.count_in(
            owner,
            made["id"],
            project_id=None,
            model=MODEL,
            usage=Usage(input_tokens=1_000_000, output_tokens=5),
        )
        shown = await (await asked.get(f"{_SESSIONS}/{made['id']}", headers=AUTHORIZED)).json()
        assert shown["total_tokens"] == 1_000_005
        assert shown["total_cost"] > 1
        assert (shown["message_count"], shown["model"], shown["is_active"]) == (2, MODEL, True)
        stats = await (await asked.get(f"{_SESSIONS}/stats", headers=AUTHORIZED)).json()
        assert stats == {
            "total_sessions": 1,
            "active_sessions": 1,
            "total_messages": 2,
            "total_tokens": 1_000_005,
            "total_cost": shown["total_cost"],
            "models_in_use": {MODEL: 1},
        }
        assert (await asked.delete(f"{_SESSIONS}/{made['id']}", headers=AUTHORIZED)).status == 200
        assert (await asked.delete(f"{_SESSIONS}/{made['id']}", headers=AUTHORIZED)).status == 404


async def test_clients_see_nothing_of_each_other(configured: Settings) -> None:
    """Protects projects and sessions from other clients, who are told what they would be of none."""
    shared, other = services(configured=configured), random_key()
    await shared.admission.desk.stored.add("other", Rules(), other)
    theirs = {"x-api-key": other.reveal()}
    async with client(shared, PROJECT_ROUTES) as asked:
        project = await (await asked.post(_PROJECTS, data=b'{"name":"Site"}', headers=AUTHORIZED)).json()
        body = msgspec.json.encode({"project_id": project["id"]})
        session = await (await asked.post(_SESSIONS, data=body, headers=AUTHORIZED)).json()
        assert session["project_id"] == project["id"]
        assert (await asked.post(_SESSIONS, data=body, headers=theirs)).status == 404
        for path, made in ((_PROJECTS, project), (_SESSIONS, session)):
            for method in ("GET", "DELETE"):
                answer = await asked.request(method, f"{path}/{made['id']}", headers=theirs)
                assert answer.status == 404
            listed = await (await asked.get(path, headers=theirs)).json()
            assert listed["data"] == []
            mine = await (await asked.get(path, headers=AUTHORIZED)).json()
            assert len(mine["data"]) == 1
        query = f"{_SESSIONS}?project_id={project['id']}"
        assert len((await (await asked.get(query, headers=AUTHORIZED)).json())["data"]) == 1


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        (_PROJECTS, b"{}", "name"),
        (_PROJECTS, b'{"name":""}', "name"),
        (_PROJECTS, b'{"name":"a","path":"/etc"}', "path"),
        (_PROJECTS, b'{"name":"a","description":5}', "description"),
        (_SESSIONS, b'{"title":5}', "title"),
        (_SESSIONS, b'{"model":""}', "model"),
        (_SESSIONS, b"[]", None),
    ],
)
async def test_what_makes_no_sense_is_refused_by_name(
    configured: Settings, path: str, body: bytes, param: str | None
) -> None:
    """Protects clients from an error of ours."""
    async with client(services(configured=configured), PROJECT_ROUTES) as asked:
        answer = await asked.post(path, data=body, headers=AUTHORIZED)
        assert answer.status == 400
        assert (await answer.json())["error"]["param"] == param


async def test_an_order_sent_twice_is_carried_out_once(configured: Settings) -> None:
    """Protects clients whose connection broke, and instructions from being kept in a second place."""
    house = bench()
    order = AUTHORIZED | {"idempotency-key": "o-1"}
    async with client(services(house, configured=configured), PROJECT_ROUTES) as asked:
        for path, body in ((_PROJECTS, b'{"name":"Site"}'), (_SESSIONS, b'{"system_prompt":"canary"}')):
            headers = order | {"idempotency-key": path}
            first, again = [await asked.post(path, data=body, headers=headers) for _ in range(2)]
            assert (first.status, again.status) == (201, 201)
            assert await first.read() == await again.read()
            listed = await (await asked.get(path, headers=AUTHORIZED)).json()
            assert listed["pagination"]["total_items"] == 1
    kept = [row[0] for row in await house.store.access._carry_out("SELECT body FROM idempotency")]
    assert kept
    assert "canary" not in "".join(kept)


async def test_a_store_in_trouble_is_told(configured: Settings) -> None:
    """Protects clients from ids that would lead nowhere."""
    house = bench()
    house.store.tables.problem = StoreError("full")
    async with client(services(house, configured=configured), PROJECT_ROUTES) as asked:
        for path in (_PROJECTS, _SESSIONS, f"{_SESSIONS}/stats", f"{_SESSIONS}/x", f"{_PROJECTS}/x"):
            assert (await asked.get(path, headers=AUTHORIZED)).status == 503
        for path in (_PROJECTS, _SESSIONS):
            assert (await asked.post(path, data=b'{"name":"a"}', headers=AUTHORIZED)).status == 503
