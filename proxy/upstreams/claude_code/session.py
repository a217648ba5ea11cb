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
from proxy.upstreams.claude_code.process import Process
from proxy.upstreams.claude_code.program import Program
from proxy.upstreams.claude_code.transcript import remove_transcript, write_transcript
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
    """

    credential: Credential
    model: str
    system: str
    carried: Carried | None = None
    client_tools: bool = False

    def __hash__(self) -> int:
        return hash((self.credential.name, self.model, self.system, self.client_tools))

    def serves(self, wanted: "Sort") -> bool:
        """Whether a child of this sort can go on with a request that wants one of another."""
        return self == wanted or (
            self.client_tools and self == msgspec.structs.replace(wanted, client_tools=True)
        )


def sort_of(asked: Asked, credential: Credential) -> Sort:
    """What child a request needs. Raises UpstreamRefused for what a login cannot carry."""
    if is_login(credential.secret):
        return Sort(credential, asked.model, asked.system, asked.carried())
    return Sort(credential, asked.model, asked.system, client_tools=asked.brings_tools)


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
    """

    folders: Folders
    listener: Listener
    base: Mapping[str, str]


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
        """Whether it can be asked once more: a login's child is not, as nobody holds back what it asks itself."""
        return self.sort.carried is None and (self._tools is None or not self._tools.full)

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
        if sort.carried is None:
            self._door = await means.listener.door(sort.credential)
            self._pass(begun)
            told = environment.through_listener(means.base, folder, self._door.address, resumes=resumes)
        else:
            told = environment.as_login(means.base, folder, sort.credential, sort.carried, resumes=resumes)
        told[environment.SDK_VERSION] = program.sdk_version
        working_dir = Path(sort.credential.working_dir or folder.work)
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
        resume: str | None = None
        if history:
            configuration = Path(told.get("CLAUDE_CONFIG_DIR") or Path(told["HOME"]) / ".claude")
            resume, self._transcript = write_transcript(
                history, configuration, working_dir, program.version, self.sort.model
            )
        return Line(
            model=self.sort.model,
            system_file=system_file,
            resume=resume,
            once=self.sort.carried is not None,
            client_tools=self.sort.client_tools,
        )

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
        if self._door is not None:
            self._door.turn = turn
            if turn is not None:
                turn.tools = self._tools

    async def close(self, *, at_once: bool) -> None:
        """End it. Cancelling whoever waits for that does not stop it."""
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
                await asyncio.to_thread(remove_transcript, self._transcript)
            if self._folder is not None:
                await asyncio.to_thread(self._folder.remove)
