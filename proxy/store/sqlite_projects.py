"""Projects and sessions in SQLite: one statement a call, two for a list with its length."""

from sqlite3 import Row
from typing import Final

from proxy.store.conversations import Page, ProjectRow, SessionRow, SessionSums
from proxy.store.sqlite_access import Run

_FORGOTTEN_AT_ONCE: Final = 200
_PROJECT: Final = "owner, id, name, description, path, created_unix_ms, updated_unix_ms"
_SESSION: Final = (
    "owner, id, project_id, title, model, system_prompt, messages, tokens, micro_usd, created_unix_ms, "
    "updated_unix_ms"
)
_ADD_PROJECT: Final = f"""
INSERT INTO projects ({_PROJECT}) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7
WHERE (SELECT count(*) FROM projects WHERE owner = ?1) < ?8
    AND NOT EXISTS (SELECT 1 FROM projects WHERE path = ?5)
ON CONFLICT DO NOTHING RETURNING id
"""  # noqa: S608 - made of constants
_FIND_PROJECT: Final = f"SELECT {_PROJECT} FROM projects WHERE owner = ? AND id = ?"  # noqa: S608 - made of constants
_PROJECTS: Final = f"""
SELECT {_PROJECT} FROM projects WHERE owner = ? ORDER BY updated_unix_ms DESC, id DESC LIMIT ? OFFSET ?
"""  # noqa: S608 - made of constants
_COUNT_PROJECTS: Final = "SELECT count(*) FROM projects WHERE owner = ?"
_PROJECTS_AFTER: Final = (
    f"SELECT {_PROJECT} FROM projects WHERE (owner, id) > (?, ?) ORDER BY owner, id LIMIT ?"  # noqa: S608 - made of constants
)
_DELETE_PROJECT: Final = "DELETE FROM projects WHERE owner = ? AND id = ? RETURNING id"
_ADD_SESSION: Final = f"""
INSERT INTO sessions ({_SESSION}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (owner, id) DO UPDATE SET
    project_id = coalesce(excluded.project_id, project_id), title = coalesce(title, excluded.title),
    model = coalesce(excluded.model, model), system_prompt = coalesce(system_prompt, excluded.system_prompt),
    messages = messages + excluded.messages, tokens = tokens + excluded.tokens,
    micro_usd = micro_usd + excluded.micro_usd, updated_unix_ms = max(updated_unix_ms, excluded.updated_unix_ms)
"""  # noqa: S608 - made of constants
_FIND_SESSION: Final = f"SELECT {_SESSION} FROM sessions WHERE owner = ? AND id = ?"  # noqa: S608 - made of constants
_SESSIONS: Final = f"""
SELECT {_SESSION} FROM sessions WHERE owner = ?1 AND (?2 IS NULL OR project_id = ?2)
ORDER BY updated_unix_ms DESC, id DESC LIMIT ?3 OFFSET ?4
"""  # noqa: S608 - made of constants
_SESSIONS_AFTER: Final = (
    f"SELECT {_SESSION} FROM sessions WHERE (owner, id) > (?, ?) ORDER BY owner, id LIMIT ?"  # noqa: S608 - made of constants
)
_COUNT_SESSIONS: Final = "SELECT count(*) FROM sessions WHERE owner = ?1 AND (?2 IS NULL OR project_id = ?2)"
_SUMS: Final = """
SELECT count(*), sum(updated_unix_ms > ?2), sum(messages), sum(tokens), sum(micro_usd), coalesce(model, '')
FROM sessions WHERE owner = ?1 GROUP BY model ORDER BY model
"""
_DELETE_SESSION: Final = "DELETE FROM sessions WHERE owner = ? AND id = ? RETURNING id"
_FORGET_SESSIONS: Final = """
DELETE FROM sessions WHERE (owner, id) IN
    (SELECT owner, id FROM sessions WHERE updated_unix_ms <= ? LIMIT ?) RETURNING id
"""


