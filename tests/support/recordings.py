"""Whole upstream streams to slice and to cut: the written ones, and some that the simulated Claude speaks."""

from pathlib import Path
from typing import Final

import msgspec

from proxy.simulator.api import Api, Request
from proxy.simulator.limits import AnswerHeaders
from proxy.simulator.script import Step
from tests.support.clock import FakeClock

_FOLDER: Final = Path(__file__).parents[1] / "fixtures" / "streams"
_LONG_UNICODE: Final = "Größe 日本語 👩‍👩‍👧‍👦🇪🇺 é\u0301 \u2028 “quoted” \\u0041 \x7f \U0001d4b3 " * 4
_WEATHER: Final = {
    "name": "weather",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "when": {"format": "date"}},
    },
}
_TIME: Final = {
    "name": "time",
    "input_schema": {"type": "object", "properties": {"zone": {"type": "string"}}},
}


def spoken(step: Step | None = None, text: str = "Hello!", **fields: object) -> bytes:
    """What the simulated Claude answers, as the bytes of a stream; `fields` are the request's."""
    clock = FakeClock()
    api = Api(AnswerHeaders(clock), clock, prefix="", seed=0, strict_thinking=False)
    body = {
        "model": "claude-opus-5",
        "max_tokens": 2000,
        "stream": True,
        "messages": [{"role": "user", "content": text}],
        **fields,
    }
    request = Request(
        "POST",
        "/v1/messages",
        "",
        {"anthropic-version": "2023-06-01"},
        msgspec.json.encode(body),
        "k",
        "req_sim_1",
    )
    reply = api.reply(request, events=None, step=step, whole=step is None)
    if not reply.streamed:
        raise ValueError(b"".join(reply.frames).decode())
    return b"".join(reply.frames)


LONG_UNICODE: Final = spoken(Step(text=_LONG_UNICODE))
THINKING_AND_TOOLS: Final = spoken(
    text="weather and time in parallel",
    thinking={"type": "adaptive", "display": "summarized"},
    tools=[_WEATHER, _TIME],
)
_WRITTEN: Final = {path.stem: path.read_bytes() for path in sorted(_FOLDER.glob("*.sse"))}
RECORDINGS: Final = {
    **_WRITTEN,
    "data_in_several_lines": _WRITTEN["parallel_tools"].replace(b',"', b',\ndata: "'),
    "thinking_with_crlf": _WRITTEN["thinking_summarized"].replace(b"\n", b"\r\n"),
    "tools_with_cr": _WRITTEN["parallel_tools"].replace(b"\n", b"\r"),
    "text_behind_a_byte_order_mark": b"\xef\xbb\xbf" + _WRITTEN["text"],
    "text_between_comments": _WRITTEN["text"].replace(b"\n\n", b"\n\n: comment\n\n"),
    "sim_text": spoken(),
    "sim_one_tool": spoken(text="weather", tools=[_WEATHER]),
    "sim_pause_turn": spoken(Step(stop_reason="pause_turn")),
    "sim_long_unicode": LONG_UNICODE,
    "sim_thinking_and_tools": THINKING_AND_TOOLS,
    "sim_max_tokens": spoken(max_tokens=3),
    "sim_stop_sequence": spoken(text="one two three", stop_sequences=["two"]),
    "sim_structured": spoken(
        output_config={
            "format": {
                "type": "json_schema",
                "schema": {
                    "type": "object",
                    "properties": {"a": {"type": "array"}},
                    "additionalProperties": False,
                },
            }
        }
    ),
    "sim_refusal": spoken(Step(stop_reason="refusal")),
}
"""Whole streams by name."""
