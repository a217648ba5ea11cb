"""Folders clients work in, and what requests that belong together used."""

import asyncio
import stat
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from proxy.dispatch.projects import SESSIONS_KEPT_MS, Projects, demand_path, make_folder
from proxy.errors import GatewayError, InvalidRequest, NotFound
from proxy.model.message import Usage
from proxy.model.pricing import Pricing
from proxy.settings.conversations import ConversationSettings
from proxy.store.base import StoreError
from proxy.store.conversations import Page
from tests.support.clock import FakeClock
from tests.support.tables import MemoryTables
from tests.unit.dispatch.building import CATALOG, MODEL

_ALL: Final = Page(0, 100)
_ALICE: Final = "a" * 32
_BOB: Final = "b" * 32


class _Desk:
    """Projects below a folder, and what they rest on."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = FakeClock()
        self.tables = MemoryTables()
        settings = replace(ConversationSettings(), project_root=root)
        self.projects = Projects(self.tables.projects, self.clock, settings, Pricing(CATALOG))


def _mode(path: str) -> int:
    """Who may enter a folder; it has to be one."""
    found = Path(path).stat().st_mode
    assert stat.S_ISDIR(found)
    return stat.S_IMODE(found)


@pytest.fixture
def desk(tmp_path: Path) -> _Desk:
    """Projects below a folder that does not exist yet."""
    return _Desk(tmp_path / "projects")


async def test_each_owner_has_folders_of_its_own(desk: _Desk) -> None:
    """Protects what one client works on from the others: equal paths are different folders, none within another's."""
    mine = await desk.projects.create_project(_ALICE, "Site", "", "web/site")
    theirs = await desk.projects.create_project(_BOB, "Site", "", "web/site")
    assert mine.path != theirs.path
    for row in (mine, theirs):
        assert row.path == str(desk.root / row.owner[:16] / "web/site")
        assert _mode(row.path) == 0o700
    with pytest.raises(GatewayError) as caught:
        await desk.projects.create_project(_ALICE, "Other", "", "web/site")
    assert (caught.value.status, caught.value.param) == (409, "path")


async def test_a_project_whose_folder_lies_on_another_machine_gets_one_here(desk: _Desk) -> None:
    """Protects requests that reach another replica than the one that made the project, and what lies elsewhere."""
    made = await desk.projects.create_project(_ALICE, "Site", "", "web/site")
    await asyncio.to_thread(Path(made.path).rmdir)
    assert await desk.projects.folder(_ALICE, made.id) == made.path
    assert _mode(made.path) == 0o700
    with pytest.raises(NotFound):
        await desk.projects.folder(_BOB, made.id)
    elsewhere = replace(made, id="old", path=str(desk.root.parent / "before/site"))
    await desk.tables.projects.add_project(elsewhere, 10)
    assert await desk.projects.folder(_ALICE, "old") == elsewhere.path
    assert not await asyncio.to_thread(Path(elsewhere.path).exists)


@pytest.mark.parametrize(
    ("name", "begin"),
    [("My Site!", "My-Site-"), ("../../etc", "etc-"), ("日本", "project-"), ("x" * 128, "x" * 40)],
)
async def test_a_name_makes_a_harmless_folder(desk: _Desk, name: str, begin: str) -> None:
    """Protects the machine from names that are paths."""
    row = await desk.projects.create_project(_ALICE, name, "", "")
    folder = Path(row.path)
    assert folder.parent == desk.root / _ALICE[:16]
    assert folder.name.startswith(begin)
    assert _mode(row.path) == 0o700


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/etc",
        "..",
        "a/..",
        "a//b",
        "a/",
        "-x",
        ".hidden",
        "a\0",
        "a\n",
        "a b",
        "é",
        "a/./b",
        "x" * 201,
        "C:\\x",
    ],
)
def test_a_path_that_leads_elsewhere_is_refused(path: str) -> None:
    """Protects all other folders of the machine."""
    with pytest.raises(InvalidRequest) as caught:
        demand_path(path, field="path")
    assert caught.value.param == "path"


def test_a_plain_path_is_taken() -> None:
    """Protects ordinary folders from being refused."""
    for path in ("", "a", "a/b-c_d.e/9", "_x"):
        assert demand_path(path, field="path") == path


def test_a_link_leads_out_of_no_root(tmp_path: Path) -> None:
    """Protects other folders from whoever could put a link below the root, a program in a project for one."""
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    make_folder(root, ("owner", "a"))
    (root / "owner" / "link").symlink_to(outside)
    with pytest.raises(OSError, match=r"."):
        make_folder(root, ("owner", "link", "b"))
    assert list(outside.iterdir()) == []


