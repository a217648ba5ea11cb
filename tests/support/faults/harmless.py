"""What only looks as if something went wrong."""

from dataclasses import dataclass
from typing import Final

from proxy.simulator import Insert, Step
from proxy.simulator.faults.fault import CANARY
from tests.support.recordings import spoken

_BARE: Final = (
    '{"type": "message", "role": "assistant", "content": [{"type": "text", "text": "You said"}],'
    ' "stop_reason": "end_turn"}'
)
_BARE_STREAM: Final = (
    'event: message_start\ndata: {"type": "message_start", "message": {"type": "message", "content": []}}\n\n'
    'event: message_delta\ndata: {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}\n\n'
    'event: message_stop\ndata: {"type":"message_stop"}\n\n'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Harmless:
    """What is no failure.

    Attributes:
        step: what the upstream does.
        forms: streamed or not, or both.
        says: what the client's answer has to hold, where that is odd.
    """

    step: Step
    forms: tuple[bool, ...] = (False, True)
    says: str = ""


def _insert(text: str, *, at: int = 3) -> Harmless:
    return Harmless(step=Step(insert=(Insert(at, text),)), forms=(True,))


HARMLESS: Final = {
    "a delay": Harmless(step=Step("delay", seconds=0.05)),
    "slow bytes": Harmless(step=Step("slow_bytes", bytes_per_s=40_000)),
    "one byte at a time": Harmless(step=Step("one_byte_chunks")),
    "pieces of seven bytes": Harmless(step=Step("slice", sizes=(7,))),
    "no chunks, the connection's end ends the body": Harmless(step=Step(close_delimited=True)),
    "103 before the answer": Harmless(step=Step("early_hints", next=Step())),
    "trailers behind the body": Harmless(step=Step("trailers"), forms=(True,)),
    "a byte order mark": _insert("\ufeff", at=0),
    "comments": _insert(": comment\n\n"),
    "ten thousand empty events": _insert("\n" * 20_000),
    "lines that are none of ours (retry, id)": _insert("retry: 5\nid: 7\n\n"),
    "an unknown event": _insert('event: news\ndata: {"type": "news"}\n\n'),
    "unknown fields": Harmless(
        step=Step(
            fields={name: {"news": [1]} for name in ("message_start", "content_block_delta", "message")}
        )
    ),
    "bytes that are no UTF-8": Harmless(
        step=Step(stream_body=spoken().replace(b"Hello", b"Hel\xfflo")), forms=(True,), says="Hel"
    ),
    "a thousand events": Harmless(step=Step(text="word " * 1000), says="word"),
    "an unknown stop reason": Harmless(step=Step(stop_reason="tired")),
    "a refusal": Harmless(step=Step(stop_reason="refusal")),
    "an answer without usage and model": Harmless(
        step=Step("raw", headers={"content-type": "application/json"}, body=_BARE), forms=(False,)
    ),
    "a whole answer where a stream was asked for": Harmless(
        step=Step("raw", headers={"content-type": "application/json; charset=utf-8"}, body=_BARE),
        forms=(True,),
        says="You said",
    ),
    "a stream without usage and model": Harmless(
        step=Step("raw", headers={"content-type": "text/event-stream"}, body=_BARE_STREAM), forms=(True,)
    ),
    "a cookie": Harmless(step=Step(headers={"set-cookie": f"session={CANARY}"})),
    "retry-after on a good answer": Harmless(step=Step(headers={"retry-after": "60"})),
}
"""Each by name."""
