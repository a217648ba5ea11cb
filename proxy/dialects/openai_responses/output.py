"""What a response is made of: its output items, its usage, and the object around them.

Source: "The response object" in OpenAI's API reference.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

import msgspec

from proxy.dialects.openai_chat.response import completion_usage
from proxy.dialects.openai_responses.schema import (
    NamedChoice,
    Reasoning,
    ResponsesRequest,
    TextConfig,
    TextFormat,
)
from proxy.model.message import Usage

Status: TypeAlias = Literal["in_progress", "completed", "incomplete", "failed"]

_ID_PREFIX: Final = "resp_"
_TIERS: Final[Mapping[str, str]] = MappingProxyType({"standard": "default", "priority": "priority"})
_PLAIN_TEXT: Final = TextConfig(TextFormat("text"))
_encoder = msgspec.json.Encoder()


class UrlCitation(msgspec.Struct, tag_field="type", tag="url_citation", gc=False):
    """Where on the web a text was found; its bounds are characters of the text it belongs to."""

    start_index: int
    end_index: int
    url: str
    title: str


class OutputText(msgspec.Struct, tag_field="type", tag="output_text"):
    """Text."""

    text: str
    annotations: list[UrlCitation] = msgspec.field(default_factory=list)
    logprobs: list[str] = msgspec.field(default_factory=list)


class OutputRefusal(msgspec.Struct, tag_field="type", tag="refusal", gc=False):
    """What is said instead of an answer."""

    refusal: str


class SummaryText(msgspec.Struct, tag_field="type", tag="summary_text", gc=False):
    """Thinking that is shown."""

    text: str


class MessageItem(msgspec.Struct, tag_field="type", tag="message", kw_only=True):
    """What the model says."""

    id: str
    role: str = "assistant"
    status: Status
    content: list[OutputText | OutputRefusal]


class ReasoningItem(msgspec.Struct, tag_field="type", tag="reasoning", kw_only=True):
    """What the model thought, sealed where its provider would know it again."""

    id: str
    summary: list[SummaryText]
    encrypted_content: str | msgspec.UnsetType = msgspec.UNSET
    status: Status


class FunctionCallItem(msgspec.Struct, tag_field="type", tag="function_call", kw_only=True):
    """A call of a function; `arguments` is JSON text."""

    id: str
    call_id: str
    name: str
    namespace: str | msgspec.UnsetType = msgspec.UNSET
    arguments: str
    status: Status


class CustomCallItem(msgspec.Struct, tag_field="type", tag="custom_tool_call", kw_only=True):
    """A call of a tool that takes text."""

    id: str
    call_id: str
    name: str
    namespace: str | msgspec.UnsetType = msgspec.UNSET
    input: str
    status: Status


OutputItem: TypeAlias = MessageItem | ReasoningItem | FunctionCallItem | CustomCallItem


def item_id(prefix: str, response_id: str, index: int) -> str:
    """The id of a response's item: the response it belongs to can be read from it."""
    return f"{prefix}_{response_id.removeprefix(_ID_PREFIX)}_{index}"


def without_seal(item: OutputItem) -> OutputItem:
    """An item as clients see it who did not ask for encrypted reasoning."""
    if not isinstance(item, ReasoningItem):
        return item
    return msgspec.structs.replace(item, encrypted_content=msgspec.UNSET)


class InputDetails(msgspec.Struct):
    """Parts of the input tokens."""

    cached_tokens: int
    cache_write_tokens: int


class OutputDetails(msgspec.Struct):
    """Parts of the output tokens."""

    reasoning_tokens: int


class ResponseUsage(msgspec.Struct):
    """Token counts; those of the input include what the cache gave and took."""

    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails
    total_tokens: int


def response_usage(usage: Usage) -> ResponseUsage | None:
    """Usage in the words of this API; None where the upstream told nothing."""
    told = completion_usage(usage)
    if told is None:
        return None
    cached, details = told.prompt_tokens_details, told.completion_tokens_details
    return ResponseUsage(
        input_tokens=told.prompt_tokens,
        input_tokens_details=InputDetails(cached.cached_tokens, cached.cache_write_tokens),
        output_tokens=told.completion_tokens,
        output_tokens_details=OutputDetails(details.reasoning_tokens),
        total_tokens=told.total_tokens,
    )


