"""What every dialect offers, and the few values that pass between a dialect and the rest of the house."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol, TypeAlias

import msgspec

from proxy.errors import GatewayError
from proxy.model.catalog import ModelFacts
from proxy.model.content import RedactedThinkingBlock, ThinkingBlock
from proxy.model.events import Event
from proxy.model.message import Message, Usage
from proxy.model.request import Request


class ThinkingFormat(StrEnum):
    """How thinking is shown to clients whose dialect has no thinking blocks (``THINKING_FORMAT``)."""

    THINK = "think"
    REASONING_CONTENT = "reasoning_content"
    BOTH = "both"
    NONE = "none"


class Demand(StrEnum):
    """What a client demands of an answer that its model can only be asked for in words.

    The value says in traces what an answer lacked that was asked for once more.
    """

    CALL = "no_tool_call"
    JSON = "no_json"


@dataclass(frozen=True, slots=True)
class Dropped:
    """A request field this path could not carry.

    Attributes:
        field: its path, ASCII (``logit_bias``, ``messages[0].name``).
        reason: a few words for the log.
    """

    field: str
    reason: str


class Envelope(msgspec.Struct):
    """What a peek at the body tells, without decoding it.

    Attributes:
        model: the model id as the client wrote it; empty when there is none.
        stream: whether the client asked for a streamed answer.
        include_usage: ``stream_options.include_usage`` of Chat Completions; always False for other dialects.
        own_fields: which of our own top-level fields (``conversation_id``, ...) are present.
        continuing: whether the history holds an assistant message, so that a prompt cache may exist.
        opening: a digest of how the conversation began; turns of one conversation share it.
        conversation: what the body calls the conversation or its prompt cache; empty where it does not.
        session: the client's own session, named in the body's metadata; empty where it is not.
        thread: the answer that a turn of a message thread continues, empty for its first turn; None where the
            request holds the whole conversation itself.
        has_thinking: whether a ``thinking`` field is present (Messages).
        max_tokens: ``max_tokens`` where it is an integer (Messages), else None.
    """

    model: str
    stream: bool
    include_usage: bool = False
    own_fields: tuple[str, ...] = ()
    continuing: bool = False
    opening: bytes = b""
    conversation: str = ""
    session: str = ""
    thread: str | None = None
    has_thinking: bool = False
    max_tokens: int | None = None


class Thought(msgspec.Struct, frozen=True):
    """A thinking block of an answer.

    Attributes:
        index: its place among the blocks of the answer, from 0.
        block: as the provider made it, signature included.
    """

    index: int
    block: ThinkingBlock | RedactedThinkingBlock


Recall: TypeAlias = Callable[[str], Sequence[Thought]]
"""Gives the thinking of an earlier turn by the id of its first tool call."""

Keep: TypeAlias = Callable[[str, Sequence[Thought]], None]
"""Remembers it."""


def nothing_recalled(_call_id: str) -> Sequence[Thought]:
    """The recall of whoever remembers nothing."""
    return ()


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What a request is translated for.

    Attributes:
        facts: the rules and limits of the model that will be asked.
        model: the id to send upstream.
        think: whether a ``-think`` suffix asked for thinking.
        stream: whether the client asked for a streamed answer.
        default_max_tokens: ``MAX_TOKENS``, or None for the model's own default.
        default_temperature: ``MODEL_TEMPERATURE``, or None.
        recall: the thinking of an earlier turn, by the id of its first tool call, for clients that do not keep it.
        thinking_back: whether thinking that the client brings back may be sent.
        files: media types of the uploaded files that may be named, by id; None where any may be.
    """

    facts: ModelFacts
    model: str
    think: bool = False
    stream: bool = False
    default_max_tokens: int | None = None
    default_temperature: float | None = None
    recall: Recall = nothing_recalled
    thinking_back: bool = True
    files: Mapping[str, str] | None = None


class AnswerForm(msgspec.Struct, frozen=True, kw_only=True):
    """What a client's request says of the form its answer takes in its own dialect.

    Attributes:
        unfence: whether a code fence around the answer's text is taken off.
        text_tool: the tool whose input is the answer's text; empty for none.
        custom_tools: tools that take plain text, which their calls are told with.
        legacy_call: whether a tool call is told as a ``function_call``, as before there were tools.
        echo: what is said before the answer.
    """

    unfence: bool = False
    text_tool: str = ""
    custom_tools: frozenset[str] = frozenset()
    legacy_call: bool = False
    echo: str = ""


