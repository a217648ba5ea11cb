"""A streamed answer in which the model calls a tool, for the simulated Claude to replay."""

from collections.abc import Mapping
from typing import Final

import msgspec

from proxy.dialects.sse import encode_frame

CALL_ID: Final = "toolu_01heron"


def calling(model: str, tool: str, arguments: Mapping[str, object], call_id: str = CALL_ID) -> bytes:
    """The events of the answer, which calls the tool once."""
    call = {"type": "tool_use", "id": call_id, "name": tool, "input": {}}
    partial = {"type": "input_json_delta", "partial_json": msgspec.json.encode(arguments).decode()}
    message: dict[str, object] = {
        "id": f"msg_{call_id}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 9, "output_tokens": 1},
    }
    ended = {"stop_reason": "tool_use", "stop_sequence": None}
    events: list[dict[str, object]] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": call},
        {"type": "content_block_delta", "index": 0, "delta": partial},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": ended, "usage": {"output_tokens": 9}},
        {"type": "message_stop"},
    ]
    return b"".join(encode_frame(msgspec.json.encode(event), str(event["type"])) for event in events)
