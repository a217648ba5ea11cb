"""Chat messages to system text and turns.

Source: "Create chat completion" in OpenAI's API reference and "Create a Message" in Anthropic's.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeAlias, assert_never

import msgspec

from proxy.dialects.common import Dropped, Thought
from proxy.dialects.decoding import is_given
from proxy.dialects.openai_chat.fields import loss, refusal
from proxy.dialects.openai_chat.marks import mark_last, mark_of
from proxy.dialects.openai_chat.media import file_block, image_block
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
    ImageUrl,
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
from proxy.model.content import (
    Block,
    DocumentBlock,
    ImageBlock,
    ResultContent,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from proxy.model.request import InputMessage, Role

_USUAL_DETAIL: Final = frozenset((None, "auto"))
_Attachment: TypeAlias = ImageBlock | DocumentBlock


class Conversation(msgspec.Struct):
    """The messages of a request: instructions that lead, the turns as they came, and what was lost."""

    system: list[TextBlock] = []
    turns: list[InputMessage] = []
    dropped: list[Dropped] = []


def read_messages(
    messages: Sequence[ChatMessage],
    *,
    recall: Callable[[str], Sequence[Thought]],
    thinking_back: bool = True,
    files: Mapping[str, str] | None = None,
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
        self,
        recall: Callable[[str], Sequence[Thought]],
        files: Mapping[str, str] | None,
        *,
        thinking_back: bool,
    ) -> None:
        self.conversation = Conversation()
        self._recall = recall
        self._files = files
        self._thinking_back = thinking_back
        self._ids = ToolIds()

    def read(self, message: ChatMessage, place: int) -> None:
        at = f"messages[{place}]"
        match message:
            case UserMessage(content=content, cache_control=mark):
                blocks = self._user_blocks(content, at)
                self._add("user", blocks if mark is None else mark_last(blocks, mark))
            case SystemMessage() | DeveloperMessage():
                self._instruct(message)
            case AssistantMessage():
                self._add("assistant", self._assistant_blocks(message, place, at))
            case ToolMessage(tool_call_id=call):
                self._add("user", [self._result(message, self._ids.for_result(call), f"{at}.content")])
            case FunctionMessage(name=name):
                self._add(
                    "user", [self._result(message, self._ids.for_result(_legacy(name)), f"{at}.content")]
                )
            case _:
                assert_never(message)
        if not isinstance(message, FunctionMessage) and message.name:
            self._lose("messages[].name", f"{at}.name")

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
        if is_given(message.audio):
            self._lose("messages[].audio", f"{at}.audio")
        blocks: list[Block] = [block for block in _said(message) if block.text]
        for index, call in enumerate(message.tool_calls or ()):
            name, tool_input = _called(call, f"{at}.tool_calls[{index}]")
            blocks.append(ToolUseBlock(self._ids.for_call(call.id, place), name, tool_input))
        if (called := message.function_call) is not None:
            blocks.append(
                ToolUseBlock(
                    self._ids.for_call(_legacy(called.name), place), called.name, _input(called.arguments)
                )
            )
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

    def _result(self, message: ToolMessage | FunctionMessage, call: str, at: str) -> ToolResultBlock:
        content: list[ResultContent] = []
        parts = [TextPart(message.content)] if isinstance(message.content, str) else message.content or ()
        mark = message.cache_control
        for index, part in enumerate(parts):
            mark = mark_of(part.cache_control, part.prompt_cache_breakpoint) or mark
            match part:
                case TextPart(text=text):
                    content += [TextBlock(text)] if text else []
                case ImagePart():
                    content.append(self._image(part, f"{at}[{index}]"))
                case FilePart():
                    content.append(file_block(part, f"{at}[{index}]", self._files))
                case _:
                    assert_never(part)
        # a mark inside a result would not be taken, one on the result itself is
        return ToolResultBlock(call, content, cache_control=mark)

    def _user_blocks(self, content: str | Sequence[UserPart], at: str) -> list[Block]:
        if isinstance(content, str):
            return [TextBlock(content)]
        return [self._user_block(part, f"{at}.content[{index}]") for index, part in enumerate(content)]

    def _user_block(self, part: UserPart, at: str) -> Block:
        match part:
            case TextPart():
                return _text(part)
            case ImagePart():
                return _marked(self._image(part, at), part)
            case FilePart():
                return _marked(file_block(part, at, self._files), part)
            case AudioPart():
                raise refusal("messages[].content[].input_audio", f"{at}.input_audio", "unsupported_value")
            case _:
                assert_never(part)

    def _image(self, part: ImagePart, at: str) -> ImageBlock:
        given = part.image_url
        if isinstance(given, ImageUrl) and given.detail not in _USUAL_DETAIL:
            self._lose("messages[].content[].image_url.detail", f"{at}.image_url.detail")
        return image_block(part, at, self._files)

    def _add(self, role: Role, blocks: list[Block]) -> None:
        self.conversation.turns.append(InputMessage(role, blocks))

    def _drop(self, name: str, reason: str) -> None:
        self.conversation.dropped.append(Dropped(name, reason))

    def _lose(self, field: str, path: str) -> None:
        self.conversation.dropped.append(loss(field, path))


def _marked(block: _Attachment, part: ImagePart | FilePart) -> _Attachment:
    return msgspec.structs.replace(
        block, cache_control=mark_of(part.cache_control, part.prompt_cache_breakpoint)
    )


def _text(part: TextPart) -> TextBlock:
    return TextBlock(part.text, cache_control=mark_of(part.cache_control, part.prompt_cache_breakpoint))


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
        return call.function.name, _input(call.function.arguments)
    if call.custom is not None:
        return call.custom.name, msgspec.Raw(msgspec.json.encode({"input": call.custom.input}))
    raise InvalidRequest(
        "The tool call has no function.", param=f"{at}.function", code="missing_required_parameter"
    )


def _input(arguments: str) -> msgspec.Raw:
    return json_object(arguments) or raw_arguments(arguments)


def _legacy(name: str) -> str:
    """The id of a call in the style before tools: it has none, but its function's name."""
    return f"function_{name}"
