"""Projects, which are folders clients work in, and sessions, which are what requests that belong together used.

Every owner has a folder of its own below the root, so that no project lies within another client's.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

from proxy.clock import Clock
from proxy.dialects.decoding import printable
from proxy.errors import ErrorKind, GatewayError, InvalidRequest, NotFound
from proxy.log import get_logger
from proxy.model.message import Usage
from proxy.model.pricing import Pricing, Tokens
from proxy.settings.conversations import ConversationSettings
from proxy.store.base import StoreError
from proxy.store.conversations import Page, ProjectRow, ProjectStore, SessionRow, SessionSums
from proxy.store.files import ensure_private_dir
from proxy.tasks import off_loop, spawn

_log = get_logger("projects")
PROJECTS_MAX: Final = 1000
SESSIONS_KEPT_MS: Final = 90 * 86_400_000
_SWEEP_S: Final = 3600.0
_PATH_MAX: Final = 200
_PART: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
_OTHER: Final = re.compile(r"[^A-Za-z0-9_-]+")
_OWNER_CHARS: Final = 16
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Projects:
    """The projects and sessions of all clients."""

    def __init__(
        self, store: ProjectStore, clock: Clock, settings: ConversationSettings, pricing: Pricing
    ) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self._pricing = pricing

    async def create_project(self, owner: str, name: str, description: str, path: str) -> ProjectRow:
        """A new project, with its folder; `path` as `demand_path` allows it, empty for one made of the name.

        Raises GatewayError: 409 where the path is taken or the owner has too many projects, 503 where the folder or the
        store cannot be used.
        """
        now_ms, project_id = self._clock.unix_ms(), str(uuid4())
        inner = path or f"{_OTHER.sub('-', name).strip('-_')[:40] or 'project'}-{project_id[:8]}"
        root = self._settings.project_root
        row = ProjectRow(
            owner=owner,
            id=project_id,
            name=name,
            description=description,
            path=str(root / owner[:_OWNER_CHARS] / inner),
            created_unix_ms=now_ms,
            updated_unix_ms=now_ms,
        )
        try:
            added = await self._store.add_project(row, PROJECTS_MAX)
        except StoreError as error:
            raise _unusable(error) from None
        if not added:
            raise GatewayError(
                409,
                ErrorKind.INVALID_REQUEST,
                f"There is a project with this path already, or there are {PROJECTS_MAX} projects.",
                param="path",
                code="project_exists",
                should_retry=False,
            )
        try:
            await self._make_folder((owner[:_OWNER_CHARS], *inner.split("/")))
        except GatewayError:
            await self.delete_project(owner, row.id)
            raise
        return row

    async def project(self, owner: str, project_id: str) -> ProjectRow:
        """A project. Raises NotFound, also where it is another's, and GatewayError 503."""
        try:
            row = await self._store.find_project(owner, project_id)
        except StoreError as error:
            raise _unusable(error) from None
        if row is None:
            raise _missing("Project", project_id)
        return row

    async def folder(self, owner: str, project_id: str) -> str:
        """A project's folder, made if another replica has the project's files. Raises as `project` does."""
        row = await self.project(owner, project_id)
        root, path = self._settings.project_root, Path(row.path)
        if path.is_relative_to(root):
            await self._make_folder(path.relative_to(root).parts)
        return row.path

    async def projects(self, owner: str, page: Page) -> tuple[tuple[ProjectRow, ...], int]:
        """See `ProjectStore.projects`. Raises GatewayError 503."""
        try:
            return await self._store.projects(owner, page)
        except StoreError as error:
            raise _unusable(error) from None

    async def delete_project(self, owner: str, project_id: str) -> None:
        """Forget a project; its folder and what is in it stay. Raises NotFound and GatewayError 503."""
        try:
            gone = await self._store.delete_project(owner, project_id)
        except StoreError as error:
            raise _unusable(error) from None
        if not gone:
            raise _missing("Project", project_id)

    async def create_session(
        self,
        owner: str,
        *,
        project_id: str | None,
        title: str | None,
        model: str | None,
        system_prompt: str | None,
    ) -> SessionRow:
        """A new session. Raises NotFound for a project that is not the owner's, and GatewayError 503."""
        if project_id is not None:
            await self.project(owner, project_id)
        now_ms = self._clock.unix_ms()
        row = SessionRow(
            owner=owner,
            id=str(uuid4()),
            project_id=project_id,
            title=title,
            model=model,
            system_prompt=system_prompt,
            created_unix_ms=now_ms,
            updated_unix_ms=now_ms,
        )
        try:
            await self._store.add_session(row)
        except StoreError as error:
            raise _unusable(error) from None
        return row

    async def session(self, owner: str, session_id: str) -> SessionRow:
        """A session. Raises NotFound, also where it is another's, and GatewayError 503."""
        try:
            row = await self._store.find_session(owner, session_id)
        except StoreError as error:
            raise _unusable(error) from None
        if row is None:
            raise _missing("Session", session_id)
        return row

    async def sessions(
        self, owner: str, page: Page, project_id: str | None
    ) -> tuple[tuple[SessionRow, ...], int]:
        """See `ProjectStore.sessions`. Raises GatewayError 503."""
        try:
            return await self._store.sessions(owner, page, project_id)
        except StoreError as error:
            raise _unusable(error) from None

    async def sums(self, owner: str) -> SessionSums:
        """All sessions of an owner together. Raises GatewayError 503."""
        try:
            return await self._store.session_sums(owner, self._active_after_ms())
        except StoreError as error:
            raise _unusable(error) from None

    async def delete_session(self, owner: str, session_id: str) -> None:
        """Forget a session. Raises NotFound and GatewayError 503."""
        try:
            gone = await self._store.delete_session(owner, session_id)
        except StoreError as error:
            raise _unusable(error) from None
        if not gone:
            raise _missing("Session", session_id)

    def is_active(self, row: SessionRow) -> bool:
        """Whether a session was used within the time conversations are kept for."""
        return row.updated_unix_ms > self._active_after_ms()

    async def count_in(
        self, owner: str, session_id: str, *, project_id: str | None, model: str, usage: Usage | None
    ) -> None:
        """A request that names a session, or begins one, was answered: add what it used.

        A store that cannot write is reported, and costs nobody an answer.

        Args:
            owner: whose it is.
            session_id: of the session, which is made if there is none.
            project_id: the project it names; None for none.
            model: the one that answered.
            usage: what the answer used; None where it told nothing.
        """
        now_ms, used = self._clock.unix_ms(), usage or Usage()
        row = SessionRow(
            owner=owner,
            id=session_id,
            project_id=project_id,
            model=model,
            messages=2,
            tokens=Tokens.of(used).total,
            micro_usd=self._pricing.cost_micro_usd(model, used) or 0,
            created_unix_ms=now_ms,
            updated_unix_ms=now_ms,
        )
        try:
            await self._store.add_session(row)
        except StoreError as error:
            _log.error("session not written down", problem=str(error))

    async def run(self) -> AsyncIterator[None]:
        """Delete sessions nobody has used for 90 days, now and then, while the server runs."""
        sweeping = spawn(self._sweep_for_ever(), name="forget old sessions")
        yield
        sweeping.cancel()

    async def sweep(self) -> None:
        """Delete them now, some at a time."""
        try:
            while await self._store.forget_sessions(self._clock.unix_ms() - SESSIONS_KEPT_MS):
                pass
        except StoreError as error:
            _log.error("old sessions not deleted", problem=str(error))

    async def _sweep_for_ever(self) -> None:
        while True:
            await self.sweep()
            await asyncio.sleep(_SWEEP_S)

    async def _make_folder(self, parts: tuple[str, ...]) -> None:
        """Make a folder below the root, if there is none. Raises GatewayError 503."""
        try:
            await off_loop(lambda: make_folder(self._settings.project_root, parts))
        except (OSError, StoreError) as error:
            _log.error("folder of a project not made", problem=type(error).__name__)
            raise GatewayError(
                503, ErrorKind.API, "The project's folder cannot be made.", code="not_kept"
            ) from None

    def _active_after_ms(self) -> int:
        return self._clock.unix_ms() - self._settings.timeout_s * 1000


