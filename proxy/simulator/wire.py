"""The parts of a Messages request the simulated model looks at; whatever else a block holds is accepted.

Source of the fields: the Messages page of Anthropic's API reference.
"""

import msgspec

_ABSENT = msgspec.Raw()


class CacheControl(msgspec.Struct):
    """Marks the end of a prefix worth caching, for ``5m`` or ``1h``."""

    type: str = "ephemeral"
    ttl: str = "5m"


class Source(msgspec.Struct):
    """Where an image or a document comes from."""

    type: str
    media_type: str = ""
    data: str = ""
    url: str = ""
    file_id: str = ""
    content: "str | list[Block] | None" = None


class Block(msgspec.Struct, omit_defaults=True):
    """A content block of any type; which fields are set depends on it."""

    type: str
    text: str | None = None
    source: Source | str | None = None
    id: str = ""
    name: str = ""
    input: msgspec.Raw = _ABSENT
    tool_use_id: str = ""
    content: "str | list[Block] | dict[str, object] | None" = None
    is_error: bool | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    title: str | None = None
    cache_control: CacheControl | None = None


class Message(msgspec.Struct):
    """One turn."""

    role: str
    content: str | list[Block]


class Tool(msgspec.Struct, omit_defaults=True):
    """A tool the model may call; those of the server have a `type` and no schema."""

    name: str
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, object] | None = None
    strict: bool | None = None
    cache_control: CacheControl | None = None


class ToolChoice(msgspec.Struct):
    """``auto``, ``any``, ``tool`` or ``none``."""

    type: str
    name: str = ""
    disable_parallel_tool_use: bool = False


class Thinking(msgspec.Struct):
    """``enabled``, ``adaptive``, ``disabled`` or ``between_tools``."""

    type: str
    budget_tokens: int | None = None
    display: str | None = None


class Format(msgspec.Struct):
    """The form the answer has to take."""

    type: str
    schema: dict[str, object] = msgspec.field(default_factory=dict)


class OutputConfig(msgspec.Struct):
    """How the answer is to look."""

    effort: str | None = None
    format: Format | None = None


class Metadata(msgspec.Struct, forbid_unknown_fields=True):
    """Who the end user is."""

    user_id: str | None = None


class TokenRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What `count_tokens` takes: the parts of a request that are prompt. Fields of betas are kept unread."""

    model: str
    messages: list[Message]
    system: str | list[Block] | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    cache_control: CacheControl | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    speed: str | None = None
    context_management: msgspec.Raw = _ABSENT
    mcp_servers: msgspec.Raw = _ABSENT


class MessagesRequest(TokenRequest, kw_only=True, forbid_unknown_fields=True):
    """A request for an answer."""

    max_tokens: int
    stream: bool | None = None
    stop_sequences: list[str] | None = None
    metadata: Metadata | None = None
    service_tier: str | None = None
    inference_geo: str | None = None
    container: msgspec.Raw = _ABSENT
    diagnostics: msgspec.Raw = _ABSENT
    compaction: msgspec.Raw = _ABSENT
    fallbacks: msgspec.Raw = _ABSENT
    fallback_credit_token: msgspec.Raw = _ABSENT
    thread: msgspec.Raw = _ABSENT
    billing_policy: msgspec.Raw = _ABSENT


BETA_FIELDS = (
    "context_management",
    "mcp_servers",
    "compaction",
    "fallbacks",
    "fallback_credit_token",
    "thread",
    "billing_policy",
)


def blocks_of(content: str | list[Block]) -> list[Block]:
    """Content as blocks; a string is one text block."""
    return [Block(type="text", text=content)] if isinstance(content, str) else content


def texts_of(content: str | list[Block]) -> str:
    """The text blocks of a content, a line each."""
    if isinstance(content, str):
        return content
    return "\n".join(block.text or "" for block in content if block.type == "text")


def last_user_blocks(messages: list[Message]) -> list[Block]:
    """The content of the last message of the user, as blocks."""
    return next((blocks_of(message.content) for message in reversed(messages) if message.role == "user"), [])
