"""The canonical request: the body of Anthropic's Messages API, with every shorthand written out.

Encoding a `Request` with msgspec gives exactly what the API accepts: fields at their default are left out.
Source: "Create a Message" in Anthropic's API reference.
"""

from typing import Literal, TypeAlias

import msgspec

from proxy.model.content import Block, CacheControl, TextBlock

Role: TypeAlias = Literal["user", "assistant", "system"]


class InputMessage(msgspec.Struct, frozen=True):
    """One message of the history. Role ``system`` stands for instructions given in mid-conversation."""

    role: Role
    content: list[Block]


class Tool(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tool the client runs itself; `input_schema` is the JSON text of a schema of type ``object``."""

    name: str
    input_schema: msgspec.Raw
    description: str | None = None
    strict: bool | None = None
    cache_control: CacheControl | None = None
    type: str | None = None


class ToolChoiceAuto(msgspec.Struct, frozen=True, tag_field="type", tag="auto", omit_defaults=True, gc=False):
    """The model decides."""

    disable_parallel_tool_use: bool = False


class ToolChoiceAny(msgspec.Struct, frozen=True, tag_field="type", tag="any", omit_defaults=True, gc=False):
    """Some tool has to be called."""

    disable_parallel_tool_use: bool = False


class ToolChoiceTool(msgspec.Struct, frozen=True, tag_field="type", tag="tool", omit_defaults=True, gc=False):
    """This tool has to be called."""

    name: str
    disable_parallel_tool_use: bool = False


class ToolChoiceNone(msgspec.Struct, frozen=True, tag_field="type", tag="none", gc=False):
    """No tool may be called."""


ToolChoice: TypeAlias = ToolChoiceAuto | ToolChoiceAny | ToolChoiceTool | ToolChoiceNone


class ThinkingAdaptive(
    msgspec.Struct, frozen=True, tag_field="type", tag="adaptive", omit_defaults=True, gc=False
):
    """The model decides how much to think; `display` is ``summarized`` or ``omitted``."""

    display: str | None = None


class ThinkingEnabled(
    msgspec.Struct, frozen=True, tag_field="type", tag="enabled", omit_defaults=True, gc=False
):
    """Thinking within a budget of at least 1024 tokens and less than ``max_tokens``."""

    budget_tokens: int
    display: str | None = None


class ThinkingDisabled(msgspec.Struct, frozen=True, tag_field="type", tag="disabled", gc=False):
    """No thinking."""


class ThinkingBetweenTools(msgspec.Struct, frozen=True, tag_field="type", tag="between_tools", gc=False):
    """No thinking but between tool calls: the nearest to none that some models have."""


Thinking: TypeAlias = ThinkingAdaptive | ThinkingEnabled | ThinkingDisabled | ThinkingBetweenTools


class OutputConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    """How much effort the answer is worth, and the schema it has to follow."""

    effort: str | None = None
    format: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class Metadata(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """An opaque id of the end user."""

    user_id: str | None = None


class Request(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One request to a model.

    Tools that are not the client's own (web search, code execution) stay raw JSON.
    """

    model: str
    max_tokens: int
    messages: list[InputMessage]
    system: list[TextBlock] = msgspec.field(default_factory=list)
    stop_sequences: list[str] = msgspec.field(default_factory=list)
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stream: bool = False
    tools: list[Tool | msgspec.Raw] = msgspec.field(default_factory=list)
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    metadata: Metadata | None = None
    cache_control: CacheControl | None = None
    service_tier: str | None = None
    speed: str | None = None