def demand_path(path: str, *, field: str) -> str:
    """A path below the root, as it may be given: names with slashes between; empty for none.

    Raises InvalidRequest for any other, one that leads upwards or begins at the root of the file system among them.
    """
    parts = path.split("/")
    if path and (len(path) > _PATH_MAX or not all(map(_PART.fullmatch, parts))):
        raise InvalidRequest(
            f"{field} must be names of letters, digits, dots, underscores and hyphens with slashes between; it is a "
            "directory below the root of projects.",
            param=field,
        )
    return path


def make_folder(root: Path, parts: tuple[str, ...]) -> None:
    """Make a folder of mode 0700 below the root, part by part, so that no link leads out of it.

    Blocks. Raises StoreError for a root that is not private, and OSError.
    """
    ensure_private_dir(root)
    folder = os.open(root, _FOLDER)
    try:
        for part in parts:
            with suppress(FileExistsError):
                os.mkdir(part, 0o700, dir_fd=folder)
            inner = os.open(part, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
    finally:
        os.close(folder)


def _missing(noun: str, wanted: str) -> NotFound:
    return NotFound(
        f"{noun} with id '{printable(wanted)}' not found.",
        code=f"{noun.lower()}_not_found",
        param=f"{noun.lower()}_id",
    )


def _unusable(error: StoreError) -> GatewayError:
    _log.error("projects and sessions cannot be kept or read", problem=str(error))
    return GatewayError(
        503,
        ErrorKind.API,
        "Projects and sessions cannot be kept or read at the moment.",
        code="not_kept",
        retry_after_s=5.0,
    )
