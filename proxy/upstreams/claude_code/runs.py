"""What has to be known before a run can start: what it may do, whose session it goes on with, and its files."""

import asyncio
import os
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final
from uuid import uuid4

import msgspec

from proxy.dialects.claude_options import FIELD, ClaudeOptions
from proxy.errors import ErrorKind, GatewayError, InvalidRequest, NotFound
from proxy.model.content import Block, ToolResultBlock
from proxy.settings import CodePolicy
from proxy.upstreams.base import CodeWish
from proxy.upstreams.claude_code.arguments import is_session
from proxy.upstreams.claude_code.asked import Asked
from proxy.upstreams.claude_code.attachments import attached
from proxy.upstreams.claude_code.options import Run, allowed_dir, joined_run, plan_run, refused
from proxy.upstreams.claude_code.saved import Busy, SavedSessions
from proxy.upstreams.local_files import LocalFiles

_BUSY_RETRY_S: Final = 5.0


class Runs:
    """Plans runs."""

    def __init__(self, policy: CodePolicy, saved: SavedSessions, project_root: Path | None = None) -> None:
        """Projects' folders lie below `project_root`."""
        self._policy = policy
        self._project_root = project_root
        self._roots: tuple[Path, ...] = ()
        self._files: LocalFiles | None = None
        self.saved = saved

    @property
    def joins(self) -> bool:
        """Whether MCP servers join requests without options."""
        return self._policy.servers_join

    @property
    def may_act(self) -> bool:
        """Whether the operator allows any tool or MCP server."""
        policy = self._policy
        return bool(policy.tools or policy.named_servers or policy.servers_join)

    async def planned(
        self, asked: Asked, wish: CodeWish | None, stack: AsyncExitStack
    ) -> tuple[Asked, Run | None]:
        """What is asked, with the files it names, and the run it takes; None where the program only answers.

        Until `stack` is closed nobody else goes on with the session. Raises GatewayError: 400, 403 for what the
        operator does not allow, 404 for a session that is not the client's, and 409 for one that is in use.
        """
        if wish is None:
            return asked, None if asked.brings_tools else joined_run(self._policy)
        files = await self._opened()
        joins = not asked.brings_tools
        run = await asyncio.to_thread(plan_run, wish.options, self._policy, folder=wish.folder, joins=joins)
        if asked.brings_tools:
            run = _beside_tools(run, wish.options)
        else:
            run = await self._in_session(run, asked, wish, stack)
        roots = self._roots if wish.folder is None else (*self._roots, wish.folder)
        blocks = await attached(wish.options, run.working_dir, roots, files)
        return msgspec.structs.replace(asked, question=_with_files(asked.question, blocks)), run

    async def _in_session(self, run: Run, asked: Asked, wish: CodeWish, stack: AsyncExitStack) -> Run:
        """The run in a session. Raises GatewayError as `planned` does."""
        try:
            run = await self._with_session(run, wish, stack)
        except Busy:
            raise _in_use() from None
        if run.resumes and asked.history:
            raise InvalidRequest(
                f"A request with {FIELD}.session_id or {FIELD}.continue brings only what is new, as the session holds "
                "what was said before.",
                param="messages",
            )
        wish.tell(run.session)
        return run

    async def _with_session(self, run: Run, wish: CodeWish, stack: AsyncExitStack) -> Run:
        """The run with the session it goes on with, or begins. Raises NotFound, GatewayError 403, and Busy."""
        options, owner, saved = wish.options, wish.owner, self.saved
        session = options.session_id
        if options.goes_on:
            where = str(run.working_dir) if run.working_dir is not None else ""
            await saved.settled(owner)
            session = await asyncio.to_thread(saved.latest, owner, where)
            if session is None:
                raise _missing("continue", "There is no session in this directory to go on with.")
        resumes, session = session is not None, session or str(uuid4())
        if not is_session(session):
            raise _missing("session_id", "There is no such session.")
        await stack.enter_async_context(saved.alone(owner, session))
        run = msgspec.structs.replace(run, session=session, resumes=resumes, owner=owner)
        if not resumes:
            return run
        ran_in = await asyncio.to_thread(saved.find, owner, session)
        if ran_in is None:
            raise _missing("session_id", "There is no such session.")
        if ran_in and run.working_dir is None:
            return msgspec.structs.replace(run, working_dir=await self._again(ran_in))
        return run

    async def _again(self, ran_in: str) -> Path:
        """The directory a session ran in, if that is still allowed."""
        found = await asyncio.to_thread(allowed_dir, ran_in, self._roots)
        if found is None:
            raise refused("working_dir", "CLAUDE_CODE_ROOTS")
        return found

    async def run(self) -> None:
        """Remove sessions whose time is over, for ever."""
        await self.saved.run()

    def close(self) -> None:
        """Let go of what files are read with."""
        if self._files is not None:
            self._files.close()

    async def _opened(self) -> LocalFiles:
        """What files are read with, made when it is needed: finding out where links lead blocks."""
        if self._files is None:
            roots = await asyncio.to_thread(_both_ways, self._policy.roots)
            projects = () if self._project_root is None else (self._project_root,)
            self._roots, self._files = roots, LocalFiles((*roots, *projects))
        return self._files


def _beside_tools(run: Run, options: ClaudeOptions) -> Run:
    """What is left of a run where the client runs tools itself. Raises InvalidRequest for what cannot be asked then."""
    if run.acts:
        raise InvalidRequest(
            "A request has either tools that its client runs, or those of Claude Code and its MCP servers.",
            param="tools",
        )
    if options.session_id is not None or options.goes_on:
        option = "continue" if options.goes_on else "session_id"
        raise InvalidRequest(
            f"{FIELD}.{option}: a request whose client runs tools is in no session; it brings its history itself.",
            param=f"{FIELD}.{option}",
        )
    if run.output_format != "text":
        raise InvalidRequest(
            f"{FIELD}.output_format: only text is told to a client that runs tools, beside the calls of these.",
            param=f"{FIELD}.output_format",
        )
    return Run(working_dir=run.working_dir, logs=run.logs, model=run.model)


def _with_files(question: Sequence[Block], blocks: Sequence[Block]) -> tuple[Block, ...]:
    """A question with files before its words; the results of tools stay first, as the API asks for."""
    results = [block for block in question if isinstance(block, ToolResultBlock)]
    others = [block for block in question if not isinstance(block, ToolResultBlock)]
    return (*results, *blocks, *others)


def _both_ways(roots: Iterable[Path]) -> tuple[Path, ...]:
    """Directories as the operator writes them, and without links."""
    return tuple(dict.fromkeys(path for root in roots for path in (root, Path(os.path.realpath(root)))))


def _in_use() -> GatewayError:
    return GatewayError(
        409,
        ErrorKind.INVALID_REQUEST,
        "The session is in use by another request.",
        param=f"{FIELD}.session_id",
        code="session_in_use",
        retry_after_s=_BUSY_RETRY_S,
    )


def _missing(option: str, why: str) -> NotFound:
    return NotFound(f"{FIELD}.{option}: {why}", code="session_not_found", param=f"{FIELD}.{option}")
