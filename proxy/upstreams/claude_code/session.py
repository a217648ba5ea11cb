"""One child, from the making of its folder to the moment nothing of it is left."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from proxy.credentials import Credential, is_login
from proxy.log import get_logger
from proxy.model.request import InputMessage
from proxy.pool import Fault
from proxy.tasks import spawn
from proxy.upstreams.base import UpstreamFault
from proxy.upstreams.claude_code import environment
from proxy.upstreams.claude_code.arguments import Line, command
from proxy.upstreams.claude_code.asked import Asked, digest
from proxy.upstreams.claude_code.client_tools import ClientTools
from proxy.upstreams.claude_code.environment import Carried
from proxy.upstreams.claude_code.folders import Folder, Folders
from proxy.upstreams.claude_code.listener import Door, Listener
from proxy.upstreams.claude_code.options import Run
from proxy.upstreams.claude_code.process import Process
from proxy.upstreams.claude_code.program import Program
from proxy.upstreams.claude_code.run import CALLS_MAX
from proxy.upstreams.claude_code.saved import SavedSessions
from proxy.upstreams.claude_code.transcript import folder_of, remove_transcript, write_transcript
from proxy.upstreams.claude_code.turn import Turn

if TYPE_CHECKING:
    from proxy.upstreams.claude_code.client import Client

_log = get_logger("claude_code")
_START_S: Final = 30.0
_encoder = msgspec.json.Encoder()


class Sort(msgspec.Struct, frozen=True):
    """What a child is made for: it can serve any request of the same sort.

    Attributes:
        credential: whose it is.
        model: the model id; empty for the program's own choice.
        system: the system prompt.
        carried: what goes by the environment, for a login.
        client_tools: whether it can call the tools of clients, which makes it larger and slower to start.
        run: what it may do beyond answering; None for nothing.
    """

    credential: Credential
    model: str
    system: str
    carried: Carried | None = None
    client_tools: bool = False
    run: Run | None = None

    @property
    def apart(self) -> bool:
        """Whether a child is made for one run, and serves no other request."""
        return self.run is not None and not self.run.plain

    @property
    def hides(self) -> bool:
        """Whether what its tools start has to be kept apart from the login it goes out with."""
        return self.carried is not None and self.run is not None and self.run.acts

    @property
    def wired(self) -> bool:
        """Whether its answers are read on the wire, so that a child need not tell them."""
        return self.carried is None and not self.apart

    def __hash__(self) -> int:
        return hash((self.credential.name, self.model, self.system, self.client_tools))

    def serves(self, wanted: "Sort") -> bool:
        """Whether a child of this sort can go on with a request that wants one of another."""
        return self == wanted or (
            self.client_tools and self == msgspec.structs.replace(wanted, client_tools=True)
        )


def sort_of(asked: Asked, credential: Credential, run: Run | None = None) -> Sort:
    """What child a request needs. Raises UpstreamRefused for what a login cannot carry."""
    carried = asked.carried() if is_login(credential.secret) else None
    model = asked.model or (run.model if run is not None else "")
    own = carried is None and (run is None or run.plain) and asked.brings_tools
    return Sort(credential, model, asked.system, carried, client_tools=own, run=run)


def client_class() -> "type[Client]":
    """What speaks to the program. Imports the SDK, which blocks for a second: for threads."""
    from proxy.upstreams.claude_code.client import Client  # noqa: PLC0415 - the SDK is optional

    return Client


class Means(msgspec.Struct, frozen=True):
    """What children are made with.

    Attributes:
        folders: where they live.
        listener: what those with a key speak to.
        base: the environment of the server.
        saved: where sessions are kept that clients go on with; None for nowhere.
    """

    folders: Folders
    listener: Listener
    base: Mapping[str, str]
    saved: SavedSessions | None = None


class Session:
    """One child.

    Attributes:
        sort: what it is made for.
        held: the digest of what it knows; empty for nothing yet.
        waits: whether it waits for the result of a tool of the client's.
        owner: the client whose conversation it knows; empty for nobody's yet.
        turns: how many questions it was asked.
        used_s: when it was used last, monotonic seconds; whoever keeps it sets it.
        settled: set while it is under no question.
    """

    def __init__(self, sort: Sort, means: Means) -> None:
        self.sort = sort
        self.held = b""
        self.waits = False
        self.owner = ""
        self.turns = 0
        self.used_s = 0.0
        self.settled = asyncio.Event()
        self._means = means
        self._folder: Folder | None = None
        self._door: Door | None = None
        self._process: Process | None = None
        self._client: Client | None = None
        self._turn: Turn | None = None
        self._tools = ClientTools() if sort.client_tools else None
        self._transcript: Path | None = None
        self._closing: asyncio.Task[None] | None = None
        self._start_done = asyncio.Event()
        self._start_done.set()

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._client is not None and self._client.alive and self._closing is None

    @property
    def reusable(self) -> bool:
        """Whether it can be asked once more.

        A login's child is not, as nobody holds back what it asks itself, nor is one that was made for one run.
        """
        once = self.sort.carried is not None or self.sort.apart
        return not once and (self._tools is None or not self._tools.full)

    @property
    def pid(self) -> int | None:
        """The process that guards it."""
        return self._process.pid if self._process is not None else None

    async def start(
        self, program: Program, history: tuple[InputMessage, ...] = (), begun: Turn | None = None
    ) -> None:
        """Start it, knowing a history. With `begun` it answers at once what the history ends with.

        Raises UpstreamFault, also where it is closed meanwhile; whatever was made is gone then, and on cancellation.
        """
        try:
            async with asyncio.timeout(_START_S):
                await self._start(program, history, begun)
        except TimeoutError:
            await self.close(at_once=True)
            raise UpstreamFault(Fault.HEADERS_TIMEOUT) from None
        except OSError as error:
            _log.warning(
                "Claude Code did not start", credential=self.sort.credential.name, problem=error.strerror
            )
            await self.close(at_once=True)
            raise UpstreamFault(Fault.RESET) from None
        except BaseException:
            await self.close(at_once=True)
            raise

    async def _start(self, program: Program, history: tuple[InputMessage, ...], begun: Turn | None) -> None:
        self._start_done.clear()
        try:
            await self._make(program, history, begun)
        finally:
            self._start_done.set()

    async def _make(self, program: Program, history: tuple[InputMessage, ...], begun: Turn | None) -> None:
        sort, means = self.sort, self._means
        folder = self._folder = await asyncio.to_thread(means.folders.new)
        resumes = begun is not None
        acts = sort.run is not None and sort.run.acts
        if sort.carried is None:
            self._door = await means.listener.door(sort.credential)
            self._pass(begun)
            told = environment.through_listener(
                means.base, folder, self._door.address, resumes=resumes, simple=not acts
            )
        else:
            told = environment.as_login(
                means.base, folder, sort.credential, sort.carried, resumes=resumes, acts=acts
            )
        told[environment.SDK_VERSION] = program.sdk_version
        if sort.run is not None and sort.run.session:
            # it leaves out transcripts too
            told.pop(environment.NO_HISTORY)
        working_dir = self._place(folder)
        line = await asyncio.to_thread(self._prepare, folder, told, working_dir, history, program)
        self._process = await Process.start(command(program.path, line), told, working_dir)
        if self._closing is not None:
            await self._process.close(at_once=True)
            raise UpstreamFault(Fault.RESET)
        client = (await asyncio.to_thread(client_class))(self._process, self._tools)
        await client.connect(begun)
        self._client = client
        if self._closing is not None:
            raise UpstreamFault(Fault.RESET)
        self.held = digest(history)
        self.turns += resumes

    def _prepare(
        self,
        folder: Folder,
        told: Mapping[str, str],
        working_dir: Path,
        history: tuple[InputMessage, ...],
        program: Program,
    ) -> Line:
        system_file: Path | None = None
        if self.sort.system:
            system_file = folder.root / "system.txt"
            system_file.write_text(self.sort.system)
        configuration = Path(told.get("CLAUDE_CONFIG_DIR") or Path(told["HOME"]) / ".claude")
        line = self._line(folder, working_dir, system_file)
        session = line.session or ""
        if (run := self.sort.run) is not None and run.resumes and self._means.saved is not None:
            self._transcript = self._means.saved.lay_out(run.owner, session, configuration, working_dir)
        elif history:
            session, self._transcript = write_transcript(
                history,
                configuration,
                working_dir,
                program.version,
                session=session,
                model=self.sort.model,
            )
        else:
            if session:
                self._transcript = folder_of(configuration, working_dir) / f"{session}.jsonl"
            return line
        return msgspec.structs.replace(line, session=None, resume=session)

    def _line(self, folder: Folder, working_dir: Path, system_file: Path | None) -> Line:
        """The command line of a child with no history."""
        sort, run = self.sort, self.sort.run
        if run is None or run.plain:
            once = sort.carried is not None
            return Line(
                model=sort.model,
                system_file=system_file,
                once=once,
                tells=not sort.wired,
                client_tools=sort.client_tools,
                calls=1 if once else None,
                debug=run is not None and run.logs,
            )
        servers_file: Path | None = None
        if run.servers:
            servers_file = folder.root / "servers.json"
            servers_file.touch(mode=0o600)
            servers = {name: msgspec.Raw(told) for name, told in run.servers.items()}
            servers_file.write_bytes(_encoder.encode({"mcpServers": servers}))
        return Line(
            model=sort.model,
            system_file=system_file,
            once=sort.carried is not None and not run.acts,
            session=run.session or None,
            keeps=bool(run.session),
            tools=run.tools,
            allowed=run.rules(working_dir),
            denied=run.denied,
            servers_file=servers_file,
            calls=CALLS_MAX if run.acts else 1,
            debug=run.logs,
        )

    def _place(self, folder: Folder) -> Path:
        """Where the program runs."""
        run = self.sort.run
        if run is not None and run.working_dir is not None:
            return run.working_dir
        return Path(self.sort.credential.working_dir or folder.work)

    async def ask(self, asked: Asked, turn: Turn) -> None:
        """Ask the question of a request whose history it knows, or give it the results. Raises UpstreamFault."""
        if self._client is None:
            raise UpstreamFault(Fault.RESET)
        self.turns += 1
        self.owner = asked.owner
        self._pass(turn)
        if asked.resumes:
            self._client.go_on([msgspec.Raw(_encoder.encode(block)) for block in asked.question], turn)
            return
        content = msgspec.json.decode(_encoder.encode(asked.question), type=list[dict[str, object]])
        await self._client.ask(content, turn)

    def _pass(self, turn: Turn | None) -> None:
        """Let the request of a turn pass the door."""
        self._turn = turn
        if self._door is not None:
            self._door.turn = turn
            if turn is not None:
                turn.tools = self._tools

    @property
    def _answered(self) -> bool:
        """Whether it has answered in a session that is kept."""
        run = self.sort.run
        return bool(run is not None and run.session and self._turn is not None and self._turn.over.is_set())

    async def close(self, *, at_once: bool) -> None:
        """End it. Cancelling whoever waits for that does not stop it.

        One that has something to write down is let do so.
        """
        at_once = at_once and not self._answered
        if self._closing is None:
            if self._client is not None:
                self._client.leave()
            if self._door is not None:
                self._means.listener.shut(self._door)
            if at_once and self._process is not None:
                self._process.kill()
            self._closing = spawn(self._close(at_once=at_once), name="end Claude Code")
        await asyncio.shield(self._closing)

    async def _close(self, *, at_once: bool) -> None:
        # what a start still makes is not there yet to be removed
        await self._start_done.wait()
        if self._door is not None:
            self._means.listener.shut(self._door)
        try:
            if self._process is not None:
                await self._process.close(at_once=at_once)
            if self._client is not None:
                await self._client.close()
        finally:
            if self._transcript is not None:
                await asyncio.to_thread(self._put_away, self._transcript)
            if self._process is not None and self.sort.run is not None and self.sort.run.logs:
                _log.debug("Claude Code says", said=self._process.complaints)
            if self._folder is not None:
                await asyncio.to_thread(self._folder.remove)

    def _put_away(self, transcript: Path) -> None:
        run, saved = self.sort.run, self._means.saved
        if run is None or saved is None or not run.session or not self._answered:
            remove_transcript(transcript)
            return
        working_dir = str(run.working_dir) if run.working_dir is not None else ""
        saved.take_back(run.owner, run.session, transcript, working_dir)
