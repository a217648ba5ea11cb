"""What an answer loses on its way into the client's dialect is told with what the question lost."""

import msgspec
import pytest

from proxy.dialects.openai_chat.text import OpenAITextDialect
from proxy.dispatch.attempt import StreamOpened
from proxy.dispatch.trace import Trace
from proxy.exchange import Exchange
from proxy.pool import Success
from tests.unit.dispatch.asking import ask
from tests.unit.dispatch.building import (
    CHAT,
    CLOSE,
    DELTA,
    MESSAGE,
    OPEN,
    START,
    STOP,
    bench,
    body,
    exchange,
    frame,
    streamed,
    whole,
)

_QUOTE = {"type": "char_location", "cited_text": "x", "document_index": 0, "document_title": "D"}
_TEXT = OpenAITextDialect()


def _cited(quotes: int = 1) -> bytes:
    fields = msgspec.json.decode(MESSAGE, type=dict[str, object])
    content = [{"type": "text", "text": "Hello", "citations": [_QUOTE]} for _ in range(quotes)]
    return msgspec.json.encode(fields | {"content": content})


def _chat(*, stream: bool = False) -> Exchange:
    return exchange(body(stream=stream, seed=5), dialect=CHAT)


async def _lost(call: Exchange, answer: bytes) -> list[str]:
    house, trace = bench(whole(answer)), Trace()
    house.dispatcher.end(await ask(house, call, trace=trace), Success())
    return [loss.field for loss in trace.dropped]


async def test_a_whole_answers_losses_stand_beside_the_questions() -> None:
    """Protects clients from a footnote that is silently gone; many of one kind are one."""
    assert await _lost(_chat(), _cited(3)) == ["seed", "content[].citations"]
    assert await _lost(_chat(), MESSAGE) == ["seed"]


async def test_a_text_completion_tells_them_too() -> None:
    """Protects the clients of the oldest dialect, which has no room for any citation."""
    raw = b'{"prompt":"Hi","seed":5}'
    assert await _lost(exchange(raw, dialect=_TEXT), _cited()) == ["seed", "content[].citations"]
    assert await _lost(exchange(raw, dialect=_TEXT), MESSAGE) == ["seed"]


async def test_a_messages_client_reads_them_and_loses_nothing() -> None:
    """Protects the path on which all citations are carried."""
    assert await _lost(exchange(), _cited()) == []


@pytest.mark.parametrize("cited", [True, False])
async def test_a_streams_losses_are_known_at_its_end(cited: bool) -> None:
    """Protects the request's line in the log, the one place left once the headers have gone."""
    quote = frame("content_block_delta", index=0, delta={"type": "citations_delta", "citation": _QUOTE})
    for call in (_chat(stream=True), exchange(b'{"prompt":"Hi","seed":5,"stream":true}', dialect=_TEXT)):
        house, trace = bench(streamed(START, OPEN, *[quote, quote][: 2 * cited], CLOSE, DELTA, STOP)), Trace()
        opened = await ask(house, call, trace=trace)
        assert isinstance(opened, StreamOpened)
        while await opened.stream.frames(1.0) is not None:
            pass
        house.dispatcher.end(opened, Success())
        assert [loss.field for loss in trace.dropped] == ["seed", *["content[].citations"][: int(cited)]]
