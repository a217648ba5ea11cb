"""Chat messages to system text and turns.

Source: "Create chat completion" in OpenAI's API reference and "Create a Message" in Anthropic's.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never

import msgspec

from proxy.dialects.common import Dropped, Thought
from proxy.dialects.decoding import is_given
from proxy.dialects.openai_chat.marks import mark_last
from proxy.dialects.openai_chat.media import NO_FILES, file_block, image_block
from proxy.dialects.openai_chat.reasoning_details import read_details, with_thoughts
from proxy.dialects.openai_chat.schema import (
    AssistantMessage,
    AssistantPart,
    AudioPart,
    ChatMessage,
    DeveloperMessage,
    FilePart,
    FunctionMessage,
    ImagePart,
    RefusalPart,
    SystemMessage,
    TextPart,
    ToolCall,
    ToolMessage,
    UserMessage,
    UserPart,
)
from proxy.dialects.openai_chat.tool_ids import ToolIds
from proxy.errors import InvalidRequest
from proxy.model.collect import json_object, raw_arguments
from proxy.model.content import Block, ResultContent, TextBlock, ToolResultBlock, ToolUseBlock
from proxy.model.request import InputMessage


@dataclass(slots=True)
class Conversation:
    """The messages of a request: instructions that lead, the turns as they came, and what was lost."""

    system: list[TextBlock] = field(default_factory=list)
    turns: list[InputMessage] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)


def read_messages(
    messages: Sequence[ChatMessage],
    *,
    recall: Callable[[str], Sequence[Thought]],
    thinking_back: bool = True,
    files: Mapping[str, str] = NO_FILES,
) -> Conversation:
    """Translate message by message. Raises InvalidRequest naming the field that cannot be carried.

    `recall`, `thinking_back` and `files` are those of `proxy.dialects.common.Target`.
    """
    reader = _Reader(recall, files, thinking_back=thinking_back)
    for place, message in enumerate(messages):
        reader.read(message, place)
    return reader.conversation


class _Reader:
    def __init__(
        self, recall: Callable[[str], Sequence[Thought]], files: Mapping[str, str], *, thinking_back: bool
    ) -> None:
        self.conversation = Conversation()
        self._recall = recall
        self._files = files
        self._thinking_back = thinking_back
        self._ids = ToolIds()

    def read(self, message: ChatMessage, place: int) -> None:
        at = f"messages[{place}]"
        match message:
            case SystemMessage() | DeveloperMessage():
                self._instruct(message)
            case UserMessage(content=content, cache_control=mark):
                self._add("user", mark_last(_user_blocks(content, f"{at}.content", self._files), mark))
            case AssistantMessage():
                self._add("assistant", self._assistant_blocks(message, place, at))
            case ToolMessage():
                self._add("user", [self._result(message, f"{at}.content")])
            case FunctionMessage():
                raise _legacy(f"{at}.role")
            case _:
                assert_never(message)
        if not isinstance(message, FunctionMessage) and message.name:
            self._drop(f"{at}.name", "messages have no names")

    def _instruct(self, message: SystemMessage | DeveloperMessage) -> None:
        parts = [TextPart(message.content)] if isinstance(message.content, str) else message.content
        blocks = [_text(part) for part in parts if part.text.strip()]
        if blocks and message.cache_control is not None:
            blocks[-1] = msgspec.structs.replace(blocks[-1], cache_control=message.cache_control)
        if self.conversation.turns:
            self._add("system", [*blocks])
        else:
            self.conversation.system += blocks

    def _assistant_blocks(self, message: AssistantMessage, place: int, at: str) -> list[Block]:
        if is_given(message.function_call):
            raise _legacy(f"{at}.function_call")
        if is_given(message.audio):
            self._drop(f"{at}.audio", "the upstream has no audio")
        blocks: list[Block] = [block for block in _said(message) if block.text]
        for index, call in enumerate(message.tool_calls or ()):
            name, tool_input = _called(call, f"{at}.tool_calls[{index}]")
            blocks.append(ToolUseBlock(self._ids.for_call(call.id, place), name, tool_input))
        blocks = mark_last(blocks, message.cache_control)
        return with_thoughts(blocks, self._thoughts(message, at))

    def _thoughts(self, message: AssistantMessage, at: str) -> Sequence[Thought]:
        """The turn's thinking: what the client brings back of it, or else what is remembered."""
        brought: Sequence[Thought] = ()
        if details := message.reasoning_details:
            if self._thinking_back:
                brought = read_details(details)
                reason = "not the provider's own reasoning"
            else:
                reason = "refused by the upstream"
            if len(brought) < len(details):
                self._drop(f"{at}.reasoning_details", reason)
        calls = message.tool_calls
        return self._recall(calls[0].id) if calls and not brought else brought

    def _result(self, message: ToolMessage, at: str) -> ToolResultBlock:
        content: list[ResultContent] = []
        parts = [TextPart(message.content)] if isinstance(message.content, str) else message.content or ()
        mark = message.cache_control
        for index, part in enumerate(parts):
            mark = part.cache_control or mark
            if isinstance(part, ImagePart):
                content.append(image_block(part, f"{at}[{index}]"))
            elif part.text:
                content.append(TextBlock(part.text))
        # a mark inside a result would not be taken, one on the result itself is
        return ToolResultBlock(self._ids.for_result(message.tool_call_id), content, cache_control=mark)

    def _add(self, role: str, blocks: list[Block]) -> None:
        turn = InputMessage("assistant" if role == "assistant" else "user", blocks)
        if role == "system":
            turn = InputMessage("system", blocks)
        self.conversation.turns.append(turn)

    def _drop(self, name: str, reason: str) -> None:
        self.conversation.dropped.append(Dropped(name, reason))