async def test_a_folder_that_cannot_be_made_leaves_no_project(desk: _Desk) -> None:
    """Protects clients from a project that has no place."""
    desk.root.write_text("no folder")
    with pytest.raises(GatewayError) as caught:
        await desk.projects.create_project(_ALICE, "Site", "", "site")
    assert caught.value.status == 503
    assert str(desk.root) not in caught.value.message
    assert await desk.projects.projects(_ALICE, _ALL) == ((), 0)


async def test_a_deleted_project_leaves_its_folder(desk: _Desk) -> None:
    """Protects people's work from a request."""
    row = await desk.projects.create_project(_ALICE, "Site", "", "site")
    with pytest.raises(NotFound):
        await desk.projects.delete_project(_BOB, row.id)
    await desk.projects.delete_project(_ALICE, row.id)
    assert _mode(row.path) == 0o700
    with pytest.raises(NotFound) as caught:
        await desk.projects.project(_ALICE, row.id)
    assert (caught.value.param, caught.value.code) == ("project_id", "project_not_found")


async def _made(desk: _Desk, **fields: str) -> str:
    texts = {"project_id": None, "title": None, "model": None, "system_prompt": None, **fields}
    return (await desk.projects.create_session(_ALICE, **texts)).id


async def test_a_session_adds_up_tokens_cost_and_messages(desk: _Desk) -> None:
    """Protects the totals: what was read from the cache counts too, and what has no price costs nothing known."""
    session = await _made(desk, title="Talk", system_prompt="Be brief.")
    usage = Usage(input_tokens=1000, output_tokens=100, cache_read_input_tokens=10)
    for model in (MODEL, "claude-unheard-of"):
        await desk.projects.count_in(_ALICE, session, project_id=None, model=model, usage=usage)
    await desk.projects.count_in(_ALICE, session, project_id=None, model=MODEL, usage=None)
    row = await desk.projects.session(_ALICE, session)
    cost = Pricing(CATALOG).cost_micro_usd(MODEL, usage)
    assert (row.messages, row.tokens, row.micro_usd) == (6, 2220, cost)
    assert (row.title, row.system_prompt, row.model) == ("Talk", "Be brief.", MODEL)


async def test_a_session_is_active_as_long_as_conversations_are_kept(desk: _Desk) -> None:
    """Protects the number of those in use."""
    session = await _made(desk)
    desk.clock.advance(1799)
    assert desk.projects.is_active(await desk.projects.session(_ALICE, session))
    assert (await desk.projects.sums(_ALICE)).active == 1
    desk.clock.advance(1)
    assert not desk.projects.is_active(await desk.projects.session(_ALICE, session))
    assert (await desk.projects.sums(_ALICE)).active == 0


async def test_a_session_of_a_project_needs_one_of_its_owners(desk: _Desk) -> None:
    """Protects projects from sessions of other clients."""
    row = await desk.projects.create_project(_BOB, "Site", "", "site")
    with pytest.raises(NotFound):
        await _made(desk, project_id=row.id)


async def test_sessions_nobody_uses_are_deleted_after_a_time(desk: _Desk) -> None:
    """Protects the disk, and instructions from resting for ever."""
    await _made(desk)
    desk.clock.advance(SESSIONS_KEPT_MS / 1000 - 1)
    await desk.projects.sweep()
    young = await _made(desk)
    desk.clock.advance(1)
    running = desk.projects.run()
    await anext(running)
    async with asyncio.timeout(5):
        while (await desk.projects.sums(_ALICE)).sessions > 1:  # noqa: ASYNC110 - only the store shows it
            await asyncio.sleep(0.001)
    assert (await desk.projects.session(_ALICE, young)).id == young
    with pytest.raises(StopAsyncIteration):
        await anext(running)


async def test_a_store_that_cannot_be_used_is_told_as_such(desk: _Desk) -> None:
    """Protects clients from taking a broken disk for a project that is gone, and answers from sums."""
    desk.tables.problem = StoreError("broken")
    projects = desk.projects
    for asked in (
        projects.create_project(_ALICE, "Site", "", ""),
        projects.project(_ALICE, "p"),
        projects.projects(_ALICE, _ALL),
        projects.delete_project(_ALICE, "p"),
        projects.session(_ALICE, "s"),
        projects.sessions(_ALICE, _ALL, None),
        projects.sums(_ALICE),
        projects.delete_session(_ALICE, "s"),
        _made(desk),
    ):
        with pytest.raises(GatewayError) as caught:
            await asked
        assert (caught.value.status, caught.value.code) == (503, "not_kept")
    await projects.count_in(_ALICE, "s", project_id=None, model=MODEL, usage=None)
    await projects.sweep()
