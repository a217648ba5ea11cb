"""Calls, requests and answers of the Responses API, for the tests of its rooms."""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from proxy.dialects.anthropic import StreamDecoder, encode_request
from proxy.dialects.common import Rendering, Target, Thought, Translated
from proxy.dialects.openai_responses import Call, ResponsesDialect, Seal
from proxy.dialects.sse import SseDecoder
from proxy.model.catalog import Catalog
from proxy.model.events import Event
from tests.conformance.dialects.slicing import stream

CATALOG: Final = Catalog.load()
CAP_BYTES: Final = 1 << 20
MODEL: Final = "claude-opus-5-5"
NUMBER: Final = "0" * 32
SEAL: Final = Seal(b"s" * 32)
RENDERING: Final = Rendering(request_id="req_1", created_s=1795210000, model=MODEL)


def call(
    *,
    stored_items: int = 0,
    conversation: str = "",
    lenient: bool = False,
    keep: Callable[[bytes], None] | None = None,
) -> Call:
    """A call at a fixed time."""
    return Call(
        response_id=f"resp_{NUMBER}",
        seal=SEAL,
        unix_s=lambda: 1795210003,
        stored_items=stored_items,
        conversation=conversation,
        lenient=lenient,
        keep=keep,
    )


def target(
    model: str = MODEL,
    *,
    stream: bool = False,
    recall: Callable[[str], Sequence[Thought]] = lambda _: (),
    thinking_back: bool = True,
) -> Target:
    """What a request is translated for."""
    return Target(
        facts=CATALOG.facts(model), model=model, stream=stream, recall=recall, thinking_back=thinking_back
    )


def translated(
    model: str = MODEL, by: Call | None = None, towards: Target | None = None, /, **fields: object
) -> Translated:
    """A request of these fields, that says hi unless they say otherwise, in the canonical form."""
    body = msgspec.json.encode({"input": "hi", **fields})
    return ResponsesDialect(by or call()).decode_request(body, towards or target(model))


def sent(
    model: str = MODEL, by: Call | None = None, towards: Target | None = None, /, **fields: object
) -> dict[str, object]:
    """The same as it goes upstream."""
    request = translated(model, by, towards, **fields).request
    return msgspec.json.decode(encode_request(request), type=dict[str, object])


def dropped(by: Call | None = None, /, **fields: object) -> list[str]:
    """What is told to be lost of such a request."""
    return sorted(loss.field for loss in translated(MODEL, by, **fields).dropped)


def asked(by: Call | None = None, /, **fields: object) -> ResponsesDialect:
    """A dialect that has read such a request."""
    dialect = ResponsesDialect(by or call())
    dialect.decode_request(msgspec.json.encode({"input": "hi", **fields}), target())
    return dialect


def recorded(name: str) -> list[Event]:
    """The events of a recorded stream."""
    return StreamDecoder(CAP_BYTES).feed(stream(name))


def told(out: bytes) -> list[dict[str, object]]:
    """The events on the wire, each of which is named as it calls itself."""
    found = []
    for frame in SseDecoder(CAP_BYTES).feed(out):
        event = msgspec.json.decode(frame.data, type=dict[str, object])
        assert event["type"] == frame.event
        found.append(event)
    return found
