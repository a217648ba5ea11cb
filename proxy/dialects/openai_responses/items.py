"""Input items to system text and turns.

Reasoning, messages and calls of the model that follow each other are one turn of the assistant's, in their order;
outputs that follow each other are one turn of the user's.
Source: "Create a model response" in OpenAI's API reference and "Create a Message" in Anthropic's.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import msgspec

from proxy.dialects.common import Dropped, Target, Thought
from proxy.dialects.decoding import Anything, decode_json, is_given
from proxy.dialects.openai_chat.messages import Conversation
from proxy.dialects.openai_chat.reasoning_details import with_thoughts
from proxy.dialects.openai_chat.tool_ids import ToolIds
from proxy.dialects.openai_responses.parts import blocks_of, texts_of
from proxy.dialects.openai_responses.schema import Item, Part, Typed
from proxy.dialects.openai_responses.sealing import Seal, SealBroken
from proxy.dialects.openai_responses.tools import flat_name
from proxy.errors import InvalidRequest
from proxy.model.collect import json_object, raw_arguments
from proxy.model.content import Block, TextBlock, ToolResultBlock, ToolUseBlock
from proxy.model.request import InputMessage

_ELSEWHERE: Final = "a call of a tool that ran at the other provider"

LEFT_OUT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "additional_tools": "tools cannot be added within a conversation",
        "code_interpreter_call": _ELSEWHERE,
        "computer_call": _ELSEWHERE,
        "computer_call_output": _ELSEWHERE,
        "file_search_call": _ELSEWHERE,
        "image_generation_call": _ELSEWHERE,
        "mcp_approval_request": _ELSEWHERE,
        "mcp_approval_response": _ELSEWHERE,
        "mcp_call": _ELSEWHERE,
        "mcp_list_tools": _ELSEWHERE,
        "program": _ELSEWHERE,
        "program_output": _ELSEWHERE,
        "tool_search_call": _ELSEWHERE,
        "tool_search_output": _ELSEWHERE,
        "web_search_call": _ELSEWHERE,
    }
)
"""Items the model gets nothing of, and why."""


def read_items(
    items: str | Sequence[msgspec.Raw], target: Target, seal: Seal, *, stored: int = 0
) -> Conversation:
    """Translate item by item. Raises InvalidRequest naming the field that cannot be carried.

    Args:
        items: the input.
        target: for what it is translated.
        seal: opens encrypted reasoning.
        stored: how many items at the beginning come from our own store; the client's own are counted from 0.
    """
    reader = _Reader(target, seal, stored)
    if isinstance(items, str):
        reader.conversation.turns.append(InputMessage("user", [TextBlock(items)]))
    else:
        for place, raw in enumerate(items):
            reader.read(raw, place)
        reader.end_turn()
    return reader.conversation


class _Reader:
    def __init__(self, target: Target, seal: Seal, stored: int) -> None:
        self.conversation = Conversation()
        self._target = target
        self._seal = seal
        self._stored = stored
        self._ids = ToolIds()
        self._turn = 0
        self._said: list[Block] = []
        self._thoughts: list[Thought] = []
        self._first_call = ""

    def read(self, raw: msgspec.Raw, place: int) -> None:
        ours = place < self._stored
        at = "previous_response_id" if ours else f"input[{place - self._stored}]"
        typed = decode_json(Typed, raw, at=at)
        kind = typed.type or ("message" if typed.role is not None else "item_reference")
        if (reason := LEFT_OUT.get(kind)) is not None:
            self._drop(at, reason)
            return
        read = _READERS.get(kind)
        if read is None:
            raise _unreadable(kind, at)
        read(self, _Found(decode_json(Item, raw, at=at), kind, raw, at, ours=ours))

    def end_turn(self) -> None:
        """What comes next is not the assistant's: put together what it said, thought and called."""
        if self._said or self._thoughts:
            thoughts: Sequence[Thought] = self._thoughts
            if not thoughts and self._first_call:
                thoughts = self._target.recall(self._first_call)
            blocks = with_thoughts(self._said, thoughts)
            self.conversation.turns.append(InputMessage("assistant", blocks))
        self._said, self._thoughts, self._first_call = [], [], ""
        self._turn += 1

    def message(self, found: "_Found") -> None:
        item, at = found.item, f"{found.at}.content"
        match item.role:
            case "user":
                self._user([*blocks_of(item.content, at, self._target.files)])
            case "assistant":
                self._said += [block for block in texts_of(item.content, at) if block.text]
            case "system" | "developer":
                self._instruct([block for block in texts_of(item.content, at) if block.text.strip()])
            case _:
                raise InvalidRequest(
                    "The role of a message is user, assistant, system or developer.",
                    param=f"{found.at}.role",
                    code="invalid_value",
                )

    def reasoning(self, found: "_Found") -> None:
        sealed = found.item.encrypted_content
        if not sealed:
            self._drop(found.at, "reasoning without encrypted_content")
        elif not self._target.thinking_back:
            self._drop(found.at, "refused by the upstream")
        else:
            self._unseal(sealed, found)

    def _unseal(self, sealed: str, found: "_Found") -> None:
        try:
            block = self._seal.open(sealed)
        except SealBroken:
            if found.ours:
                self._drop(found.at, "sealed under another secret key")
                return
            raise InvalidRequest(
                "The encrypted content could not be verified: it was not made here, or was changed.",
                param=f"{found.at}.encrypted_content",
                code="invalid_encrypted_content",
            ) from None
        self._thoughts.append(Thought(len(self._said) + len(self._thoughts), block))

    def function_call(self, found: "_Found") -> None:
        arguments = found.item.arguments
        self._call(found, _name(found), json_object(arguments) or raw_arguments(arguments))

    def custom_call(self, found: "_Found") -> None:
        tool_input = msgspec.json.encode({"input": found.item.input})
        self._call(found, _name(found), msgspec.Raw(tool_input))

    def other_call(self, found: "_Found") -> None:
        """A call of a tool that has a type of its own: the item is the input."""
        self._call(found, found.kind.removesuffix("_call"), msgspec.Raw(bytes(found.raw)))

    def _call(self, found: "_Found", name: str, tool_input: msgspec.Raw) -> None:
        original = _call_id(found)
        self._first_call = self._first_call or original
        self._said.append(ToolUseBlock(self._ids.for_call(original, self._turn), name, tool_input))

    def output(self, found: "_Found") -> None:
        self.end_turn()
        content = blocks_of(_parts(found), f"{found.at}.output", self._target.files)
        kept = [block for block in content if not isinstance(block, TextBlock) or block.text]
        self._user([ToolResultBlock(self._ids.for_result(_call_id(found)), [*kept])])

    def other_output(self, found: "_Found") -> None:
        self.end_turn()
        text = _as_text(found.item.output)
        content = [TextBlock(text)] if text else []
        self._user([ToolResultBlock(self._ids.for_result(_call_id(found)), [*content])])

    def _user(self, blocks: list[Block]) -> None:
        self.end_turn()
        self.conversation.turns.append(InputMessage("user", blocks))

    def _instruct(self, blocks: list[TextBlock]) -> None:
        self.end_turn()
        if self.conversation.turns:
            self.conversation.turns.append(InputMessage("system", [*blocks]))
        else:
            self.conversation.system += blocks

    def _drop(self, name: str, reason: str) -> None:
        self.conversation.dropped.append(Dropped(name, reason))


