"""The body of a Responses request.

Source: "Create a model response" in OpenAI's API reference. Fields that only have to be noticed stay raw.
"""

from typing import Annotated, Literal, TypeAlias

import msgspec

from proxy.dialects.decoding import Anything
from proxy.dialects.openai_chat.schema import Effort

Summary: TypeAlias = Literal["auto", "concise", "detailed"]


class Reasoning(msgspec.Struct, omit_defaults=True):
    """How much the model thinks, and how much of that is shown."""

    effort: Effort | None = None
    summary: Summary | None = None
    generate_summary: Summary | None = None
    mode: Anything = msgspec.UNSET
    context: Anything = msgspec.UNSET

    @property
    def shown(self) -> bool:
        """Whether a summary of the thinking is asked for."""
        return self.summary is not None or self.generate_summary is not None


class TextFormat(msgspec.Struct, omit_defaults=True):
    """The shape of the text: ``text``, ``json_object``, or ``json_schema`` with a name and a schema."""

    type: str
    name: str | None = None
    description: str | None = None
    schema: Anything = msgspec.UNSET
    strict: bool | None = None


class TextConfig(msgspec.Struct, omit_defaults=True):
    """What is asked of the text."""

    format: TextFormat | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class StreamOptions(msgspec.Struct):
    """Options of a streamed answer; obfuscation is never sent."""

    include_obfuscation: bool | None = None


class NamedChoice(msgspec.Struct, omit_defaults=True):
    """A tool choice that is an object."""

    type: str
    name: str | None = None
    namespace: str | None = None
    mode: Literal["auto", "required"] | None = None
    tools: Anything = msgspec.UNSET


class ToolParam(msgspec.Struct):
    """A tool; which fields count depends on its type.

    Attributes:
        type: ``function``, ``custom``, ``namespace``, or a tool of the provider's own.
        name: of the function, the custom tool or the namespace.
        description: for the model.
        parameters: JSON schema of a function's arguments.
        strict: whether a function's arguments have to follow it.
        format: the grammar of a custom tool's input.
        tools: those of a namespace.
    """

    type: str
    name: str | None = None
    description: str | None = None
    parameters: dict[str, msgspec.Raw] | None = None
    strict: bool | None = None
    format: Anything = msgspec.UNSET
    tools: list[msgspec.Raw] | None = None


class ResponsesRequest(msgspec.Struct, kw_only=True):
    """The fields of a request; items and tools are decoded one by one."""

    access_programs: Anything = msgspec.UNSET
    background: bool | None = None
    context_management: Anything = msgspec.UNSET
    conversation: Anything = msgspec.UNSET
    image: Anything = msgspec.UNSET
    include: list[str] | None = None
    input: str | list[msgspec.Raw] | None = None
    instructions: str | None = None
    max_output_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    max_tool_calls: Annotated[int, msgspec.Meta(ge=1)] | None = None
    metadata: dict[str, str] | None = None
    model: str | None = None
    moderation: Anything = msgspec.UNSET
    parallel_tool_calls: bool | None = None
    previous_response_id: str | None = None
    prompt: Anything = msgspec.UNSET
    prompt_cache_key: str | None = None
    prompt_cache_options: Anything = msgspec.UNSET
    prompt_cache_retention: str | None = None
    reasoning: Reasoning | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    text: TextConfig | None = None
    tool_choice: str | NamedChoice | None = None
    tools: list[msgspec.Raw] | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=20)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    user: str | None = None


class PeekedRequest(msgspec.Struct):
    """The few fields routing needs."""

    model: str | None = None
    stream: bool | None = None
    input: Anything = msgspec.UNSET
    instructions: Anything = msgspec.UNSET
    previous_response_id: str | None = None
    prompt_cache_key: Anything = msgspec.UNSET
    claude_options: Anything = msgspec.UNSET
    conversation_id: Anything = msgspec.UNSET
    session_id: Anything = msgspec.UNSET
    project_id: Anything = msgspec.UNSET
    system_prompt: Anything = msgspec.UNSET


class Part(msgspec.Struct):
    """A part of an item's content; which fields count depends on its type.

    Attributes:
        type: ``input_text``, ``output_text``, ``refusal``, ``input_image``, ``input_file`` or another.
        text: of a text.
        refusal: of a refusal.
        image_url: an image's http(s) or data URL, plain.
        file_id: of an uploaded file.
        file_data: a file's content as a data URL.
        file_url: where a file is.
        filename: a file's name.
    """

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: str | None = None
    file_id: str | None = None
    file_data: str | None = None
    file_url: str | None = None
    filename: str | None = None


class Item(msgspec.Struct):
    """An input item; which fields count depends on its type.

    Attributes:
        role: of a message.
        content: of a message.
        encrypted_content: of a reasoning item.
        call_id: of a tool call and of its output.
        name: of the tool that is called.
        namespace: of that tool.
        arguments: of a function call, JSON text written by the model, which may be wrong.
        input: of a custom tool call.
        output: what a tool answers: text, or parts; of other tools anything.
    """

    role: str | None = None
    content: str | list[Part] | None = None
    encrypted_content: str | None = None
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: str = ""
    input: str = ""
    output: Anything = msgspec.UNSET


class Typed(msgspec.Struct, gc=False):
    """What sort of thing it is; messages need not say it."""

    type: str | None = None
    role: str | None = None
