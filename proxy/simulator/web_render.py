"""An answer of the simulated claude.ai as the events of its stream: the Messages API's, with the site's extras."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final, TypeAlias, assert_never

import msgspec

from proxy.simulator.render import event

_encoder = msgspec.json.Encoder()
_INPUT_PIECES: Final = 3
_UTILIZATION: Final = {"within_limit": 0.16, "approaching_limit": 0.93, "exceeded_limit": 1.0}


class WebText(msgspec.Struct):
    """Text in the pieces it comes in."""

    pieces: list[str]


class WebThought(msgspec.Struct):
    """Thinking, shown as it comes and summed up at its end."""

    pieces: list[str]
    summary: str


class WebTool(msgspec.Struct):
    """A tool of the site's own, which runs there: its call and what it gave."""

    id: str
    name: str
    input: dict[str, object]
    result: str


WebPart: TypeAlias = WebText | WebThought | WebTool


class WebAnswer(msgspec.Struct, kw_only=True):
    """One answer.

    Attributes:
        id: ``chatcompl_`` and 24 characters.
        model: as shown.
        uuid: of the assistant's message.
        parent: of the human's.
        parts: the content, in order.
        stop_reason: why it ended.
        limit: ``within_limit``, ``approaching_limit`` or ``exceeded_limit``.
        resets_at_s: Unix seconds at which the shorter window ends.
        now_ms: Unix milliseconds, for time stamps.
    """

    id: str
    model: str
    uuid: str
    parent: str
    parts: list[WebPart]
    stop_reason: str
    limit: str
    resets_at_s: int
    now_ms: int


def frames(answer: WebAnswer) -> list[bytes]:
    """The events, one entry each. There is no usage anywhere."""
    stamp = datetime.fromtimestamp(answer.now_ms / 1000, UTC).isoformat()
    found = [_start(answer)]
    index = 0
    for part in answer.parts:
        for block, deltas in _blocks(part):
            found.append(_event("content_block_start", index=index, content_block=_opened(block, stamp)))
            found.extend(_event("content_block_delta", index=index, delta=delta) for delta in deltas)
            found.append(_event("content_block_stop", index=index, stop_timestamp=stamp))
            index += 1
    stop: dict[str, object] = {"stop_reason": answer.stop_reason, "stop_sequence": None}
    found.append(_event("message_delta", delta=stop))
    found.append(_event("message_limit", message_limit=_limit(answer)))
    found.append(_event("message_stop"))
    return found


def _event(kind: str, **fields: object) -> bytes:
    return event(kind, _encoder.encode({"type": kind, **fields}))


def _start(answer: WebAnswer) -> bytes:
    message: dict[str, object] = {
        "id": answer.id,
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "parent_uuid": answer.parent,
        "uuid": answer.uuid,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }
    return _event("message_start", message=message)


def _opened(block: dict[str, object], stamp: str) -> dict[str, object]:
    return {"start_timestamp": stamp, "stop_timestamp": None, **block}


def _blocks(part: WebPart) -> Iterator[tuple[dict[str, object], Iterable[dict[str, object]]]]:
    """The blocks a part takes, each as it opens and with its deltas."""
    match part:
        case WebText(pieces=pieces):
            yield (
                {"type": "text", "text": "", "citations": []},
                ({"type": "text_delta", "text": piece} for piece in pieces),
            )
        case WebThought():
            thinking: list[dict[str, object]] = [
                {"type": "thinking_delta", "thinking": piece} for piece in part.pieces
            ]
            summed: dict[str, object] = {
                "type": "thinking_summary_delta",
                "summary": {"summary": part.summary},
            }
            yield {"type": "thinking", "thinking": "", "summaries": [], "cut_off": False}, [*thinking, summed]
        case WebTool():
            text = _encoder.encode(part.input).decode()
            yield (
                {"type": "tool_use", "id": part.id, "name": part.name, "input": {}, "message": part.name},
                ({"type": "input_json_delta", "partial_json": piece} for piece in _pieces(text)),
            )
            yield (
                {"type": "tool_result", "tool_use_id": part.id, "name": part.name, "content": []},
                [{"type": "input_json_delta", "partial_json": _encoder.encode([part.result]).decode()}],
            )
        case _:
            assert_never(part)


def _pieces(text: str) -> list[str]:
    step = -(-len(text) // _INPUT_PIECES)
    return [text[start : start + step] for start in range(0, len(text), step)]


def _limit(answer: WebAnswer) -> dict[str, object]:
    within = answer.limit == "within_limit"
    windows = {
        "5h": {
            "status": answer.limit,
            "resets_at": answer.resets_at_s,
            "utilization": _UTILIZATION[answer.limit],
        },
        "7d": {"status": "within_limit", "resets_at": answer.resets_at_s + 6 * 86_400, "utilization": 0.16},
    }
    return {
        "type": answer.limit,
        "resetsAt": None if within else answer.resets_at_s,
        "remaining": 1 if answer.limit == "approaching_limit" else None,
        "windows": windows,
    }