class SqliteProjects:
    """See `OwnProjects`."""

    def __init__(self, run: Run) -> None:
        """`run` carries out one statement with its values and gives its rows; raises StoreError."""
        self._run = run

    async def add_project(self, row: ProjectRow, most: int) -> bool:
        """See `ProjectStore.add_project`."""
        moments = (row.created_unix_ms, row.updated_unix_ms)
        texts = (row.owner, row.id, row.name, row.description, row.path)
        return bool(tuple(await self._run(_ADD_PROJECT, *texts, *moments, most)))

    async def find_project(self, owner: str, id: str) -> ProjectRow | None:  # noqa: A002 - the wire's own word
        """See `ProjectStore.find_project`."""
        return next(map(_project, await self._run(_FIND_PROJECT, owner, id)), None)

    async def projects(self, owner: str, page: Page) -> tuple[tuple[ProjectRow, ...], int]:
        """See `ProjectStore.projects`."""
        (total,) = await self._run(_COUNT_PROJECTS, owner)
        found = await self._run(_PROJECTS, owner, page.most, page.skip)
        return tuple(map(_project, found)), int(total[0])

    async def delete_project(self, owner: str, id: str) -> bool:  # noqa: A002 - the wire's own word
        """See `ProjectStore.delete_project`."""
        return bool(tuple(await self._run(_DELETE_PROJECT, owner, id)))

    async def add_session(self, row: SessionRow) -> None:
        """See `ProjectStore.add_session`."""
        names = (row.owner, row.id, row.project_id, row.title, row.model, row.system_prompt)
        sums = (row.messages, row.tokens, row.micro_usd)
        await self._run(_ADD_SESSION, *names, *sums, row.created_unix_ms, row.updated_unix_ms)

    async def find_session(self, owner: str, id: str) -> SessionRow | None:  # noqa: A002 - the wire's own word
        """See `ProjectStore.find_session`."""
        return next(map(_session, await self._run(_FIND_SESSION, owner, id)), None)

    async def sessions(
        self, owner: str, page: Page, project_id: str | None
    ) -> tuple[tuple[SessionRow, ...], int]:
        """See `ProjectStore.sessions`."""
        (total,) = await self._run(_COUNT_SESSIONS, owner, project_id)
        found = await self._run(_SESSIONS, owner, project_id, page.most, page.skip)
        return tuple(map(_session, found)), int(total[0])

    async def session_sums(self, owner: str, active_after_unix_ms: int) -> SessionSums:
        """See `ProjectStore.session_sums`."""
        rows = tuple(await self._run(_SUMS, owner, active_after_unix_ms))
        sessions, active, messages, tokens, micro_usd = (
            sum(int(row[column]) for row in rows) for column in range(5)
        )
        return SessionSums(
            sessions=sessions,
            active=active,
            messages=messages,
            tokens=tokens,
            micro_usd=micro_usd,
            models={row[5]: int(row[0]) for row in rows if row[5]},
        )

    async def delete_session(self, owner: str, id: str) -> bool:  # noqa: A002 - the wire's own word
        """See `ProjectStore.delete_session`."""
        return bool(tuple(await self._run(_DELETE_SESSION, owner, id)))

    async def forget_sessions(self, used_before_unix_ms: int) -> bool:
        """See `ProjectStore.forget_sessions`."""
        gone = await self._run(_FORGET_SESSIONS, used_before_unix_ms, _FORGOTTEN_AT_ONCE)
        return len(tuple(gone)) == _FORGOTTEN_AT_ONCE

    async def projects_after(self, owner: str, id: str, most: int) -> tuple[ProjectRow, ...]:  # noqa: A002 - the wire's own word
        """See `OwnProjects.projects_after`."""
        return tuple(map(_project, await self._run(_PROJECTS_AFTER, owner, id, most)))

    async def sessions_after(self, owner: str, id: str, most: int) -> tuple[SessionRow, ...]:  # noqa: A002 - the wire's own word
        """See `OwnProjects.sessions_after`."""
        return tuple(map(_session, await self._run(_SESSIONS_AFTER, owner, id, most)))


def _project(found: Row) -> ProjectRow:
    return ProjectRow(
        owner=found[0],
        id=found[1],
        name=found[2],
        description=found[3],
        path=found[4],
        created_unix_ms=found[5],
        updated_unix_ms=found[6],
    )


def _session(found: Row) -> SessionRow:
    return SessionRow(
        owner=found[0],
        id=found[1],
        project_id=found[2],
        title=found[3],
        model=found[4],
        system_prompt=found[5],
        messages=found[6],
        tokens=found[7],
        micro_usd=found[8],
        created_unix_ms=found[9],
        updated_unix_ms=found[10],
    )
