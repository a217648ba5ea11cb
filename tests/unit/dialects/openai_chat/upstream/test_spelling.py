"""A whole answer of another API told as the stream that was asked for."""

import msgspec
import pytest

from proxy.dialects.openai_chat.upstream.answer import decode_message
from proxy.dialects.openai_chat.upstream.spelling import spelled
from proxy.dialects.openai_chat.upstream.stream import ChatStreamDecoder
from proxy.dialects.openai_chat.upstream.tap import ChatStreamTap
from proxy.dialects.upstream import MessageBroken
from proxy.model.collect import Collector
from tests.unit.dialects.openai_chat.upstream.test_answer import called, completion

_ANSWERS = {
    "text": completion(content="Hi"),
    "thinking": completion(content="Hi", reasoning_content="Hm"),
    "refusal": completion(refusal="I will not."),
    "calls": completion(
        "tool_calls",
        content=None,
        tool_calls=[
            called(name="f", arguments='{"a": 1}'),
            {**called(name="g", arguments="{}"), "id": "call_2"},
        ],
    ),
}


@pytest.mark.parametrize("body", _ANSWERS.values(), ids=_ANSWERS.keys())
def test_the_stream_holds_what_the_answer_held(body: bytes) -> None:
    """Protects clients that stream from an upstream that does not, in the canonical form."""
    decoder, collector = ChatStreamDecoder(100_000), Collector()
    for event in [*decoder.feed(spelled(body)), *decoder.end()]:
        collector.add(event)
    assert collector.message() == decode_message(body)
    assert decoder.observed.complete


def test_it_passes_whole_to_clients_of_the_same_dialect() -> None:
    """Protects fields nobody here knows, and the usage of who did not ask for it."""
    body = msgspec.json.encode(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "novelty": 1,
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"},
                {"index": 1, "message": {"role": "assistant", "content": "Ho"}, "finish_reason": "length"},
            ],
            "usage": {"prompt_tokens": 1},
        }
    )
    tap = ChatStreamTap(100_000, hides_usage=True)
    shown = tap.feed(spelled(body))
    assert tap.observed.complete
    frames = [frame.removeprefix("data: ") for frame in shown.decode().split("\n\n") if frame]
    assert frames.pop() == "[DONE]"
    chunks = [msgspec.json.decode(frame) for frame in frames]
    assert [chunk["choices"][0]["delta"]["content"] for chunk in chunks] == ["Hi", "Ho"]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == ["stop", "length"]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert {chunk["novelty"] for chunk in chunks} == {1}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"<html>",
        b'{"choices": []}',
        b'{"choices": 1}',
        b'{"choices": [{}]}',
        b'{"choices": [{"message": {"tool_calls": 1}}]}',
    ],
)
def test_what_is_no_answer_is_told_as_none(body: bytes) -> None:
    """Protects clients from an empty stream that looks like an answer."""
    with pytest.raises(MessageBroken):
        spelled(body)
