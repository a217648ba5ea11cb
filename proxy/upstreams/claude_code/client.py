"""Anthropic's Agent SDK on top of a process of ours: the one file that imports it.

The SDK speaks the program's control protocol and reads its messages. The process is ours, as the SDK's own starts
children with the whole environment of the server, and leaves them behind when the server is killed.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

import msgspec
from claude_agent_sdk import (
    ClaudeAgentOptions,
    ClaudeSDKClient,
    ClaudeSDKError,
    RateLimitEvent,
    ResultMessage,
    SdkMcpTool,
    StreamEvent,
    Transport,
    create_sdk_mcp_server,
)

from proxy.log import get_logger
from proxy.pool import Fault
from proxy.tasks import spawn
from proxy.upstreams.base import UpstreamFault
from proxy.upstreams.claude_code.client_tools import SERVER, TOOL, ClientTools
from proxy.upstreams.claude_code.process import Process
from proxy.upstreams.claude_code.turn import Ended, Turn

_log = get_logger("claude_code")
_SHOWN_CHARACTERS: Final = 500
_ANSWER: Final = '{"type": "control_response"'
_ANYTHING: Final[dict[str, Any]] = {"type": "object", "properties": {}}
_decoder = msgspec.json.Decoder(dict[str, Any])


class _Wire(Transport):
    """The SDK's way to the process.

    Attributes:
        fault: what ended it, as far as it was the process that failed.
        closing: whether its end is ours.
    """

    def __init__(self, process: Process, saw: Callable[[dict[str, Any]], None]) -> None:
        """`saw` is told every message as it comes."""
        self._process = process
        self._saw = saw
        self.fault: Fault | None = None
        self.closing = False

    async def connect(self) -> None:
        """The process was started before."""

    async def write(self, data: str) -> None:
        """See `Transport.write`. Raises UpstreamFault but for answers to the program, of which nobody would hear."""
        try:
            await self._process.write(data.encode())
        except UpstreamFault:
            if not data.startswith(_ANSWER):
                raise

    async def read_messages(self) -> AsyncIterator[dict[str, Any]]:
        """See `Transport.read_messages`. Lines that are no objects are the program's own chatter, and skipped.

        Raises UpstreamFault when the program has ended: it is asked to live on until nobody needs it.
        """
        try:
            async for line in self._process.lines():
                if line.startswith(b"{"):
                    message = _decoder.decode(line)
                    self._saw(message)
                    yield message
        except UpstreamFault as fault:
            self.fault = fault.fault
            raise
        except (ValueError, RecursionError):
            self.fault = Fault.GARBAGE
            raise
        if not self.closing:
            raise UpstreamFault(Fault.RESET)

    async def close(self) -> None:
        """Whoever started the process ends it."""

    def is_ready(self) -> bool:
        """See `Transport.is_ready`."""
        return self._process.running

    async def end_input(self) -> None:
        """See `Transport.end_input`."""
        self._process.end_input()


class Client:
    """One live conversation with the program."""

    def __init__(self, process: Process, tools: ClientTools | None = None) -> None:
        """With `tools` the program can call those of clients."""
        self._process = process
        self._wire = _Wire(process, self._saw)
        self._tools = tools
        options = ClaudeAgentOptions(verbatim_prompts=True, skills=[])
        if tools is not None:
            called = SdkMcpTool(TOOL, "A tool of the client's.", _ANYTHING, self._call)
            options.mcp_servers = {SERVER: create_sdk_mcp_server(SERVER, tools=[called])}
        self._sdk = ClaudeSDKClient(options, transport=self._wire)
        self._turn: Turn | None = None
        self.alive = False

    async def connect(self, turn: Turn | None = None) -> None:
        """Shake hands with the program. Raises UpstreamFault.

        `turn` is for a program that begins by itself to answer what its history ends with.
        """
        self._turn = turn
        try:
            await self._sdk.connect()
        except UpstreamFault:
            raise
        except Exception as error:  # noqa: BLE001 - the SDK raises plain exceptions too
            # whatever class the SDK gives it: the program did not come up
            said = self._process.complaints[-_SHOWN_CHARACTERS:]
            _log.warning("Claude Code did not start", error=type(error).__name__, said=said)
            raise UpstreamFault(self._wire.fault or Fault.RESET) from None
        self.alive = True
        self._listening = spawn(self._listen(), name="listen to Claude Code")

    async def ask(self, content: list[dict[str, object]], turn: Turn) -> None:
        """Ask; what becomes of it is told to `turn`. Raises UpstreamFault."""
        self._turn = turn

        async def asked() -> AsyncIterator[dict[str, Any]]:
            yield {
                "type": "user",
                "message": {"role": "user", "content": content},
                "parent_tool_use_id": None,
            }

        try:
            await self._sdk.query(asked())
        except ClaudeSDKError:
            raise UpstreamFault(Fault.RESET) from None

    def go_on(self, answers: Sequence[msgspec.Raw], turn: Turn) -> None:
        """Give the calls that wait what the client's message says; what becomes of it is told to `turn`."""
        self._turn = turn
        if self._tools is not None:
            self._tools.release(answers)

    def leave(self) -> None:
        """Expect it to end, and ask it nothing more."""
        self.alive = False
        self._wire.closing = True

    async def close(self) -> None:
        """Forget it, once it has ended."""
        await self._sdk.disconnect()

    async def _call(self, _: dict[str, Any]) -> dict[str, Any]:
        """What the program gets is left out of its next request, where the client's own answer stands."""
        if self._tools is not None and not self._tools.released.is_set():
            if self._turn is not None:
                self._turn.wait_for_client()
            await self._tools.released.wait()
        return {"content": [{"type": "text", "text": "-"}]}

    async def _listen(self) -> None:
        try:
            async for message in self._sdk.receive_messages():
                await self._hear(message)
        except Exception as error:  # noqa: BLE001 - the SDK raises plain exceptions for what a process may do
            _log.info("Claude Code ended", error=type(error).__name__)
        finally:
            self.alive = False
            if self._turn is not None:
                self._turn.fail(self._wire.fault or Fault.RESET)

    def _saw(self, message: dict[str, Any]) -> None:
        if self._turn is not None:
            self._turn.saw(message)

    async def _hear(self, message: object) -> None:
        if (turn := self._turn) is None:
            return
        match message:
            case StreamEvent(parent_tool_use_id=None, event=event):
                await turn.tell(event)
            case RateLimitEvent(rate_limit_info=limit):
                if limit.status == "rejected":
                    turn.resets_unix_s = limit.resets_at
            case ResultMessage():
                self._turn = None
                # limits that we set ourselves end a turn with an error too, of another subtype
                failed = message.is_error and message.subtype == "success"
                turn.end(Ended(failed, message.api_error_status, message.result or ""))
            case _:
                pass
