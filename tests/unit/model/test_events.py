"""Events read and written by the codec alone."""

import msgspec
import pytest

from proxy.model.content import TextBlock
from proxy.model.events import (
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    ErrorBody,
    ErrorEvent,
    Event,
    InputJsonDelta,
    MessageDelta,
    MessageStop,
    Ping,
    Stop,
    TextDelta,
)
from proxy.model.message import Usage

_CASES: list[tuple[bytes, Event]] = [
    (b'{"type":"ping"}', Ping()),
    (b'{"type":"message_stop"}', MessageStop()),
    (b'{"type":"content_block_stop","index":3}', ContentBlockStop(3)),
    (
        b'{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}',
        ContentBlockStart(0, TextBlock("")),
    ),
    (
        b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}',
        ContentBlockDelta(0, TextDelta("a")),
    ),
    (
        b'{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{"}}',
        ContentBlockDelta(1, InputJsonDelta("{")),
    ),
    (
        b'{"type":"message_delta","delta":{"stop_reason":"a","stop_sequence":null,"stop_details":null},"usage":{}}',
        MessageDelta(Stop("a"), Usage()),
    ),
    (
        b'{"type":"error","error":{"type":"api_error","message":"m"}}',
        ErrorEvent(ErrorBody("api_error", "m")),
    ),
]


@pytest.mark.parametrize(("raw", "event"), _CASES)
def test_events_go_both_ways(raw: bytes, event: Event) -> None:
    """One case list, read and written."""
    assert msgspec.json.decode(raw, type=Event) == event
    assert msgspec.json.encode(event) == raw
