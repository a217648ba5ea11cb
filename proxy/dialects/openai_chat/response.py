"""An answer as a ``chat.completion`` object.

Sources: "The chat completion object" in OpenAI's API reference; "Handling stop reasons" in Anthropic's
documentation.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from proxy.dialects.common import AnswerForm, Rendering, ThinkingFormat
from proxy.dialects.openai_chat.annotations import UNTOLD, Annotation, Annotator, annotated, has_citations
from proxy.dialects.openai_chat.reasoning_details import THINK_CLOSE, THINK_OPEN, details_of, thoughts_of
from proxy.dialects.openai_chat.schema import ReasoningDetail
from proxy.model.content import Block, TextBlock, ThinkingBlock, ToolUseBlock
from proxy.model.message import Message, StopDetails, Usage

FINISH_REASONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "end_turn": "stop",
        "stop_sequence": "stop",
        "max_tokens": "length",
        "tool_use": "tool_calls",
        "pause_turn": "stop",
        "refusal": "content_filter",
        "model_context_window_exceeded": "length",
        "compaction": "stop",
    }
)
WITHIN_TEXT: Final = frozenset((ThinkingFormat.THINK, ThinkingFormat.BOTH))
"""The formats that show thinking within the text."""

BESIDE_TEXT: Final = frozenset((ThinkingFormat.REASONING_CONTENT, ThinkingFormat.BOTH))
"""Those that show it in a field of its own."""

REFUSAL: Final = "refusal"
_REFUSED: Final = "The model refused to answer."
_TIERS: Final[Mapping[str, str]] = MappingProxyType({"standard": "default", "priority": "priority"})


class Function(msgspec.Struct):
    """A called function; `arguments` is JSON text."""

    name: str
    arguments: str


class ToolCall(msgspec.Struct, tag_field="type", tag="function"):
    """One tool call of an answer."""

    id: str
    function: Function


class Custom(msgspec.Struct):
    """A called tool that takes plain text."""

    name: str
    input: str


class CustomCall(msgspec.Struct, tag_field="type", tag="custom"):
    """One call of such a tool."""

    id: str
    custom: Custom


class Answer(msgspec.Struct):
    """The assistant's message."""

    content: str | None
    role: str = "assistant"
    refusal: str | None = None
    tool_calls: list[ToolCall | CustomCall] | msgspec.UnsetType = msgspec.UNSET
    function_call: Function | msgspec.UnsetType = msgspec.UNSET
    annotations: list[Annotation] | msgspec.UnsetType = msgspec.UNSET
    reasoning_content: str | msgspec.UnsetType = msgspec.UNSET
    reasoning_details: list[ReasoningDetail] | msgspec.UnsetType = msgspec.UNSET


class Choice(msgspec.Struct):
    """The one choice there is."""

    message: Answer
    finish_reason: str | None
    index: int = 0
    logprobs: None = None


class PromptTokensDetails(msgspec.Struct):
    """Parts of the prompt's tokens."""

    cached_tokens: int
    cache_write_tokens: int


class CompletionTokensDetails(msgspec.Struct):
    """Parts of the answer's tokens."""

    reasoning_tokens: int


class CompletionUsage(msgspec.Struct):
    """Token counts as OpenAI's clients read them: the prompt's include what the cache gave and took.

    `estimated` marks counts that no upstream told.
    """

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails
    estimated: bool | msgspec.UnsetType = msgspec.UNSET


class ChatCompletion(msgspec.Struct, kw_only=True):
    """A whole answer."""

    id: str
    object: str = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: CompletionUsage | None
    service_tier: str | None = None
    system_fingerprint: None = None
    conversation_id: str | msgspec.UnsetType = msgspec.UNSET
    session_id: str | msgspec.UnsetType = msgspec.UNSET


class _CustomInput(msgspec.Struct, gc=False):
    input: str


_encoder = msgspec.json.Encoder()
_custom_decoder = msgspec.json.Decoder(_CustomInput)


def encode_message(message: Message, rendering: Rendering) -> bytes:
    """See `proxy.dialects.common.Dialect.encode_message`."""
    answer = said(message, rendering)
    completion = ChatCompletion(
        id=completion_id(message.id or rendering.request_id),
        created=rendering.created_s,
        model=rendering.model or message.model,
        choices=[Choice(answer, finish_reason(message.stop_reason, legacy=rendering.form.legacy_call))],
        usage=completion_usage(message.usage),
        service_tier=_service_tier(message.usage),
        conversation_id=rendering.conversation or msgspec.UNSET,
        session_id=rendering.session or msgspec.UNSET,
    )
    return _encoder.encode(completion)


