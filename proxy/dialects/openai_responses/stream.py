"""A response as the events of its stream, and as a whole.

Sources: "Streaming events" of the Responses API in OpenAI's reference; "Streaming messages" and "Handling stop reasons"
in Anthropic's. One item for each block the client may see. An item is only ended when what follows is known, because a
token limit that cuts it is told after it. A whole response is what its stream would have ended with.
"""

from collections.abc import Callable, Sequence
from typing import Final, assert_never

import msgspec

from proxy.dialects.common import Rendering, ThinkingFormat, Thought
from proxy.dialects.openai_chat.errors import ToldError, error_of
from proxy.dialects.openai_chat.response import REFUSAL, refusal_text
from proxy.dialects.openai_chat.shaping import shaper_of
from proxy.dialects.openai_responses.call import Call
from proxy.dialects.openai_responses.fields import NAMED
from proxy.dialects.openai_responses.frames import Frames
from proxy.dialects.openai_responses.openings import (
    OpenCall,
    OpenCustomCall,
    OpenItem,
    OpenReasoning,
    OpenText,
    tell_refusal,
)
from proxy.dialects.openai_responses.output import (
    OutputItem,
    Progress,
    ResponseError,
    ResponseObject,
    Status,
    item_id,
)
from proxy.dialects.openai_responses.request import Understood
from proxy.dialects.openai_responses.tools import CalledTool
from proxy.errors import ErrorKind, GatewayError
from proxy.model.collect import CUT_SHORT
from proxy.model.content import Block, RedactedThinkingBlock, TextBlock, ThinkingBlock, ToolUseBlock
from proxy.model.events import (
    CitationsDelta,
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    Delta,
    ErrorEvent,
    Event,
    InputJsonDelta,
    MessageDelta,
    MessageStart,
    MessageStop,
    Ping,
    SignatureDelta,
    Stop,
    TextDelta,
    ThinkingDelta,
)
from proxy.model.message import Usage

_encode: Final[Callable[[object], bytes]] = msgspec.json.Encoder().encode
_LENGTH: Final = "max_output_tokens"
_KNOWN_CODES: Final = frozenset(
    (
        "context_length_exceeded",
        "insufficient_quota",
        "invalid_prompt",
        "rate_limit_exceeded",
        "server_is_overloaded",
    )
)
"""The codes of a failed response that programs act upon."""