def _user_blocks(content: str | Sequence[UserPart], at: str, files: Mapping[str, str]) -> list[Block]:
    if isinstance(content, str):
        return [TextBlock(content)]
    return [_user_block(part, f"{at}[{index}]", files) for index, part in enumerate(content)]


def _user_block(part: UserPart, at: str, files: Mapping[str, str]) -> Block:
    match part:
        case TextPart():
            return _text(part)
        case ImagePart():
            return msgspec.structs.replace(image_block(part, at), cache_control=part.cache_control)
        case FilePart():
            return msgspec.structs.replace(file_block(part, at, files), cache_control=part.cache_control)
        case AudioPart():
            raise InvalidRequest(
                "Audio is not supported by the upstream.", param=f"{at}.type", code="unsupported_value"
            )
        case _:
            assert_never(part)


def _text(part: TextPart) -> TextBlock:
    return TextBlock(part.text, cache_control=part.cache_control)


def _said(message: AssistantMessage) -> Iterable[TextBlock]:
    content = message.content
    if isinstance(content, str):
        yield TextBlock(content)
    else:
        yield from (_part(part) for part in content or ())
    if message.refusal:
        yield TextBlock(message.refusal)


def _part(part: AssistantPart) -> TextBlock:
    match part:
        case TextPart():
            return _text(part)
        case RefusalPart(refusal=text):
            return TextBlock(text)
        case _:
            assert_never(part)


def _called(call: ToolCall, at: str) -> tuple[str, msgspec.Raw]:
    """A call's name and its input, which has to be an object whatever the model wrote."""
    if call.function is not None:
        arguments = call.function.arguments
        return call.function.name, json_object(arguments) or raw_arguments(arguments)
    if call.custom is not None:
        return call.custom.name, msgspec.Raw(msgspec.json.encode({"input": call.custom.input}))
    raise InvalidRequest(
        "The tool call has no function.", param=f"{at}.function", code="missing_required_parameter"
    )


def _legacy(param: str) -> InvalidRequest:
    return InvalidRequest(
        "Function calls in the style before tools are not supported: use tools, tool_calls and the role tool.",
        param=param,
        code="unsupported_parameter",
    )