def completion_id(message_id: str) -> str:
    """An id in OpenAI's style for an answer."""
    return "chatcmpl-" + message_id.removeprefix("msg_")


def finish_reason(stop_reason: str | None, *, legacy: bool = False) -> str:
    """OpenAI's word for why an answer ended; ``stop`` for reasons yet to be invented.

    `legacy` is for clients from before there were tools.
    """
    reason = FINISH_REASONS.get(stop_reason or "", "stop")
    return "function_call" if legacy and reason == "tool_calls" else reason


def custom_input(tool_input: bytes | msgspec.Raw | str) -> str:
    """The plain text a tool was called with, which the model had to wrap into JSON; its JSON where it has not."""
    try:
        return _custom_decoder.decode(tool_input).input
    except (ValueError, RecursionError):
        return tool_input if isinstance(tool_input, str) else bytes(tool_input).decode("utf-8", "replace")


def refusal_text(details: StopDetails | None) -> str:
    """What to show of a refusal."""
    return (details.explanation if details is not None else None) or _REFUSED


def completion_usage(usage: Usage) -> CompletionUsage | None:
    """Usage in OpenAI's terms; None where the upstream told nothing."""
    if usage.input_tokens is None and usage.output_tokens is None:
        return None
    read = usage.cache_read_input_tokens or 0
    written = usage.cache_creation_input_tokens or 0
    prompt = (usage.input_tokens or 0) + read + written
    completion = usage.output_tokens or 0
    details = usage.output_tokens_details
    return CompletionUsage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        prompt_tokens_details=PromptTokensDetails(read, written),
        completion_tokens_details=CompletionTokensDetails((details and details.thinking_tokens) or 0),
        estimated=usage.estimated or msgspec.UNSET,
    )


def _service_tier(usage: Usage) -> str | None:
    """OpenAI itself reports its fast mode as priority."""
    return "priority" if usage.speed == "fast" else _TIERS.get(usage.service_tier or "")


def said(message: Message, rendering: Rendering) -> Answer:
    """The assistant's message of an answer."""
    if message.stop_reason == REFUSAL:
        # What came before a refusal is to be thrown away, its tool calls above all.
        return Answer(content=None, refusal=refusal_text(message.stop_details))
    content = message.content
    if len(content) == 1 and isinstance(only := content[0], TextBlock) and not only.citations:
        return Answer(content=only.text)
    thinking = "".join([block.thinking for block in message.content if isinstance(block, ThinkingBlock)])
    form = rendering.form
    calls = [_tool_call(block, form) for block in message.content if isinstance(block, ToolUseBlock)]
    thinking_format = rendering.thinking_format
    in_content = thinking_format in WITHIN_TEXT
    shown = [_shown(block, thinking=in_content) for block in message.content]
    text = "".join(shown)
    answer = Answer(content=text if text or not calls else None)
    if has_citations(message.content):
        _annotate(answer, annotated(message.content, shown), rendering)
    if form.legacy_call and calls:
        answer.function_call = _function(message)
    elif calls:
        answer.tool_calls = calls
    if thinking and thinking_format in BESIDE_TEXT:
        answer.reasoning_content = thinking
    if thoughts := thoughts_of(message.content):
        if thinking_format is not ThinkingFormat.NONE:
            answer.reasoning_details = details_of(thoughts)
        if calls and rendering.keep is not None:
            rendering.keep(calls[0].id, thoughts)
    return answer


def _annotate(answer: Answer, cited: Annotator, rendering: Rendering) -> None:
    if cited.found:
        answer.annotations = cited.found
    if cited.lost:
        rendering.tell(UNTOLD)


def _shown(block: Block, *, thinking: bool) -> str:
    if isinstance(block, TextBlock):
        return block.text
    if thinking and isinstance(block, ThinkingBlock) and block.thinking:
        return f"{THINK_OPEN}{block.thinking}{THINK_CLOSE}"
    return ""


def _tool_call(block: ToolUseBlock, form: AnswerForm) -> ToolCall | CustomCall:
    if block.name in form.custom_tools:
        return CustomCall(block.id, Custom(block.name, custom_input(block.input)))
    return ToolCall(block.id, _called(block))


def _function(message: Message) -> Function:
    """The first call: there is no room for more."""
    return next(_called(block) for block in message.content if isinstance(block, ToolUseBlock))


def _called(block: ToolUseBlock) -> Function:
    return Function(block.name, bytes(block.input).decode("utf-8", "replace"))
