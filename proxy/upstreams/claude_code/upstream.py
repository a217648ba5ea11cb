"""Claude Code as one kind of upstream: a call's body is a Messages request, the answer is told in its events."""

import asyncio
import os
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from proxy.clock import Clock
from proxy.credentials import Credential, Kind, is_login
from proxy.dialects.claude_options import FIELD
from proxy.errors import ErrorKind, GatewayError
from proxy.exchange import Operation
from proxy.log import get_logger
from proxy.model.message import Message
from proxy.model.request import InputMessage
from proxy.pool import Fault
from proxy.settings import Policy
from proxy.tasks import detach, off_loop
from proxy.upstreams.base import ByteReply, CodeWish, UpstreamCall, UpstreamFault, UpstreamRefused
from proxy.upstreams.claude_code import sandbox
from proxy.upstreams.claude_code.asked import Asked, digest, read_asked, refused
from proxy.upstreams.claude_code.folders import Folders
from proxy.upstreams.claude_code.listener import Listener
from proxy.upstreams.claude_code.program import Program, Unusable, find_program
from proxy.upstreams.claude_code.reply import CodeReply
from proxy.upstreams.claude_code.run import RunTurn
from proxy.upstreams.claude_code.runs import Runs
from proxy.upstreams.claude_code.session import Means, Session, Sort, client_class, sort_of
from proxy.upstreams.claude_code.sessions import Limits, Sessions
from proxy.upstreams.claude_code.turn import Turn
from proxy.upstreams.http import WaysOut
from proxy.upstreams.whole import WholeReply
from proxy.watch import Watch

_log = get_logger("claude_code")
_LARGE_BYTES: Final = 128 * 1024
_BYTES_PER_TOKEN: Final = 4
_CALLS: Final = "tool_use"
_UNHIDDEN: Final = "on a login, tools and MCP servers are not used here, as they could not be kept from it"
_CLEAN_ENDS: Final = frozenset({"end_turn", "stop_sequence", _CALLS})
"""After any other end the program goes on by itself, and its history is no longer the client's."""


