"""The site's stream: cut anywhere, with its own tools, ended early, broken, and with news in it."""

from collections.abc import Sequence
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.claude_web import WebStreamDecoder
from proxy.dialects.common import StreamBroken, StreamError
from proxy.model.collect import Collector
from proxy.model.content import TextBlock, ThinkingBlock
from proxy.model.events import Event, MessageDelta, MessageStop, Ping
from proxy.model.grammar import StreamGrammar
from proxy.model.message import Message, Usage
from proxy.simulator.web_render import WebAnswer, WebPart, WebText, WebThought, WebTool, frames

_CAP_BYTES = 100_000
_SEARCH = WebTool("t1", "web_search", {"query": "q"}, "a page")
_ARTIFACT = WebTool("t2", "artifacts", {"id": "a", "content": "print(1)\n", "language": "python"}, "OK")
_THOUGHT = WebThought(["Let ", "me ", "see."], "Thought.")


def _stream(*parts: WebPart, limit: str = "within_limit", stop_reason: str = "end_turn") -> bytes:
    answer = WebAnswer(
        id="chatcompl_1",
        model="claude-sonnet-4-6",
        uuid="a",
        parent="h",
        parts=list(parts),
        stop_reason=stop_reason,
        limit=limit,
        resets_at_s=1_773_039_600,
        now_ms=1_773_000_000_000,
    )
    return b"".join(frames(answer))


def _decoder(*, stops: Sequence[str] = (), max_tokens: int | None = None) -> WebStreamDecoder:
    return WebStreamDecoder(_CAP_BYTES, input_tokens=7, stop_sequences=stops, max_tokens=max_tokens)


def _read(decoder: WebStreamDecoder, *chunks: bytes) -> tuple[Message, list[Event]]:
    """The answer, whose events keep the grammar."""
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    grammar, collector = StreamGrammar(), Collector()
    for event in events:
        grammar.accept(event)
        collector.add(event)
    return collector.message(), events


def _texts(message: Message) -> list[str]:
    return [block.text for block in message.content if isinstance(block, TextBlock)]


def _event(kind: str, **fields: object) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode({"type": kind, **fields}))


_START = _event("message_start", message={"id": "c"})


def test_an_answer_is_told_whole_with_its_usage_guessed_and_marked() -> None:
    """Protects clients: thinking, text, stop reason, and numbers that say they are a guess."""
    decoder = _decoder()
    message, _ = _read(decoder, _stream(_THOUGHT, WebText(["Hello ", "wörld"])))
    assert message.content == [ThinkingBlock("Let me see."), TextBlock("Hello wörld")]
    usage = Usage(input_tokens=7, output_tokens=6, estimated=True)
    assert (message.stop_reason, message.usage, message.model) == ("end_turn", usage, "claude-sonnet-4-6")
    observed = decoder.observed
    assert (observed.complete, observed.usage, observed.model) == (True, usage, "claude-sonnet-4-6")


@given(st.lists(st.integers(0, 8000), max_size=12), st.booleans())
def test_bytes_may_be_cut_anywhere(cuts: list[int], stopped: bool) -> None:
    """Protects against packets that end inside an event, a line or a character."""
    stream = _stream(_THOUGHT, WebText(["aé", "😀 ST", "OP b"]), _SEARCH, _ARTIFACT, limit="exceeded_limit")
    stops = ("STOP",) if stopped else ()
    whole = _decoder(stops=stops)
    expected = _read(whole, stream)
    places = sorted({cut % (len(stream) + 1) for cut in cuts} | {0, len(stream)})
    decoder = _decoder(stops=stops)
    found = _read(decoder, *(stream[a:b] for a, b in pairwise(places)))
    assert found == expected
    assert decoder.observed.stop_reason == whole.observed.stop_reason
    assert decoder.limit == whole.limit


