"""Chat Completions requests of the simulated OpenAI-compatible API, read as strictly as OpenAI reads them.

Source of the fields: "Create chat completion" in OpenAI's API reference. What a well-behaved client never sends to
this API (Anthropic's own fields above all) is refused, so that a test sees it.
"""

import re

import msgspec

from proxy.simulator.wire import Block, Message, MessagesRequest, Source, Tool, ToolChoice

_MAX_STOPS = 4


class ChatFault(Exception):
    """A request this API refuses: status, message, and the ``param`` and ``code`` of the envelope."""

    def __init__(
        self, message: str, *, status: int = 400, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code


class _Url(msgspec.Struct, forbid_unknown_fields=True):
    url: str
    detail: str | None = None


class _Part(msgspec.Struct, forbid_unknown_fields=True):
    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: _Url | None = None
    input_audio: object = None
    file: object = None


class _Called(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    arguments: str


class _Call(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    type: str
    function: _Called


class ChatMessage(msgspec.Struct, forbid_unknown_fields=True):
    """One message of any role."""

    role: str
    content: str | list[_Part] | None = None
    name: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None


class _Definition(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    description: str | None = None
    parameters: dict[str, object] | None = None
    strict: bool | None = None


class _Tool(msgspec.Struct, forbid_unknown_fields=True):
    type: str
    function: _Definition


class _Name(msgspec.Struct):
    name: str


class _Choice(msgspec.Struct):
    type: str
    function: _Name


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class ChatRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A request for a completion."""

    model: str
    messages: list[ChatMessage]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_completion_tokens: int | None = None
    max_tokens: int | None = None
    stop: str | list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    tools: list[_Tool] | None = None
    tool_choice: str | _Choice | None = None
    parallel_tool_calls: bool | None = None
    response_format: object = None
    reasoning_effort: str | None = None
    n: int | None = None
    seed: int | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None
    store: bool | None = None
    verbosity: str | None = None


_AT = re.compile(r" - at `\$\.(.*)`$")
_MISSING = re.compile(r"^Object missing required field `(\w+)`$")
_decoder = msgspec.json.Decoder(ChatRequest)
_CHOICES = {"auto": "auto", "none": "none", "required": "any"}


def read_chat(body: bytes) -> tuple[ChatRequest, MessagesRequest]:
    """A request as it is and as the simulated model reads it. Raises ChatFault where OpenAI would refuse it."""
    try:
        chat = _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise ChatFault(f"Invalid request: {error}", param=_param(str(error)), code="invalid_value") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ChatFault("We could not parse the JSON body of your request.") from None
    if not chat.messages:
        raise ChatFault("[] is too short - 'messages'", param="messages", code="empty_array")
    if isinstance(chat.stop, list) and len(chat.stop) > _MAX_STOPS:
        raise ChatFault("'stop' has at most 4 items.", param="stop", code="array_above_max_length")
    if chat.stream_options is not None and not chat.stream:
        raise ChatFault("'stream_options' is only allowed when streaming.", param="stream_options")
    if (chat.tool_choice is not None or chat.parallel_tool_calls is not None) and not chat.tools:
        raise ChatFault("'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice")
    _check_turns(chat.messages)
    return chat, _as_messages(chat)


def _param(error: str) -> str | None:
    """The field that is wrong, or the one that is missing at the top."""
    found = _AT.search(error) or _MISSING.search(error)
    return found[1] if found is not None else None


def _check_turns(messages: list[ChatMessage]) -> None:
    waiting: list[str] = []
    for place, message in enumerate(messages):
        at = f"messages.[{place}]"
        if message.role == "tool":
            if message.tool_call_id not in waiting:
                raise ChatFault(
                    "Messages with role 'tool' must be a response to a preceding message with 'tool_calls'.",
                    param=f"{at}.role",
                )
            waiting.remove(message.tool_call_id)
            continue
        if waiting:
            raise ChatFault(
                "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
                f"'tool_call_id'. The following did not have response messages: {', '.join(waiting)}",
                param=f"{at}.role",
            )
        if message.role not in {"system", "developer", "user", "assistant"}:
            raise ChatFault(f"Invalid value: '{message.role}'.", param=f"{at}.role", code="invalid_value")
        if message.content is None and not message.tool_calls:
            raise ChatFault(f"Invalid value for 'content' of {at}: got null.", param=f"{at}.content")
        waiting = [call.id for call in message.tool_calls or ()]


def _as_messages(chat: ChatRequest) -> MessagesRequest:
    """The same in the terms of the simulated model."""
    system = [Block("text", text=_text(one)) for one in chat.messages if one.role in {"system", "developer"}]
    turns = [_turn(one) for one in chat.messages if one.role not in {"system", "developer"}]
    stops = [chat.stop] if isinstance(chat.stop, str) else chat.stop
    return MessagesRequest(
        model=chat.model,
        messages=turns,
        system=system or None,
        max_tokens=chat.max_completion_tokens or chat.max_tokens or 4096,
        stream=chat.stream,
        stop_sequences=stops,
        tools=[
            Tool(tool.function.name, None, tool.function.description, tool.function.parameters or {})
            for tool in chat.tools or ()
        ]
        or None,
        tool_choice=_choice(chat),
    )


def _choice(chat: ChatRequest) -> ToolChoice | None:
    alone = chat.parallel_tool_calls is False
    choice = chat.tool_choice
    if isinstance(choice, _Choice):
        return ToolChoice("tool", choice.function.name, alone)
    if choice is None:
        return ToolChoice("auto", "", alone) if alone else None
    if choice not in _CHOICES:
        raise ChatFault(f"Invalid value: '{choice}'.", param="tool_choice", code="invalid_value")
    return ToolChoice(_CHOICES[choice], "", alone)


def _turn(message: ChatMessage) -> Message:
    if message.role == "tool":
        return Message(
            "user", [Block("tool_result", tool_use_id=message.tool_call_id or "", content=_text(message))]
        )
    if message.role == "assistant":
        return Message("assistant", _text(message))
    if isinstance(message.content, list):
        return Message("user", [_block(part) for part in message.content])
    return Message("user", message.content or "")


def _block(part: _Part) -> Block:
    if part.image_url is not None:
        media_type, _, data = part.image_url.url.removeprefix("data:").partition(";base64,")
        if data:
            return Block("image", source=Source("base64", media_type, data))
        return Block("image", source=Source("url", url=part.image_url.url))
    return Block("text", text=part.text or "")


def _text(message: ChatMessage) -> str:
    if isinstance(message.content, list):
        return "\n".join(part.text or "" for part in message.content)
    return message.content or ""