class ResponseError(msgspec.Struct):
    """Why a response failed."""

    code: str
    message: str


class IncompleteDetails(msgspec.Struct):
    """Why a response is incomplete."""

    reason: str


class Progress(msgspec.Struct, kw_only=True):
    """The part of a response that changes while it is made.

    Attributes:
        status: how far it is.
        output: its items.
        error: why it failed.
        reason: why it is incomplete.
        usage: what it used.
        completed_s: Unix seconds of its end.
    """

    status: Status
    output: Sequence[OutputItem] = ()
    error: ResponseError | None = None
    reason: str | None = None
    usage: Usage | None = None
    completed_s: int | None = None


class Changing(msgspec.Struct):
    """What of a response changes while it is made."""

    status: Status
    completed_at: int | None
    error: ResponseError | None
    incomplete_details: IncompleteDetails | None
    output: Sequence[OutputItem]
    usage: ResponseUsage | None
    service_tier: str | None


class Repeated(msgspec.Struct, kw_only=True):
    """What a response repeats of its request."""

    background: bool = False
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: int | None
    metadata: dict[str, str]
    parallel_tool_calls: bool
    previous_response_id: str | None
    prompt_cache_key: str | None
    reasoning: dict[str, str | None]
    safety_identifier: str | None
    store: bool
    temperature: float
    text: TextConfig
    tool_choice: str | NamedChoice
    tools: list[msgspec.Raw]
    top_logprobs: int
    top_p: float
    truncation: str
    user: str | None


class ResponseObject:
    """The JSON of one response, whose unchanging part is written once.

    Attributes:
        shows_seals: whether the client asked for encrypted reasoning.
    """

    __slots__ = ("_head", "_tail", "shows_seals")

    def __init__(
        self, repeated: bytes, *, response_id: str, created_s: int, model: str, shows_seals: bool
    ) -> None:
        self.shows_seals = shows_seals
        self._head = b'{"id":%b,"object":"response","created_at":%d,"model":%b,' % (
            _encoder.encode(response_id),
            created_s,
            _encoder.encode(model),
        )
        self._tail = b"," + repeated + b"}"

    def shown(self, progress: Progress) -> bytes:
        """The response as the client gets it."""
        if not self.shows_seals:
            progress = msgspec.structs.replace(
                progress, output=[without_seal(one) for one in progress.output]
            )
        return self.whole(progress)

    def whole(self, progress: Progress) -> bytes:
        """The response with all its seals."""
        usage = progress.usage
        changing = Changing(
            progress.status,
            progress.completed_s,
            progress.error,
            None if progress.reason is None else IncompleteDetails(progress.reason),
            progress.output,
            None if usage is None else response_usage(usage),
            None if usage is None else _tier(usage),
        )
        return self._head + _encoder.encode(changing)[1:-1] + self._tail


def _tier(usage: Usage) -> str | None:
    """OpenAI itself reports its fast mode as priority."""
    return "priority" if usage.speed == "fast" else _TIERS.get(usage.service_tier or "")


def repeated(asked: ResponsesRequest, *, store: bool) -> bytes:
    """What a response repeats of its request: JSON without the braces around it, bytes of their own."""
    reasoning = asked.reasoning or Reasoning()
    text = asked.text or _PLAIN_TEXT
    fields = Repeated(
        instructions=asked.instructions,
        max_output_tokens=asked.max_output_tokens,
        max_tool_calls=asked.max_tool_calls,
        metadata=asked.metadata or {},
        parallel_tool_calls=asked.parallel_tool_calls is not False,
        previous_response_id=asked.previous_response_id,
        prompt_cache_key=asked.prompt_cache_key,
        reasoning={"effort": reasoning.effort, "summary": reasoning.summary or reasoning.generate_summary},
        safety_identifier=asked.safety_identifier,
        store=store,
        temperature=1.0 if asked.temperature is None else asked.temperature,
        text=text if text.format is not None else msgspec.structs.replace(text, format=TextFormat("text")),
        tool_choice=asked.tool_choice or "auto",
        tools=asked.tools or [],
        top_logprobs=asked.top_logprobs or 0,
        top_p=1.0 if asked.top_p is None else asked.top_p,
        truncation=asked.truncation or "disabled",
        user=asked.user,
    )
    return _encoder.encode(fields)[1:-1]