class _Found(msgspec.Struct, frozen=True):
    """An item, what sort it is, as it came, and where it stands; `ours` says that it comes from our own store."""

    item: Item
    kind: str
    raw: msgspec.Raw
    at: str
    ours: bool


_READERS: Final[Mapping[str, Callable[[_Reader, _Found], None]]] = MappingProxyType(
    {
        "message": _Reader.message,
        "reasoning": _Reader.reasoning,
        "function_call": _Reader.function_call,
        "custom_tool_call": _Reader.custom_call,
        "local_shell_call": _Reader.other_call,
        "shell_call": _Reader.other_call,
        "apply_patch_call": _Reader.other_call,
        "function_call_output": _Reader.output,
        "custom_tool_call_output": _Reader.output,
        "local_shell_call_output": _Reader.other_output,
        "shell_call_output": _Reader.other_output,
        "apply_patch_call_output": _Reader.other_output,
    }
)
"""How each sort of item is read that the model gets something of."""


def _unreadable(kind: str, at: str) -> InvalidRequest:
    if kind == "item_reference":
        # references that could be followed have been replaced before
        return InvalidRequest(
            "The reference leads nowhere: send the item itself.", param=f"{at}.id", code="invalid_value"
        )
    return InvalidRequest(
        "Items of this type are not supported.", param=f"{at}.type", code="unsupported_value"
    )


def _name(found: _Found) -> str:
    if not found.item.name:
        raise InvalidRequest(
            "The call has no name.", param=f"{found.at}.name", code="missing_required_parameter"
        )
    return flat_name(found.item.namespace, found.item.name)


def _call_id(found: _Found) -> str:
    if not found.item.call_id:
        raise InvalidRequest(
            "The call has no call_id.", param=f"{found.at}.call_id", code="missing_required_parameter"
        )
    return found.item.call_id


def _parts(found: _Found) -> str | list[Part] | None:
    output = found.item.output
    if not isinstance(output, msgspec.Raw):
        return None
    return decode_json(_Output, b'{"output":%b}' % bytes(output), at=found.at).output


class _Output(msgspec.Struct):
    output: str | list[Part] | None = None


def _as_text(output: Anything) -> str:
    """What a tool of a type of its own answered: its text, or its JSON."""
    if not isinstance(output, msgspec.Raw) or not is_given(output):
        return ""
    text = bytes(output)
    return decode_json(str, text) if text.startswith(b'"') else text.decode("utf-8", "replace")