PLAIN_FORM: Final = AnswerForm()
"""Nothing out of the ordinary."""


class Translated(msgspec.Struct, frozen=True):
    """A client's request in the canonical form, with what was lost on the way.

    Attributes:
        request: what to ask.
        dropped: what was lost.
        demand: what the answer has to hold, where the model can only be asked for it in words.
        form: what the answer looks like to the client.
        auto_cache: whether breakpoints may be set that the client has not set.
        invents_tools: whether its tools are none of the client's, and only stand for those of earlier calls.
    """

    request: Request
    dropped: tuple[Dropped, ...] = ()
    demand: Demand | None = None
    form: AnswerForm = PLAIN_FORM
    auto_cache: bool = True
    invents_tools: bool = False


def _untold(_loss: Dropped) -> None:
    pass


class Rendering(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer's rendering needs beside the answer itself.

    Attributes:
        request_id: ours.
        created_s: Unix seconds shown as ``created``.
        model: the model id shown to the client.
        thinking_format: how thinking is shown.
        include_usage: whether a streamed answer ends with a usage chunk (Chat Completions).
        keep: remembers the thinking of a turn by the id of its first tool call; None where it cannot be lost.
        form: what the client's request says of it.
        conversation: the conversation the answer belongs to, shown to clients of Chat Completions; empty for none.
        session: the session of Claude Code it belongs to, shown to them too; empty for none.
        tell: takes what of the answer has no place in the client's dialect.
    """

    request_id: str
    created_s: int
    model: str
    thinking_format: ThinkingFormat = ThinkingFormat.REASONING_CONTENT
    include_usage: bool = False
    keep: Keep | None = None
    form: AnswerForm = PLAIN_FORM
    conversation: str = ""
    session: str = ""
    tell: Callable[[Dropped], None] = _untold


@dataclass(frozen=True, slots=True)
class RenderedError:
    """An error in a dialect's own envelope: the status its clients expect, and the JSON body."""

    status: int
    body: bytes


@dataclass(slots=True)
class StreamError:
    """An ``error`` event found in an upstream's stream (Anthropic's ``error.type`` and ``error.message``)."""

    type: str
    message: str
    code: str | None = None


@dataclass(slots=True)
class Observed:
    """What has been seen of one streamed answer so far.

    Attributes:
        events: grows whenever real events come, any but ``ping``; comments are none. It is 1 after the first;
            where content passes undecoded, all that comes at once counts as one.
        started: the first real event came.
        complete: ``message_stop`` came. The end of the connection never counts as one.
        stop_reason: from the last ``message_delta``.
        usage: merged field by field; a later absent or zero field never overwrites a number.
        error: the error event, if one came.
        model: the model named by ``message_start``.
        message_id: the id of the answer, in Anthropic's streams.
    """

    events: int = field(default=0, compare=False)
    started: bool = False
    complete: bool = False
    stop_reason: str | None = None
    usage: Usage = field(default_factory=Usage)
    error: StreamError | None = None
    model: str = ""
    message_id: str = ""


class StreamBroken(ValueError):
    """The upstream's stream cannot be read on: an event is no JSON, breaks the grammar, or is over its cap."""


class StreamEncoder(Protocol):
    """Canonical events to one client's bytes. One instance serves one stream."""

    def encode(self, events: Sequence[Event]) -> bytes:
        """The frames for a batch of events; empty when the client sees none of them."""
        ...


class Dialect(Protocol):
    """A client's wire format."""

    @property
    def name(self) -> str:
        """``anthropic``, ``openai_chat``, ..."""
        ...

    @property
    def keep_alive(self) -> bytes:
        """The frame that keeps a silent stream open."""
        ...

    def peek(self, body: bytes) -> Envelope:
        """Read what routing needs. Raises InvalidRequest for a body that is no JSON object or mistypes a field."""
        ...

    def decode_request(self, body: bytes, target: Target) -> Translated:
        """The canonical request. Raises InvalidRequest naming the field."""
        ...

    def encode_message(self, message: Message, rendering: Rendering) -> bytes:
        """A whole answer as the JSON body of a unary response."""
        ...

    def stream_encoder(self, rendering: Rendering) -> StreamEncoder:
        """A fresh encoder for one streamed answer."""
        ...

    def render_error(self, error: GatewayError, request_id: str) -> RenderedError:
        """An error before the commit."""
        ...

    def error_frame(self, error: GatewayError, request_id: str) -> bytes:
        """An error after the commit: one frame, with nothing after it that looks like an end."""
        ...
