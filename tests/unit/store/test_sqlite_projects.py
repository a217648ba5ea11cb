"""Projects and sessions, for their owner alone."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from proxy.store import SqliteStore
from proxy.store.conversations import OwnProjects, Page, ProjectRow, SessionRow, SessionSums

_ALL: Final = Page(0, 100)
_PROJECT: Final = ProjectRow(
    owner="alice",
    id="p1",
    name="Site",
    description="Mine.",
    path="/srv/alice/site",
    created_unix_ms=1000,
    updated_unix_ms=1000,
)
_SESSION: Final = SessionRow(
    owner="alice",
    id="s1",
    project_id="p1",
    title="Talk",
    model="m1",
    system_prompt="Be brief.",
    created_unix_ms=1000,
    updated_unix_ms=1000,
)


@pytest.fixture
async def projects(tmp_path: Path) -> AsyncIterator[OwnProjects]:
    """The projects and sessions of an open store."""
    opened = await SqliteStore.open(tmp_path / "data/carousel.db")
    yield opened.projects
    await opened.close()


async def test_a_project_is_there_once_and_for_its_owner(projects: OwnProjects) -> None:
    """Protects a folder from belonging to two projects, and clients from each other."""
    assert await projects.add_project(_PROJECT, 2)
    assert not await projects.add_project(replace(_PROJECT, id="p2"), 2)
    assert not await projects.add_project(replace(_PROJECT, owner="bob"), 2)
    assert await projects.add_project(replace(_PROJECT, id="p2", path="/srv/alice/b"), 2)
    assert not await projects.add_project(replace(_PROJECT, id="p3", path="/srv/alice/c"), 2)
    assert await projects.find_project("alice", "p1") == _PROJECT
    assert await projects.find_project("bob", "p1") is None
    assert not await projects.delete_project("bob", "p1")
    assert await projects.delete_project("alice", "p1")
    assert await projects.find_project("alice", "p1") is None


async def test_lists_come_in_pages_with_their_length(projects: OwnProjects) -> None:
    """Protects clients that walk through a list."""
    for number in range(5):
        row = replace(_PROJECT, id=f"p{number}", path=f"/srv/{number}", updated_unix_ms=number)
        assert await projects.add_project(row, 10)
        await projects.add_session(replace(_SESSION, id=f"s{number}", updated_unix_ms=number))
    found, total = await projects.projects("alice", Page(1, 2))
    assert ([row.id for row in found], total) == (["p3", "p2"], 5)
    listed, total = await projects.sessions("alice", Page(4, 2), None)
    assert ([row.id for row in listed], total) == (["s0"], 5)
    assert await projects.projects("bob", _ALL) == ((), 0)
    assert await projects.sessions("bob", _ALL, None) == ((), 0)


async def test_a_session_adds_up_what_its_requests_used(projects: OwnProjects) -> None:
    """Protects the totals, whoever comes first: the session itself or a request that names it."""
    await projects.add_session(_SESSION)
    used = SessionRow(
        owner="alice",
        id="s1",
        model="m2",
        messages=2,
        tokens=30,
        micro_usd=400,
        created_unix_ms=5000,
        updated_unix_ms=5000,
    )
    for _ in range(2):
        await projects.add_session(used)
    grown = replace(_SESSION, model="m2", messages=4, tokens=60, micro_usd=800, updated_unix_ms=5000)
    assert await projects.find_session("alice", "s1") == grown
    await projects.add_session(replace(used, owner="bob"))
    assert await projects.find_session("alice", "s1") == grown
    assert await projects.find_session("bob", "s1") == replace(used, owner="bob")


async def test_sessions_are_listed_by_project(projects: OwnProjects) -> None:
    """Protects the view of one project from the sessions of others."""
    await projects.add_session(_SESSION)
    await projects.add_session(replace(_SESSION, id="s2", project_id=None))
    found, total = await projects.sessions("alice", _ALL, "p1")
    assert ([row.id for row in found], total) == (["s1"], 1)
    assert (await projects.sessions("alice", _ALL, None))[1] == 2


async def test_all_sessions_together_are_summed_up(projects: OwnProjects) -> None:
    """Protects the totals, with none and with many."""
    assert await projects.session_sums("alice", 0) == SessionSums(models={})
    for number, model in enumerate(("m1", "m1", None)):
        row = replace(_SESSION, id=f"s{number}", model=model, messages=2, tokens=3, micro_usd=4)
        await projects.add_session(replace(row, updated_unix_ms=number))
    await projects.add_session(replace(_SESSION, owner="bob", tokens=1000))
    assert await projects.session_sums("alice", 0) == SessionSums(
        sessions=3, active=2, messages=6, tokens=9, micro_usd=12, models={"m1": 2}
    )


async def test_sessions_end_by_hand_and_by_age(projects: OwnProjects) -> None:
    """Protects clients that want nothing left behind, and the disk from sessions without end."""
    for number in range(3):
        await projects.add_session(replace(_SESSION, id=f"s{number}", updated_unix_ms=number))
    assert not await projects.delete_session("bob", "s2")
    assert await projects.delete_session("alice", "s2")
    assert not await projects.delete_session("alice", "s2")
    assert not await projects.forget_sessions(0)
    found, _ = await projects.sessions("alice", _ALL, None)
    assert [row.id for row in found] == ["s1"]


async def test_all_of_everybody_are_gone_through_part_by_part(projects: OwnProjects) -> None:
    """Protects what is told to other processes from gaps and from being read at once."""
    for number in range(5):
        owner = "alice" if number < 3 else "bob"
        project = replace(_PROJECT, owner=owner, id=f"p{number}", path=f"/srv/{number}")
        assert await projects.add_project(project, 10)
        await projects.add_session(replace(_SESSION, owner=owner, id=f"s{number}"))
    place, found = ("", ""), list[str]()
    while some := await projects.projects_after(*place, 2):
        found += [row.id for row in some]
        place = some[-1].owner, some[-1].id
    assert found == [f"p{number}" for number in range(5)]
    assert [row.id for row in await projects.sessions_after("alice", "s1", 2)] == ["s2", "s3"]