def test_every_single_byte_may_come_alone() -> None:
    """Protects the same at its extreme."""
    stream = _stream(WebText(["aé", "😀"]), _ARTIFACT)
    assert _read(_decoder(), *(bytes((byte,)) for byte in stream)) == _read(_decoder(), stream)


def test_the_sites_tools_are_left_out_but_artifacts_are_shown_as_code() -> None:
    """Protects clients that know nothing of the site's tools; blocks are numbered without gaps."""
    message, _ = _read(_decoder(), _stream(WebText(["a"]), _SEARCH, _ARTIFACT, WebText(["b"])))
    assert _texts(message) == ["a", "\n\n```python\nprint(1)\n```\n", "b"]


def test_an_artifact_without_content_is_nothing() -> None:
    """Protects against empty blocks."""
    empty = WebTool("t", "artifacts", {"id": "a", "command": "view"}, "OK")
    assert _texts(_read(_decoder(), _stream(empty, WebText(["b"])))[0]) == ["b"]


def test_a_turn_that_ends_in_a_tool_of_the_sites_has_ended() -> None:
    """Protects clients from waiting for a call they never get."""
    assert _read(_decoder(), _stream(WebText(["a"]), stop_reason="tool_use"))[0].stop_reason == "end_turn"
    assert _read(_decoder(), _stream(WebText(["a"]), stop_reason="refusal"))[0].stop_reason == "refusal"


@pytest.mark.parametrize(
    ("parts", "stops", "max_tokens", "texts", "reason", "sequence"),
    [
        ([WebText(["ab S", "TOP cd"])], ("STOP",), None, ["ab "], "stop_sequence", "STOP"),
        ([WebText(["ab S", "TO"])], ("STOP",), None, ["ab STO"], "end_turn", None),
        ([WebText(["abcd", "ef"])], (), 1, ["abcd"], "max_tokens", None),
        ([WebText(["abcd"]), WebText(["ef"])], (), 1, ["abcd", ""], "max_tokens", None),
        ([_ARTIFACT], (), 2, ["\n\n```pyt"], "max_tokens", None),
        ([_ARTIFACT, WebText(["x"])], ("print",), None, ["\n\n```python\n"], "stop_sequence", "print"),
        ([_THOUGHT, WebText(["a"])], ("me",), 1, ["a"], "end_turn", None),
    ],
)
def test_an_answer_is_cut_where_the_request_said(
    parts: list[WebPart],
    stops: tuple[str, ...],
    max_tokens: int | None,
    texts: list[str],
    reason: str,
    sequence: str | None,
) -> None:
    """Protects stop sequences and max_tokens, which the site does not know; a cut answer ends well."""
    decoder = _decoder(stops=stops, max_tokens=max_tokens)
    message, events = _read(decoder, _stream(*parts))
    assert (_texts(message), message.stop_reason, message.stop_sequence) == (texts, reason, sequence)
    assert isinstance(events[-1], MessageStop)
    assert decoder.observed.complete
    assert decoder.feed(_event("content_block_delta", index=0, delta={})) == []


@pytest.mark.parametrize("limit", ["within_limit", "approaching_limit", "exceeded_limit"])
def test_the_accounts_limit_is_read_beside_the_answer(limit: str) -> None:
    """Protects the pool's knowledge; the client is shown none of it, and it is read behind a cut as well."""
    for max_tokens in (None, 1):
        decoder = _decoder(max_tokens=max_tokens)
        _read(decoder, _stream(WebText(["long enough"]), limit=limit))
        assert decoder.limit is not None
        assert decoder.limit.type == limit
        assert (decoder.limit.until_unix_ms is not None) == (limit == "exceeded_limit")


