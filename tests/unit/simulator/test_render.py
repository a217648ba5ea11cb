"""Answers as bytes, as the API reference shows them."""

import msgspec
import pytest

from proxy.simulator import render
from proxy.simulator.messages import Answer, Call, Part, Text, Thought
from proxy.simulator.prefix import Caching
from tests.unit.simulator.client import event_data, event_names


def _answer(*parts: Part, stop_reason: str = "end_turn") -> Answer:
    return Answer(
        id="msg_01",
        model="claude-opus-5-5",
        parts=list(parts),
        stop_reason=stop_reason,
        prompt_tokens=100,
        output_tokens=9,
        caching=Caching(20, 30, 40),
    )


_PARTS: list[Part] = [
    Thought(["Hm, ", "yes."], 2, "sim.x"),
    Text(['"a" ', "é\n"]),
    Call("toolu_1", "look", b'{"where":"there"}'),
]


def test_a_stream_is_byte_for_byte_as_documented() -> None:
    """One line of data an event, compact JSON, the keys in the order of the API's own answers."""
    assert render.burst(_answer(Text(["Hi"]))).decode() == (
        'event: message_start\ndata: {"type":"message_start","message":{"model":"claude-opus-5-5","id":"msg_01",'
        '"type":"message","role":"assistant","content":[],"stop_reason":null,"stop_sequence":null,'
        '"stop_details":null,"usage":{"input_tokens":10,"cache_creation_input_tokens":70,'
        '"cache_read_input_tokens":20,"cache_creation":{"ephemeral_5m_input_tokens":30,'
        '"ephemeral_1h_input_tokens":40},"output_tokens":1,"service_tier":"standard","inference_geo":"global"}}}\n\n'
        'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
        '"content_block":{"type":"text","text":""}}\n\n'
        'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
        '"delta":{"type":"text_delta","text":"Hi"}}\n\n'
        'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
        'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null,'
        '"stop_details":null},"usage":{"input_tokens":10,"cache_creation_input_tokens":70,'
        '"cache_read_input_tokens":20,"output_tokens":9,"output_tokens_details":{"thinking_tokens":0}}}\n\n'
        'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    )


@pytest.mark.parametrize("parts", [[], _PARTS, [Text(["a "] * 3000)]])
def test_a_burst_is_its_events_joined(parts: list[Part]) -> None:
    """The fast way and the slow way must not differ."""
    assert render.burst(_answer(*parts)) == b"".join(render.events(_answer(*parts)))


def test_the_deltas_of_a_stream_add_up_to_the_message() -> None:
    """Unary and streamed answers say the same."""
    whole = msgspec.json.decode(render.message(_answer(*_PARTS)))
    blocks: list[dict[str, str]] = []
    for data in event_data(render.burst(_answer(*_PARTS))):
        if data["type"] == "content_block_start":
            blocks.append({})
            assert data["index"] == len(blocks) - 1
        if data["type"] == "content_block_delta":
            delta = msgspec.convert(data["delta"], dict[str, str])
            for name, value in delta.items():
                blocks[-1][name] = blocks[-1].get(name, "") + value if name != "type" else value
    thought, text, call = whole["content"]
    assert (thought["thinking"], thought["signature"]) == (blocks[0]["thinking"], blocks[0]["signature"])
    assert text["text"] == blocks[1]["text"]
    assert call["input"] == msgspec.json.decode(blocks[2]["partial_json"])
    assert whole["usage"]["output_tokens_details"] == {"thinking_tokens": 2}
    assert list(whole) == (
        [
            "id",
            "type",
            "role",
            "model",
            "content",
            "stop_reason",
            "stop_sequence",
            "stop_details",
            "container",
            "usage",
        ]
    )


def test_hidden_thinking_has_a_signature_only() -> None:
    """Start, one signature delta, stop."""
    names = event_names(render.burst(_answer(Thought([], 5, "sim.x"))))
    assert names == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_an_error_has_details_only_when_there_are_some() -> None:
    """The envelope of bodies and of ``error`` events."""
    plain = render.error_body("api_error", "Oh", request_id="req_1")
    assert plain == b'{"type":"error","error":{"type":"api_error","message":"Oh"},"request_id":"req_1"}'
    detailed = render.error_body("api_error", "Oh", request_id="req_1", details={"error_code": "c"})
    assert msgspec.json.decode(detailed)["error"]["details"] == {"error_code": "c"}


def test_extra_fields_go_into_events_of_their_type() -> None:
    """Objects are merged, other values replaced."""
    frame = b'event: a\ndata: {"type":"a","x":{"y":1}}\n\n'
    assert render.with_fields(frame, {"a": {"x": {"z": 2}, "n": 3}}) == (
        b'event: a\ndata: {"type":"a","x":{"y":1,"z":2},"n":3}\n\n'
    )
    assert render.with_fields(frame, {"b": {"n": 3}}) == frame
