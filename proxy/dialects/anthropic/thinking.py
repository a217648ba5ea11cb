"""Thinking blocks that the next reader of a history would refuse, taken out of a Messages request.

A provider knows only the signatures it made. Ours, on other providers' reasoning, mean nothing to Anthropic, and
Anthropic's mean nothing to others. Source: "Extended thinking" in Anthropic's documentation: a block with a signature
it did not make is refused, and while thinking has a budget a turn that calls tools has to begin with thinking.
"""

from collections.abc import Sequence

import msgspec

from proxy.dialects.common import Dropped
from proxy.dialects.decoding import decode_json
from proxy.dialects.splicing import splice
from proxy.model.content import GATEWAY_SIGNATURE_PREFIX

_OURS = f'"{GATEWAY_SIGNATURE_PREFIX}'.encode()


class _Request(msgspec.Struct):
    messages: list[msgspec.Raw]
    thinking: msgspec.Raw = msgspec.Raw()


class _Turn(msgspec.Struct):
    role: str
    content: msgspec.Raw


class _Block(msgspec.Struct, gc=False):
    type: str = ""
    signature: str = ""


class _Thinking(msgspec.Struct, gc=False):
    type: str = ""


_blocks_decoder = msgspec.json.Decoder(list[msgspec.Raw])
_block_decoder = msgspec.json.Decoder(_Block)
_turn_decoder = msgspec.json.Decoder(_Turn)
_encoder = msgspec.json.Encoder()


def holds_our_signatures(body: bytes) -> bool:
    """Whether a body may hold a signature of ours: a quick look, to be followed by a thorough one."""
    return _OURS in body


def without_foreign_thinking(body: bytes, *, for_anthropic: bool) -> tuple[bytes, tuple[Dropped, ...]]:
    """A Messages request without the thinking its reader did not make, and what was lost.

    Only the assistant's messages that hold such blocks are written anew; every other value keeps its bytes, and a
    body without any is returned as it is. A message of nothing else is left out. Raises InvalidRequest for a body that
    is no request.
    """
    request = decode_json(_Request, body)
    messages: list[msgspec.Raw] = []
    dropped: list[Dropped] = []
    bare = False
    for number, raw in enumerate(request.messages):
        turn = _assistant_turn(raw)
        kept = None if turn is None else _kept(turn.content, for_anthropic=for_anthropic)
        bare = bare if turn is None else kept is not None and _calls_unthinking(kept)
        if kept is None:
            messages.append(raw)
            continue
        dropped.append(Dropped(f"messages[{number}].content", "another provider's thinking"))
        if kept:
            content = msgspec.Raw(_encoder.encode(kept))
            messages.append(
                msgspec.Raw(_encoder.encode(decode_json(dict[str, msgspec.Raw], raw) | {"content": content}))
            )
    if not dropped:
        return body, ()
    remove: tuple[str, ...] = ()
    if bare and _has_budget(request.thinking):
        dropped.append(Dropped("thinking", "no thinking in a tool turn that did not begin with it"))
        remove = ("thinking",)
    return splice(body, set={"messages": _encoder.encode(messages)}, remove=remove), tuple(dropped)


def _assistant_turn(raw: msgspec.Raw) -> _Turn | None:
    try:
        turn = _turn_decoder.decode(raw)
    except (ValueError, RecursionError):
        return None
    return turn if turn.role == "assistant" else None


def _kept(content: msgspec.Raw, *, for_anthropic: bool) -> list[msgspec.Raw] | None:
    """The blocks of a content that may stay; None where all of them may, or where it is not made of blocks."""
    try:
        blocks = _blocks_decoder.decode(content)
        kept = [block for block in blocks if not _foreign(block, for_anthropic=for_anthropic)]
    except (ValueError, RecursionError):
        return None
    return kept if len(kept) < len(blocks) else None


def _foreign(raw: msgspec.Raw, *, for_anthropic: bool) -> bool:
    block = _block_decoder.decode(raw)
    if block.type == "thinking":
        return block.signature.startswith(GATEWAY_SIGNATURE_PREFIX) is for_anthropic
    return block.type == "redacted_thinking" and not for_anthropic


def _calls_unthinking(blocks: Sequence[msgspec.Raw]) -> bool:
    """Whether a turn calls tools and does not begin with thinking."""
    types = [_block_decoder.decode(block).type for block in blocks]
    return "tool_use" in types and types[0] not in {"thinking", "redacted_thinking"}


def _has_budget(thinking: msgspec.Raw) -> bool:
    return bool(bytes(thinking)) and decode_json(_Thinking, thinking, at="thinking").type == "enabled"
