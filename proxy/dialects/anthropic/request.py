"""A Messages client's request: the peek, and its canonical form.

Source: "Create a Message" in Anthropic's API reference.
"""

from operator import attrgetter
from typing import Annotated, Final

import msgspec

from proxy.dialects.common import Envelope, Target, Translated
from proxy.dialects.conversation import Turn, name_in, opening, session_in, short
from proxy.dialects.decoding import Anything, decode_json, invalid, is_given, unknown_fields
from proxy.errors import InvalidRequest
from proxy.model.content import Block, CacheControl, TextBlock, decode_block
from proxy.model.request import (
    InputMessage,
    Metadata,
    OutputConfig,
    Request,
    Role,
    Thinking,
    Tool,
    ToolChoice,
)

_NO_THREADS: Final = b'{"error_code":"thread_unsupported_request"}'
OWN_FIELDS = ("claude_options", "conversation_id", "session_id", "project_id", "system_prompt")


class _Peek(msgspec.Struct):
    model: str | None = None
    stream: bool | None = None
    messages: list[Turn] | None = None
    system: Anything = msgspec.UNSET
    metadata: Anything = msgspec.UNSET
    max_tokens: int | None = None
    thinking: Anything = msgspec.UNSET
    thread: Anything = msgspec.UNSET
    claude_options: Anything = msgspec.UNSET
    conversation_id: Anything = msgspec.UNSET
    session_id: Anything = msgspec.UNSET
    project_id: Anything = msgspec.UNSET
    system_prompt: Anything = msgspec.UNSET


_own = attrgetter(*OWN_FIELDS)
_NONE_OWN: Final = (msgspec.UNSET,) * len(OWN_FIELDS)


def _given(seen: _Peek) -> tuple[str, ...]:
    return tuple(name for name in OWN_FIELDS if is_given(getattr(seen, name)))


def peek(body: bytes) -> Envelope:
    """See `proxy.dialects.common.Dialect.peek`."""
    seen = decode_json(_Peek, body)
    begun = opening(seen.messages, seen.system)
    return Envelope(
        model=seen.model or "",
        stream=bool(seen.stream),
        own_fields=() if _own(seen) == _NONE_OWN else _given(seen),
        continuing=begun.continuing,
        opening=begun.digest,
        conversation=name_in(seen.conversation_id),
        session=session_in(seen.metadata),
        thread=_thread_in(seen.thread),
        has_thinking=is_given(seen.thinking),
        max_tokens=seen.max_tokens,
    )


class _Thread(msgspec.Struct):
    type: str
    previous_message_id: str = ""


def _thread_in(field: Anything) -> str | None:
    """The answer a turn of a thread continues, empty for the first turn; None for what is no thread."""
    if field is msgspec.UNSET:
        return None
    try:
        return short(msgspec.json.decode(field, type=_Thread).previous_message_id)
    except (ValueError, RecursionError):
        return None


class GivenMessage(msgspec.Struct):
    """One message; text alone may stand for its blocks."""

    role: Role
    content: str | list[msgspec.Raw]


class _Messages(msgspec.Struct):
    messages: list[GivenMessage]


class _WireTool(msgspec.Struct):
    type: str | None = None


class MessagesRequest(msgspec.Struct):
    """The fields of a request that have a meaning here; blocks and tools are decoded one by one."""

    messages: list[GivenMessage]
    max_tokens: Annotated[int, msgspec.Meta(ge=1)]
    model: str | None = None
    system: str | list[TextBlock] | None = None
    stop_sequences: list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stream: bool | None = None
    tools: list[msgspec.Raw] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    metadata: Metadata | None = None
    cache_control: CacheControl | None = None
    service_tier: str | None = None
    speed: str | None = None
    thread: Anything = msgspec.UNSET


_KNOWN: Final = frozenset(MessagesRequest.__struct_fields__)


def decode_request(body: bytes, target: Target) -> Translated:
    """See `proxy.dialects.common.Dialect.decode_request`."""
    wire = decode_json(MessagesRequest, body)
    if is_given(wire.thread):
        # the SDKs send the whole conversation instead when they read these details
        raise InvalidRequest(
            "thread: whoever answers here holds no conversations.", param="thread", details=_NO_THREADS
        )
    request = Request(
        model=target.model,
        max_tokens=min(wire.max_tokens, target.facts.max_output_tokens),
        messages=_messages(wire.messages),
        system=_system(wire.system),
        stop_sequences=wire.stop_sequences or [],
        temperature=wire.temperature,
        top_p=wire.top_p,
        top_k=wire.top_k,
        stream=bool(wire.stream),
        tools=[_tool(tool, f"tools[{place}]") for place, tool in enumerate(wire.tools or ())],
        tool_choice=wire.tool_choice,
        thinking=wire.thinking,
        output_config=wire.output_config,
        metadata=wire.metadata,
        cache_control=wire.cache_control,
        service_tier=wire.service_tier,
        speed=wire.speed,
    )
    return Translated(request, unknown_fields(body, _KNOWN))


def read_messages(body: bytes) -> list[InputMessage]:
    """The messages alone, also of a request to count tokens. Raises InvalidRequest naming the field."""
    return _messages(decode_json(_Messages, body).messages)


def _messages(messages: list[GivenMessage]) -> list[InputMessage]:
    if not messages:
        raise InvalidRequest("messages: at least one message is required.", param="messages")
    return [_message(message, place) for place, message in enumerate(messages)]


def _system(system: str | list[TextBlock] | None) -> list[TextBlock]:
    if isinstance(system, str):
        return [TextBlock(system)] if system else []
    return system or []


def _message(message: GivenMessage, place: int) -> InputMessage:
    if isinstance(message.content, str):
        return InputMessage(message.role, [TextBlock(message.content)] if message.content else [])
    at = f"messages[{place}].content"
    return InputMessage(message.role, [_block(raw, f"{at}[{i}]") for i, raw in enumerate(message.content)])


def _block(raw: msgspec.Raw, at: str) -> Block:
    try:
        return decode_block(raw)
    except (ValueError, RecursionError) as error:
        raise invalid(error, at) from None


def _tool(raw: msgspec.Raw, at: str) -> Tool | msgspec.Raw:
    """The client's own tools are typed ``custom`` or not at all; the provider's stay as they are."""
    if decode_json(_WireTool, raw, at=at).type in {None, "custom"}:
        return decode_json(Tool, raw, at=at)
    return raw
