"""The body of a Chat Completions request.

Source: "Create chat completion" in OpenAI's API reference. Fields that only have to be noticed stay raw.
"""

from typing import Annotated, Literal, TypeAlias

import msgspec

from proxy.dialects.decoding import Anything
from proxy.model.content import CacheControl

Penalty: TypeAlias = Annotated[float, msgspec.Meta(ge=-2, le=2)]
Effort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class TextPart(msgspec.Struct, tag_field="type", tag="text", gc=False):
    """Text; `cache_control` is Anthropic's cache mark, which some clients set here too."""

    text: str
    cache_control: CacheControl | None = None


class RefusalPart(msgspec.Struct, tag_field="type", tag="refusal", gc=False):
    """What an assistant said instead of an answer."""

    refusal: str


class ImageUrl(msgspec.Struct, gc=False):
    """Where an image is: an http(s) URL or a data URL."""

    url: str


class ImagePart(msgspec.Struct, tag_field="type", tag="image_url"):
    """An image."""

    image_url: ImageUrl | str
    cache_control: CacheControl | None = None


class FileData(msgspec.Struct, gc=False):
    """A file in the request itself, or the id of one uploaded before."""

    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class FilePart(msgspec.Struct, tag_field="type", tag="file"):
    """A document."""

    file: FileData
    cache_control: CacheControl | None = None


class AudioPart(msgspec.Struct, tag_field="type", tag="input_audio"):
    """Sound."""


UserPart: TypeAlias = TextPart | ImagePart | FilePart | AudioPart
AssistantPart: TypeAlias = TextPart | RefusalPart
ToolPart: TypeAlias = TextPart | ImagePart


class SystemMessage(msgspec.Struct, tag_field="role", tag="system"):
    """Instructions."""

    content: str | list[TextPart]
    name: str | None = None
    cache_control: CacheControl | None = None


class DeveloperMessage(msgspec.Struct, tag_field="role", tag="developer"):
    """Instructions, by their newer name."""

    content: str | list[TextPart]
    name: str | None = None
    cache_control: CacheControl | None = None


class UserMessage(msgspec.Struct, tag_field="role", tag="user"):
    """What the user says."""

    content: str | list[UserPart]
    name: str | None = None
    cache_control: CacheControl | None = None


class FunctionCall(msgspec.Struct, gc=False):
    """A call: `arguments` is JSON text written by the model, which may be wrong."""

    name: str
    arguments: str = ""


class CustomCall(msgspec.Struct, gc=False):
    """A call with free text."""

    name: str
    input: str = ""


class ToolCall(msgspec.Struct):
    """A tool call in the history."""

    id: str
    type: str = "function"
    function: FunctionCall | None = None
    custom: CustomCall | None = None


class ReasoningDetail(msgspec.Struct, omit_defaults=True, gc=False):
    """A piece of the model's reasoning in the shape OpenRouter gave it, sent with answers and accepted back.

    Attributes:
        type: ``reasoning.text`` with `text` and `signature`, or ``reasoning.encrypted`` with `data`.
        text: what may be read of it; empty where the model shows none.
        signature: proves that the text is the model's.
        data: reasoning nobody may read.
        format: whose it is; ``anthropic-claude-v1`` here.
        index: of its block among those of the answer.
    """

    type: str
    text: str | None = None
    signature: str | None = None
    data: str | None = None
    format: str | None = None
    index: int | None = None


class AssistantMessage(msgspec.Struct, tag_field="role", tag="assistant"):
    """What the model said, or which tools it called."""

    content: str | list[AssistantPart] | None = None
    refusal: str | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: Anything = msgspec.UNSET
    audio: Anything = msgspec.UNSET
    cache_control: CacheControl | None = None
    reasoning_details: list[ReasoningDetail] | None = None


class ToolMessage(msgspec.Struct, tag_field="role", tag="tool"):
    """The answer to a tool call."""

    tool_call_id: str
    content: str | list[ToolPart] | None = None
    name: str | None = None
    cache_control: CacheControl | None = None


class FunctionMessage(msgspec.Struct, tag_field="role", tag="function"):
    """The answer to a call in the style before tools."""


ChatMessage: TypeAlias = (
    SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage
)


class FunctionDefinition(msgspec.Struct):
    """A function the model may call; `parameters` is a JSON schema."""

    name: str
    description: str | None = None
    parameters: dict[str, msgspec.Raw] | None = None
    strict: bool | None = None


class ToolDefinition(msgspec.Struct):
    """A tool; `function` is there where `type` is ``function``."""

    type: str
    function: FunctionDefinition | None = None
    cache_control: CacheControl | None = None


class NamedFunction(msgspec.Struct, gc=False):
    """A function's name."""

    name: str


class AllowedTools(msgspec.Struct):
    """A choice among some of the tools."""

    mode: Literal["auto", "required"] = "auto"


class NamedChoice(msgspec.Struct):
    """A tool choice that is an object."""

    type: str
    function: NamedFunction | None = None
    allowed_tools: AllowedTools | None = None


class StreamOptions(msgspec.Struct):
    """Options of a streamed answer."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ResponseFormat(msgspec.Struct, gc=False):
    """The shape the answer has to have."""

    type: str


class ChatRequest(msgspec.Struct, kw_only=True):
    """The fields of a request that have a meaning here; `messages` are decoded one by one."""

    messages: list[ChatMessage]
    model: str | None = None
    audio: Anything = msgspec.UNSET
    cache_control: CacheControl | None = None
    frequency_penalty: Penalty | None = None
    function_call: Anything = msgspec.UNSET
    functions: Anything = msgspec.UNSET
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    max_completion_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    metadata: Anything = msgspec.UNSET
    modalities: list[str] | None = None
    moderation: Anything = msgspec.UNSET
    n: Annotated[int, msgspec.Meta(ge=1)] | None = None
    parallel_tool_calls: bool | None = None
    prediction: Anything = msgspec.UNSET
    presence_penalty: Penalty | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: Anything = msgspec.UNSET
    prompt_cache_retention: Anything = msgspec.UNSET
    reasoning_effort: Effort | None = None
    response_format: ResponseFormat | None = None
    safety_identifier: str | None = None
    seed: int | None = None
    service_tier: str | None = None
    stop: str | list[str] | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    tool_choice: str | NamedChoice | None = None
    tools: list[ToolDefinition] | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=20)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    user: str | None = None
    verbosity: str | None = None
    web_search_options: Anything = msgspec.UNSET


class PeekedRequest(msgspec.Struct):
    """The few fields routing needs."""

    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    messages: list[msgspec.Raw] | None = None
    metadata: Anything = msgspec.UNSET
    prompt_cache_key: Anything = msgspec.UNSET
    claude_options: Anything = msgspec.UNSET
    conversation_id: Anything = msgspec.UNSET
    session_id: Anything = msgspec.UNSET
    project_id: Anything = msgspec.UNSET
    system_prompt: Anything = msgspec.UNSET


OWN_FIELDS = ("claude_options", "conversation_id", "session_id", "project_id", "system_prompt")