@pytest.mark.parametrize("before", [b"", _START])
def test_an_error_event_ends_the_answer(before: bytes) -> None:
    """Protects failures that come as an event, first or later: what they say goes to the table of failures."""
    error = {"type": "overloaded_error", "message": "m", "details": {"error_code": "c"}}
    decoder = _decoder()
    decoder.feed(before)
    events = decoder.feed(_event("error", error=error) + _event("message_stop"))
    assert len(events) == 1
    assert decoder.observed.error == StreamError("overloaded_error", "m", "c")
    assert not decoder.observed.complete


def test_what_nobody_has_seen_before_is_passed_over() -> None:
    """Protects against the site's next version: events, blocks, deltas and fields."""
    novelty = (
        _event("conversation_ready", delta=5, message="x")
        + _event("content_block_start", index=0, content_block={"type": "hologram"})
        + _event("content_block_delta", index=0, delta={"type": "text_delta", "text": "no"})
        + _event("content_block_stop", index=0)
        + _event("content_block_start", index=5, content_block={"type": "text", "text": "a", "flags": []})
        + _event("content_block_delta", index=5, delta={"type": "citation_start_delta", "citation": {}})
        + _event("content_block_delta", index=5, delta={"type": "text_delta", "text": "b"})
        + _event("content_block_stop", index=5)
        + _event("message_limit", message_limit=[])
        + _event("ping")
    )
    end = _event("message_delta", delta={"stop_reason": None}) + _event("message_stop")
    decoder = _decoder()
    message, events = _read(decoder, _START + novelty + end)
    assert _texts(message) == ["ab"]
    assert any(isinstance(event, Ping) for event in events)
    assert decoder.observed.complete


def test_a_summary_stands_in_for_thinking_that_is_not_shown() -> None:
    """Protects readers of thinking from nothing, and from reading it twice."""
    block = _event("content_block_start", index=0, content_block={"type": "thinking"})
    texts = [
        _event("content_block_delta", index=0, delta={"type": "thinking_summary_delta", "summary": summary})
        for summary in ({"summary": "one"}, "two")
    ]
    end = _event("content_block_stop", index=0) + _event("message_delta", delta={}) + _event("message_stop")
    message, _ = _read(_decoder(), _START + block + b"".join(texts) + end)
    assert message.content == [ThinkingBlock("one\ntwo\n")]


@pytest.mark.parametrize(
    "broken",
    [
        b"data: {\n\n",
        b"data: [1]\n\n",
        b"data: {}\n\n",
        b"data: " + b"[" * 5000 + b"\n\n",
        _event("content_block_delta", index=0, delta={"type": "text_delta", "text": "x"}),
        _event("content_block_delta", delta={"type": "text_delta", "text": 5}),
        _event("content_block_stop", index=0),
        _event("message_stop"),
        _START,
        _event("content_block_start", index=0, content_block={"type": "text"}) * 2,
        _event("content_block_start", index=0, content_block={"type": "text"})
        + _event("message_delta", delta={"stop_reason": "end_turn"}),
        _event("content_block_start", index=0, content_block={"type": "tool_use", "name": "artifacts"})
        + _event(
            "content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": "x" * 60_000}
        )
        * 2,
        b"data: " + b"x" * (_CAP_BYTES + 10),
    ],
    ids=range(13),
)
def test_a_stream_that_cannot_be_read_is_no_answer(broken: bytes) -> None:
    """Protects clients from half an answer that looks whole; what came soundly before is still given."""
    decoder = _decoder()
    assert len(decoder.feed(_START)) == 1
    try:
        decoder.feed(broken)
    except StreamBroken:
        pass
    else:
        with pytest.raises(StreamBroken):
            decoder.feed(b"")
    assert not decoder.observed.complete


def test_a_stream_that_just_ends_is_not_complete() -> None:
    """Protects against a connection that breaks: only the last event says that an answer is whole."""
    decoder = _decoder()
    events = decoder.feed(_stream(WebText(["a"])).rpartition(b"event: message_stop")[0])
    assert isinstance(events[-1], MessageDelta)
    assert (decoder.observed.started, decoder.observed.complete) == (True, False)