class ResponseStreamEncoder:
    """Canonical events to the events of one response.

    Attributes:
        finished: the whole response as the client gets it; None until its end.
    """

    __slots__ = (
        "_begun",
        "_call",
        "_called",
        "_first_call",
        "_frames",
        "_items",
        "_open",
        "_rendering",
        "_response",
        "_shaper",
        "_shows_text",
        "_stop",
        "_text",
        "_thoughts",
        "_usage",
        "finished",
    )

    def __init__(self, call: Call, understood: Understood, rendering: Rendering) -> None:
        self._call = call
        self._called = understood.called
        self._rendering = rendering
        self._shows_text = rendering.thinking_format is not ThinkingFormat.NONE
        self._response = ResponseObject(
            understood.repeated,
            response_id=call.response_id,
            created_s=rendering.created_s,
            model=rendering.model,
            shows_seals=understood.shows_seals,
        )
        self._shaper = shaper_of(rendering.form)
        self._frames = Frames()
        self._begun = False
        self._items: list[OutputItem] = []
        self._open: OpenItem | None = None
        self._text: OpenText | None = None
        self._thoughts: list[Thought] = []
        self._first_call = ""
        self._stop = Stop()
        self._usage = Usage()
        self.finished: bytes | None = None

    def encode(self, events: Sequence[Event]) -> bytes:
        """See `proxy.dialects.common.StreamEncoder.encode`."""
        if self._shaper is not None:
            events = self._shaper.cut(events)
        for event in events:
            if type(event) is ContentBlockDelta:
                delta = event.delta
                if type(delta) is TextDelta and self._text is not None:
                    if delta.text:
                        self._text.add(delta.text)
                else:
                    self._delta(delta)
            else:
                self._step(event)
        return self._frames.take()

    def failed(self, error: GatewayError) -> bytes:
        """The end of a response that failed: its error, and the response with the items that were whole."""
        if not self._begun:
            self._begin()
        told = error_of(error, NAMED)
        fields = b'"code":%b,"message":%b,"param":%b,"error":%b' % (
            _encode(told.code),
            _encode(told.message),
            _encode(told.param),
            _encode(told),
        )
        self._frames.event(b"error", fields)
        progress = Progress(
            status="failed",
            output=self._items,
            error=ResponseError(_failure_code(error, told), told.message),
            usage=self._usage,
        )
        self._frames.response(b"response.failed", self._response.shown(progress))
        return self._frames.take()

    def _step(self, event: Event) -> None:
        match event:
            case MessageStart(message=message):
                self._usage = message.usage
                self._begin()
            case ContentBlockDelta(delta=delta):
                self._delta(delta)
            case ContentBlockStart(index=index, content_block=block):
                self._end_item("completed")
                self._begin_item(index, block)
            case ContentBlockStop():
                self._text = None
            case MessageDelta(delta=stop, usage=usage):
                self._stop = stop
                self._usage = self._usage.merge(usage)
            case MessageStop():
                self._finish()
            case Ping() | ErrorEvent():
                pass
            case _:
                assert_never(event)

    def _begin(self) -> None:
        self._begun = True
        response = self._response.shown(Progress(status="in_progress"))
        self._frames.response(b"response.created", response)
        self._frames.response(b"response.in_progress", response)

    def _begin_item(self, index: int, block: Block) -> None:
        match block:
            case TextBlock(text=text):
                opened = OpenText(self._frames, self._id("msg"), len(self._items))
                self._open = self._text = opened
                if text:
                    opened.add(text)
            case ThinkingBlock() | RedactedThinkingBlock():
                self._open = self._reasoning(block, index)
            case ToolUseBlock():
                self._first_call = self._first_call or block.id
                self._open = self._tool_call(block)
            case _:
                # tools that run at the provider, and what is yet to come, are nothing a client could answer
                self._open = None

    def _reasoning(self, block: ThinkingBlock | RedactedThinkingBlock, place: int) -> OpenReasoning:
        return OpenReasoning(
            self._frames,
            self._id("rs"),
            len(self._items),
            block,
            place,
            self._call.seal,
            shows_text=self._shows_text,
            shows_seals=self._response.shows_seals,
        )

    def _tool_call(self, block: ToolUseBlock) -> OpenCall | OpenCustomCall:
        tool = self._called.get(block.name) or CalledTool(block.name)
        if tool.custom:
            return OpenCustomCall(self._frames, self._id("ctc"), len(self._items), block, tool)
        return OpenCall(self._frames, self._id("fc"), len(self._items), block, tool)

    def _id(self, prefix: str) -> str:
        return item_id(prefix, self._call.response_id, len(self._items))

    def _delta(self, delta: Delta) -> None:
        opened = self._open
        match delta:
            case InputJsonDelta(partial_json=text):
                if isinstance(opened, OpenCall | OpenCustomCall):
                    opened.add(text)
            case ThinkingDelta(thinking=text):
                if isinstance(opened, OpenReasoning):
                    opened.think(text)
            case SignatureDelta(signature=signature):
                if isinstance(opened, OpenReasoning):
                    opened.sign(signature)
            case CitationsDelta(citation=citation):
                if self._text is not None:
                    self._text.cite(citation)
            case TextDelta() | msgspec.Raw():
                pass
            case _:
                assert_never(delta)

    def _end_item(self, status: Status) -> None:
        opened, self._open, self._text = self._open, None, None
        if opened is None:
            return
        self._items.append(opened.close(status))
        if isinstance(opened, OpenReasoning) and (block := opened.proven) is not None:
            self._thoughts.append(Thought(opened.place, block))

    def _finish(self) -> None:
        reason = self._stop.stop_reason or ""
        cut = reason in CUT_SHORT
        self._end_item("incomplete" if cut else "completed")
        if reason == REFUSAL:
            # what came before a refusal is to be thrown away, its tool calls above all
            text = refusal_text(self._stop.stop_details)
            self._items = [tell_refusal(self._frames, self._id("msg"), len(self._items), text)]
        elif self._rendering.keep is not None and self._first_call and self._thoughts:
            self._rendering.keep(self._first_call, self._thoughts)
        progress = Progress(
            status="incomplete" if cut else "completed",
            output=self._items,
            reason=_LENGTH if cut else None,
            usage=self._usage,
            completed_s=self._call.unix_s(),
        )
        self.finished = self._response.shown(progress)
        if self._call.keep is not None:
            self._call.keep(self._response.whole(progress))
        self._frames.response(b"response.incomplete" if cut else b"response.completed", self.finished)


def _failure_code(error: GatewayError, told: ToldError) -> str:
    """Why a response failed, in one of the words there are for it."""
    if told.code in _KNOWN_CODES and told.code is not None:
        return told.code
    return "invalid_prompt" if error.kind is ErrorKind.INVALID_REQUEST else "server_error"
