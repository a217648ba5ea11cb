"""The order of messages: what OpenAI's clients may send, made into what the Messages API takes.

Sources: "Create a Message" and "Tool use" in Anthropic's documentation and the API's own errors: the first message
is the user's, roles alternate, every tool call is answered in the next message, results before any other content,
no text is empty, instructions in mid-conversation follow a user's message and are last or followed by an
assistant's, and newer models do not continue an assistant's message.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Final

import msgspec

from proxy.model.catalog import ModelFacts
from proxy.model.content import (
    Block,
    RedactedThinkingBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from proxy.model.request import InputMessage

_START: Final = "(conversation start)"
_NOTHING_SAID: Final = "(no content)"
_NO_RESULT: Final = "no result supplied"
# a union that is written where it is asked for is made anew each time
_OF_TOOLS: Final = (ToolUseBlock, ToolResultBlock)
_GO_ON: Final = "Continue exactly from where the previous message stopped."


def reminder(text: str) -> TextBlock:
    """An instruction of the operator's inside a user's message."""
    return TextBlock(f"<system-reminder>\n{text}\n</system-reminder>")


def ordered(turns: Sequence[InputMessage], facts: ModelFacts) -> list[InputMessage]:
    """The same turns in an order the model takes, but for the last, which is up to `closed`."""
    if _is_plain(turns):
        return [*turns]
    turns = _merged(_without_blank_text(turn) for turn in turns)
    turns = _merged(_never_empty(turns))
    turns = _merged(_placed(turns, facts))
    turns = _merged(_never_empty(_paired(turns)))
    if not turns or turns[0].role != "user":
        turns.insert(0, _user(_START))
    return turns


def closed(turns: list[InputMessage], *, prefill: bool) -> list[InputMessage]:
    """The turns with an end the model takes; `prefill` says whether it goes on with the assistant's own."""
    if turns[-1].role != "assistant":
        return turns
    return _prefilled(turns) if prefill else [*turns, _user(_GO_ON)]


def in_tool_turn(turns: Sequence[InputMessage]) -> bool:
    """Whether the model is about to go on with a turn in which it called tools."""
    return bool(turns) and any(isinstance(block, ToolResultBlock) for block in turns[-1].content)


def begins_with_thinking(turns: Sequence[InputMessage]) -> bool:
    """Whether the assistant's latest turn does, which thinking with a budget demands of one that calls tools."""
    for turn in reversed(turns):
        if turn.role == "assistant":
            return isinstance(turn.content[0], ThinkingBlock | RedactedThinkingBlock)
    return False


def _is_plain(turns: Sequence[InputMessage]) -> bool:
    """Whether the user and the assistant speak by turns, the user first, without tools: there is nothing to order."""
    speaker, other = "user", "assistant"
    for turn in turns:
        if turn.role != speaker or not turn.content:
            return False
        for block in turn.content:
            if isinstance(block, TextBlock):
                if not block.text or block.text.isspace():
                    return False
            elif isinstance(block, _OF_TOOLS):
                return False
        speaker, other = other, speaker
    return bool(turns)


def _user(text: str) -> InputMessage:
    return InputMessage("user", [TextBlock(text)])


def _merged(turns: Iterable[InputMessage]) -> list[InputMessage]:
    merged: list[InputMessage] = []
    joined: list[Block] | None = None
    for turn in turns:
        if not merged or merged[-1].role != turn.role:
            merged.append(turn)
            joined = None
        elif joined is None:
            joined = [*merged[-1].content, *turn.content]
            merged[-1] = InputMessage(turn.role, joined)
        else:
            # a new list for each of many messages in a row would take the square of their number
            joined += turn.content
    return merged


def _without_blank_text(turn: InputMessage) -> InputMessage:
    blank = all(isinstance(block, TextBlock) and not block.text.strip() for block in turn.content)
    if blank:
        return InputMessage(turn.role, [])
    return InputMessage(turn.role, [block for block in turn.content if not _is_empty_text(block)])


def _is_empty_text(block: Block) -> bool:
    return isinstance(block, TextBlock) and not block.text


def _never_empty(turns: Iterable[InputMessage]) -> list[InputMessage]:
    kept = []
    for turn in turns:
        if turn.content:
            kept.append(turn)
        elif turn.role == "user":
            kept.append(_user(_NOTHING_SAID))
    return kept


def _placed(turns: Sequence[InputMessage], facts: ModelFacts) -> list[InputMessage]:
    """Later instructions where the model takes them, else as reminders in the user's message beside them.

    They are never moved up into the system text: that would change the prefix caches and signatures depend on.
    """
    placed = []
    for place, turn in enumerate(turns):
        before = turns[place - 1].role if place else None
        after = turns[place + 1].role if place + 1 < len(turns) else None
        lawful = facts.mid_conversation_system and before == "user" and after in {None, "assistant"}
        if turn.role == "system" and not lawful:
            blocks = [
                reminder(block.text) if isinstance(block, TextBlock) else block for block in turn.content
            ]
            placed.append(InputMessage("user", [*blocks]))
        else:
            placed.append(turn)
    return placed


def _paired(turns: Sequence[InputMessage]) -> list[InputMessage]:
    """Every tool call answered in the next message, results first; results nobody asked for become text."""
    paired: list[InputMessage] = []
    calls: dict[str, None] = {}
    for turn in turns:
        if turn.role == "user":
            paired.append(InputMessage("user", _answered(turn.content, calls)))
        else:
            if calls:
                paired.append(InputMessage("user", _answered([], calls)))
            paired.append(turn)
        calls = dict.fromkeys(block.id for block in turn.content if isinstance(block, ToolUseBlock))
    if calls:
        paired.append(InputMessage("user", _answered([], calls)))
    return paired


def _answered(blocks: Iterable[Block], calls: Collection[str]) -> list[Block]:
    results: dict[str, Block] = {}
    others: list[Block] = []
    for block in blocks:
        if not isinstance(block, ToolResultBlock):
            others.append(block)
        elif block.tool_use_id in calls and block.tool_use_id not in results:
            results[block.tool_use_id] = block
        else:
            others.extend(part for part in block.content if not _is_empty_text(part))
    for call in calls:
        missing = ToolResultBlock(call, [TextBlock(_NO_RESULT)], is_error=True)
        results.setdefault(call, missing)
    return [*results.values(), *others]


def _prefilled(turns: list[InputMessage]) -> list[InputMessage]:
    """The last turn without white space at its end, which the upstream refuses."""
    *content, last = turns[-1].content
    if isinstance(last, TextBlock):
        text = last.text.rstrip()
        content += [msgspec.structs.replace(last, text=text)] if text else []
    else:
        content.append(last)
    return [*turns[:-1], InputMessage("assistant", content)] if content else turns[:-1]
