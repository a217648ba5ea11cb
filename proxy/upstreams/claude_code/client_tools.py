"""A client's own tools on their way through the program, which knows a single one that stands for all of them.

The definitions go around the program: the listener puts them into its request. What the model calls then comes to the
program under the name of one tool of an MCP server that runs in this process, and to the client under its own name. The
program calls that tool and waits, which is all it does: what the client answers takes the place of the tool's result in
the program's next request. So a process serves whatever tools a client brings, and a result arrives as it was told.

Source: "Connect to external tools with MCP" and "Agent SDK reference - Python" in Claude Code's documentation.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from proxy.dialects.splicing import splice

SERVER: Final = "client"
"""The MCP server's name on the program's command line."""
TOOL: Final = "call"
"""The name of its tool."""
NAME: Final = f"mcp__{SERVER}__{TOOL}"
"""The name the program has for it."""
KEPT_MAX_BYTES: Final = 4 * 1024 * 1024
"""Most of what clients answered that is kept for one process; one that has more is not gone on with."""

_CALL: Final = "tool_use"
_RESULT: Final = "tool_result"
_BEGINS: Final = b"event: content_block_start\n"
_BLANK: Final = b"\n\n"
_DATA: Final = b"data: "
_QUOTED_CALL: Final = b'"tool_use"'
_encoder = msgspec.json.Encoder()


class _Block(msgspec.Struct):
    type: str = ""
    id: str = ""
    name: str = ""
    tool_use_id: str = ""
    cache_control: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Begun(msgspec.Struct):
    content_block: msgspec.Raw


class _Said(msgspec.Struct):
    role: str
    content: str | list[msgspec.Raw]


_block = msgspec.json.Decoder(_Block)
_begun = msgspec.json.Decoder(_Begun)
_said = msgspec.json.Decoder(_Said)


class ClientTools:
    """The calls of one process: under which names, and with what result.

    Attributes:
        released: set while the tool gives its result at once; it waits while this is clear.
    """

    def __init__(self) -> None:
        self.released = asyncio.Event()
        self._names: dict[str, str] = {}
        self._answers: dict[str, tuple[msgspec.Raw, ...]] = {}
        self._kept_bytes = 0

    @property
    def full(self) -> bool:
        """Whether it keeps more than it may."""
        return self._kept_bytes > KEPT_MAX_BYTES

    @property
    def called(self) -> bool:
        """Whether any was called."""
        return bool(self._names)

    def hold(self) -> None:
        """Let the calls of the answer that comes now wait."""
        self.released.clear()

    def release(self, said: Sequence[msgspec.Raw]) -> None:
        """Let the calls that wait have their results: the blocks of the client's message."""
        blocks = tuple(said)
        self._kept_bytes += sum(len(bytes(block)) for block in blocks)
        for block in map(_block.decode, blocks):
            if block.type == _RESULT:
                self._answers[block.tool_use_id] = blocks
        self.released.set()

    def to_program(self, events: bytes) -> bytes:
        """Whole events of an answer, with the tool's one name in place of the client's."""
        if _QUOTED_CALL not in events or _BEGINS not in events:
            return events
        return b"".join(self._renamed(event) + _BLANK for event in events.split(_BLANK)[:-1])

    def to_upstream(self, messages: list[msgspec.Raw]) -> list[msgspec.Raw]:
        """The program's history with the client's names of its tools and with what the client answered."""
        return [self._told(message) for message in messages]

    def _renamed(self, event: bytes) -> bytes:
        head, mark, data = event.partition(_DATA)
        if not event.startswith(_BEGINS) or not mark or b"\n" in data:
            return event
        with suppress(ValueError):
            raw = _begun.decode(data).content_block
            block = _block.decode(raw)
            if block.type == _CALL:
                self._names[block.id] = block.name
                self._kept_bytes += len(block.id) + len(block.name)
                given = splice(raw, set={"name": _encoder.encode(NAME)}, remove=())
                return head + mark + splice(data, set={"content_block": given}, remove=())
        return event

    def _told(self, raw: msgspec.Raw) -> msgspec.Raw:
        if _QUOTED_CALL not in bytes(raw) and b'"tool_result"' not in bytes(raw):
            return raw
        said = _said.decode(raw)
        if isinstance(said.content, str):
            return raw
        content = list(
            self._named(said.content) if said.role == "assistant" else self._answered(said.content)
        )
        return msgspec.Raw(_encoder.encode({"role": said.role, "content": content}))

    def _named(self, content: list[msgspec.Raw]) -> Iterator[msgspec.Raw]:
        for raw in content:
            block = _block.decode(raw)
            name = self._names.get(block.id) if block.type == _CALL else None
            yield raw if name is None else _with(raw, {"name": _encoder.encode(name)})

    def _answered(self, content: list[msgspec.Raw]) -> list[msgspec.Raw]:
        """What the client said in place of the tool's results, with the program's mark for the prompt cache."""
        blocks = [_block.decode(raw) for raw in content]
        answer = next(
            (self._answers[one.tool_use_id] for one in blocks if one.tool_use_id in self._answers), None
        )
        if answer is None:
            return content
        marks = [one.cache_control for one in blocks if isinstance(one.cache_control, msgspec.Raw)]
        if not marks:
            return list(answer)
        return [*answer[:-1], _with(answer[-1], {"cache_control": bytes(marks[-1])})]


def _with(raw: msgspec.Raw, fields: Mapping[str, bytes]) -> msgspec.Raw:
    return msgspec.Raw(splice(raw, set=fields, remove=()))
