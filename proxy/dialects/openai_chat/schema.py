"""The body of a Chat Completions request.

Source: "Create chat completion" in OpenAI's API reference. Fields that only have to be noticed stay raw.
"""

from typing import Annotated, Literal, TypeAlias

import msgspec

from proxy.dialects.conversation import Turn
from proxy.dialects.decoding import Anything
from proxy.model.content import CacheControl

Penalty: TypeAlias = Annotated[float, msgspec.Meta(ge=-2, le=2)]
Effort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class CacheBreakpoint(msgspec.Struct, frozen=True, gc=False):
    """The end of a prefix worth caching, for `ttl`, which is ``30m`` or ``12h``."""

    mode: str = "explicit"
    ttl: str | None = None


class TextPart(msgspec.Struct, tag_field="type", tag="text", gc=False):
    """Text; `cache_control` is Anthropic's cache mark, which some clients set here too."""

    text: str
    cache_control: CacheControl | None = None
    prompt_cache_breakpoint: CacheBreakpoint | None = None


class RefusalPart(msgspec.Struct, tag_field="type", tag="refusal", gc=False):
    """What an assistant said instead of an answer."""

    refusal: str


class ImageUrl(msgspec.Struct, gc=False):
    """Where an image is: an http(s) URL, a data URL, or the id of a file uploaded before."""

    url: str = ""
    file_id: str | None = None
    detail: str | None = None


class ImagePart(msgspec.Struct, tag_field="type", tag="image_url"):
    """An image."""

    image_url: ImageUrl | str
    cache_control: CacheControl | None = None
    prompt_cache_breakpoint: CacheBreakpoint | None = None


class FileData(msgspec.Struct, gc=False):
    """A file in the request itself, the id of one uploaded before, or where it can be fetched."""

    file_data: str | None = None
    file_id: str | None = None
    file_url: str | None = None
    filename: str | None = None


class FilePart(msgspec.Struct, tag_field="type", tag="file"):
    """A document."""

    file: FileData
    cache_control: CacheControl | None = None
    prompt_cache_breakpoint: CacheBreakpoint | None = None


class AudioPart(msgspec.Struct, tag_field="type", tag="input_audio"):
    """Sound."""


UserPart: TypeAlias = TextPart | ImagePart | FilePart | AudioPart
AssistantPart: TypeAlias = TextPart | RefusalPart
ToolPart: TypeAlias = TextPart | ImagePart | FilePart


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
    function_call: FunctionCall | None = None
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
    """The answer to the latest call of this function in the style before tools."""

    name: str
    content: str | list[TextPart] | None = None
    cache_control: CacheControl | None = None


ChatMessage: TypeAlias = (
    SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage
)


class FunctionDefinition(msgspec.Struct):
    """A function the model may call; `parameters` is a JSON schema."""

    name: str
    description: str | None = None
    parameters: dict[str, msgspec.Raw] | None = None
    strict: bool | None = None


class Grammar(msgspec.Struct, gc=False):
    """What a custom tool's text has to keep to."""

    syntax: str = ""
    definition: str = ""


class CustomFormat(msgspec.Struct):
    """The form of a custom tool's text: any, or by a grammar."""

    type: str = "text"
    grammar: Grammar | None = None


class CustomDefinition(msgspec.Struct):
    """A tool that is called with plain text."""

    name: str
    description: str | None = None
    format: CustomFormat | None = None


class ToolDefinition(msgspec.Struct):
    """A tool; `function` is there where `type` is ``function``, `custom` where it is ``custom``."""

    type: str
    function: FunctionDefinition | None = None
    custom: CustomDefinition | None = None
    cache_control: CacheControl | None = None


class NamedFunction(msgspec.Struct, gc=False):
    """A function's name."""

    name: str


class AllowedTool(msgspec.Struct):
    """One of the tools that may be called."""

    type: str = "function"
    function: NamedFunction | None = None
    custom: NamedFunction | None = None


class AllowedTools(msgspec.Struct):
    """A choice among some of the tools."""

    mode: Literal["auto", "required"] = "auto"
    tools: list[AllowedTool] | None = None


class NamedChoice(msgspec.Struct):
    """A tool choice that is an object."""

    type: str
    function: NamedFunction | None = None
    custom: NamedFunction | None = None
    allowed_tools: AllowedTools | None = None


class StreamOptions(msgspec.Struct):
    """Options of a streamed answer."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class JsonSchema(msgspec.Struct):
    """A schema for the answer, and what it is called."""

    name: str = "answer"
    description: str | None = None
    schema: Anything = msgspec.UNSET
    strict: bool | None = None


class ResponseFormat(msgspec.Struct):
    """The shape the answer has to have: ``text``, ``json_object``, or ``json_schema``."""

    type: str
    json_schema: JsonSchema | None = None


class CacheOptions(msgspec.Struct, gc=False):
    """What is cached: what seems worth it (``implicit``) or only what is marked (``explicit``), for `ttl`."""

    mode: Literal["implicit", "explicit"] | None = None
    ttl: str | None = None


class ReasoningOptions(msgspec.Struct, gc=False):
    """How much to reason, in the shape OpenRouter gave it: an effort, or a budget of tokens."""

    effort: Effort | None = None
    max_tokens: int | None = None
    enabled: bool | None = None


class ThinkingOptions(msgspec.Struct, gc=False):
    """Anthropic's own ``thinking``, which clients of its models send in an extra body."""

    type: Literal["adaptive", "enabled", "disabled", "between_tools"]
    budget_tokens: int | None = None


class ChatRequest(msgspec.Struct, kw_only=True):
    """The fields of a request that have a meaning here; `messages` are decoded one by one."""

    messages: list[ChatMessage]
    model: str | None = None
    audio: Anything = msgspec.UNSET
    cache_control: CacheControl | None = None
    frequency_penalty: Penalty | None = None
    function_call: str | NamedFunction | None = None
    functions: list[FunctionDefinition] | None = None
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
    prompt_cache_options: CacheOptions | None = None
    prompt_cache_retention: str | None = None
    reasoning: ReasoningOptions | None = None
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
    thinking: ThinkingOptions | None = None
    tool_choice: str | NamedChoice | None = None
    tools: list[ToolDefinition] | None = None
    top_k: Annotated[int, msgspec.Meta(ge=0)] | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=20)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    user: str | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    web_search_options: Anything = msgspec.UNSET


class PeekedRequest(msgspec.Struct):
    """The few fields routing needs."""

    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    messages: list[Turn] | None = None
    metadata: Anything = msgspec.UNSET
    prompt_cache_key: Anything = msgspec.UNSET
    extra_body: Anything = msgspec.UNSET
    claude_options: Anything = msgspec.UNSET
    conversation_id: Anything = msgspec.UNSET
    session_id: Anything = msgspec.UNSET
    project_id: Anything = msgspec.UNSET
    system_prompt: Anything = msgspec.UNSET


OWN_FIELDS = ("claude_options", "conversation_id", "session_id", "project_id", "system_prompt")
