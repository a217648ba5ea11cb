"""Whole answers of OpenAI-compatible APIs."""

import msgspec

from proxy.dialects.openai_chat.upstream.wire import (
    OWN_SIGNATURE,
    Said,
    call_id,
    message_id,
    read_usage,
    stop_of,
)
from proxy.dialects.upstream import MessageBroken, Summary
from proxy.model.collect import CUT_SHORT, json_object, raw_arguments
from proxy.model.content import Block, TextBlock, ThinkingBlock, ToolUseBlock
from proxy.model.message import Message, Usage


class _Choice(msgspec.Struct):
    message: Said
    finish_reason: str | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    id: str | None = None
    model: str | None = None
    usage: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Ended(msgspec.Struct):
    finish_reason: str | None = None


class _Passing(msgspec.Struct):
    choices: list[_Ended]
    usage: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_completion_decoder = msgspec.json.Decoder(_Completion)
_passing_decoder = msgspec.json.Decoder(_Passing)


def decode_message(body: bytes) -> Message:
    """The message in the first choice of a whole answer. Raises MessageBroken where there is none."""
    try:
        completion = _completion_decoder.decode(body)
    except (ValueError, RecursionError):
        raise MessageBroken("the answer is no chat completion") from None
    if not completion.choices:
        raise MessageBroken("the answer has no choice")
    choice = completion.choices[0]
    said, completion_id = choice.message, completion.id or ""
    stop = stop_of(choice.finish_reason or "", refusal=said.refusal or "", calls=bool(said.calls))
    return Message(
        id=message_id(completion_id),
        model=completion.model or "",
        content=_blocks(said, completion_id, may_be_cut=stop.stop_reason in CUT_SHORT),
        stop_reason=stop.stop_reason,
        stop_details=stop.stop_details,
        usage=read_usage(completion.usage) or Usage(),
    )


def _blocks(said: Said, completion_id: str, *, may_be_cut: bool) -> list[Block]:
    blocks: list[Block] = []
    if said.thinking:
        blocks.append(ThinkingBlock(said.thinking, OWN_SIGNATURE))
    if said.content:
        blocks.append(TextBlock(said.content))
    for number, call in enumerate(said.calls):
        if call.function is None or not call.function.name:
            raise MessageBroken("a tool call has no name")
        text = call.function.arguments or ""
        arguments = json_object(text)
        if arguments is None and text.strip() and may_be_cut:
            continue
        blocks.append(
            ToolUseBlock(
                call_id(call.id, completion_id, number), call.function.name, arguments or raw_arguments(text)
            )
        )
    return blocks


def summarize(body: bytes) -> Summary:
    """What is kept of a whole answer that passes unchanged. Raises MessageBroken for a body that is none."""
    try:
        passing = _passing_decoder.decode(body)
    except (ValueError, RecursionError):
        raise MessageBroken("the answer is no chat completion") from None
    if not passing.choices:
        raise MessageBroken("the answer has no choice")
    return Summary(read_usage(passing.usage), stop_of(passing.choices[0].finish_reason or "").stop_reason)