class ClaudeCode:
    """All credentials of kind ``claude_code``."""

    dialect = "anthropic"

    def __init__(
        self,
        ways_out: WaysOut,
        policy: Policy,
        clock: Clock,
        *,
        folder: Path,
        limits: Limits,
        credentials: Iterable[Credential] = (),
        environment: Mapping[str, str] = os.environ,
        runs: Runs | None = None,
    ) -> None:
        """Children live in folders below `folder`; `environment` is where a few harmless names are taken from.

        `credentials` are those there are at the start, whose program is looked at before it is needed.
        `runs` plans what is more than an answer; without it nothing is.
        """
        self._runs = runs
        saved = runs.saved if runs is not None else None
        self.follow(credentials)
        self._policy = policy
        self._folders = Folders(folder)
        self._environment = environment
        self._listener = Listener(ways_out, policy)
        self._sessions = Sessions(Means(self._folders, self._listener, environment, saved), limits, clock)
        self._programs: dict[str | None, Program] = {}

    @property
    def processes(self) -> int:
        """How many children there are."""
        return len(self._sessions)

    @property
    def version(self) -> str | None:
        """The version of the program that was used last; None before any was."""
        return next(reversed(self._programs.values())).version if self._programs else None

    async def open(
        self, call: UpstreamCall, credential: Credential, watch: Watch, limit_s: float
    ) -> ByteReply:
        """See `Upstream.open`. An answer that is not streamed is read whole here."""
        if call.operation is Operation.COUNT_TOKENS:
            return WholeReply(msgspec.json.encode({"input_tokens": len(call.body) // _BYTES_PER_TOKEN}))
        loop = asyncio.get_running_loop()
        due_s = loop.time() + limit_s
        asked = await _read(call)
        try:
            reply = await watch.within(limit_s, self._asked(asked, credential, call.wish))
        except TimeoutError:
            raise UpstreamFault(Fault.FIRST_EVENT_TIMEOUT) from None
        if call.stream:
            return reply
        try:
            return WholeReply(await reply.read_all(watch, max(due_s - loop.time(), 0.0)), reply.source)
        except (UpstreamRefused, UpstreamFault) as problem:
            if not reply.acted:
                raise
            _log.warning("a run broke off", credential=credential.name, problem=str(problem))
            raise _broken_off() from None
        finally:
            reply.close()

    @property
    def joins_servers(self) -> bool:
        """Whether MCP servers may join a request that says nothing of them."""
        return self._runs is not None and self._runs.joins and bool(self._known)

    @property
    def credentials(self) -> tuple[Credential, ...]:
        """Those of this kind that there are."""
        return self._known

    def follow(self, credentials: Iterable[Credential]) -> None:
        """These are all credentials from now on."""
        self._known = tuple(each for each in credentials if each.kind is Kind.CLAUDE_CODE and each.enabled)

    async def forget(self, credential: Credential) -> None:
        """See `Upstream.forget`."""
        await self._sessions.forget(credential)

    async def work_for_ever(self) -> None:
        """Look at the programs, and end children nobody needs any more, as long as the server runs."""
        for credential in self._known:
            with suppress(UpstreamFault):
                await self._program(credential)
        await self._tell_of_logins()
        if self._runs is None:
            await self._sessions.run()
            return
        await asyncio.gather(self._sessions.run(), self._runs.run())

    async def close(self) -> None:
        """End every child, and remove what they lived in."""
        await self._sessions.close()
        await self._listener.close()
        if self._runs is not None:
            self._runs.close()
        await asyncio.to_thread(self._folders.close)

    async def _asked(self, asked: Asked, credential: Credential, wish: CodeWish | None) -> CodeReply:
        stack, run = AsyncExitStack(), None
        try:
            if self._runs is not None:
                asked, run = await self._runs.planned(asked, wish, stack)
            program = await self._program(credential)
            sort = sort_of(asked, credential, run)
            await self._demand_hidden(sort)
            turn = _turn(asked, sort)
            session = await self._sessions.ask(sort, asked, turn, program)
        except BaseException:
            await stack.aclose()
            raise
        closed = partial(self._closed, session, turn, asked, stack)
        reply = CodeReply(turn, self._policy.event_max_bytes, closed)
        try:
            await reply.begin()
        except BaseException:
            reply.close()
            raise
        return reply

    async def _demand_hidden(self, sort: Sort) -> None:
        """Raises UpstreamRefused where tools would be used that could find the login."""
        if sort.hides and (lacking := await self._lacking()):
            raise refused(f"{FIELD}: {_UNHIDDEN}: {lacking}.")

    async def _lacking(self) -> str:
        """What is missing to keep a login from what its tools start; see `sandbox.lacking`."""
        search_path = self._environment.get("PATH", os.defpath)
        return await asyncio.to_thread(sandbox.lacking, search_path, self._folders.temporary_path_bytes)

    async def _tell_of_logins(self) -> None:
        """Say at the start what would be refused later."""
        logins = [each.name for each in self._known if is_login(each.secret)]
        if logins and self._runs is not None and self._runs.may_act and (lacking := await self._lacking()):
            _log.warning(
                "Claude Code logins are asked without tools and MCP servers",
                credentials=logins,
                lacking=lacking,
            )

    async def _program(self, credential: Credential) -> Program:
        found = self._programs.get(credential.cli_path)
        if found is None:
            try:
                found = await asyncio.to_thread(_found, credential)
            except (Unusable, OSError) as problem:
                _log.error("Claude Code cannot be used", credential=credential.name, problem=str(problem))
                raise UpstreamFault(Fault.CONNECT_REFUSED) from None
            self._programs[credential.cli_path] = found
        return found

    def _closed(
        self, session: Session, turn: Turn, asked: Asked, stack: AsyncExitStack, answer: Message | None
    ) -> None:
        if session.sort.apart and (run := session.sort.run) is not None:
            if self._runs is not None and run.session:
                self._runs.saved.leave(run.owner, run.session)
            if answer is None:
                turn.abort()
            self._sessions.give_back(session, turn, None)
            detach(_released(session, stack), name="let go of a session of Claude Code")
            return
        if answer is None or answer.stop_reason not in _CLEAN_ENDS:
            turn.abort()
            self._sessions.give_back(session, turn, None)
            return
        said = InputMessage("user", list(asked.question)), InputMessage("assistant", answer.content)
        held = digest(said, digest(asked.history))
        self._sessions.give_back(session, turn, held, waits=answer.stop_reason == _CALLS)


def _turn(asked: Asked, sort: Sort) -> Turn:
    run = sort.run
    if run is None or run.plain:
        return Turn(asked.edits(), wired=sort.wired)
    return RunTurn(asked.edits(acts=run.acts), run.output_format, acts=run.acts)


async def _released(session: Session, stack: AsyncExitStack) -> None:
    """Let the next request go on with a session, once all of it is written down."""
    try:
        await session.close(at_once=True)
    finally:
        await stack.aclose()


def _broken_off() -> GatewayError:
    return GatewayError(
        502,
        ErrorKind.API,
        "The run broke off after Claude Code had used tools. It is not begun anew, as that would use them twice.",
        code="run_broken_off",
        should_retry=False,
    )


def _found(credential: Credential) -> Program:
    """The program, and the SDK made ready for it: both take too long for the loop."""
    program = find_program(credential)
    client_class()
    return program


async def _read(call: UpstreamCall) -> Asked:
    if len(call.body) < _LARGE_BYTES:
        return read_asked(call.body, call.client)
    return await off_loop(partial(read_asked, call.body, call.client))
