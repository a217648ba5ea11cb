"""Every row of the mapping between Chat Completions and Messages, both ways.

One table for requests by what a client sends and for which model, one for whole answers and their streams. What goes
up is judged by the simulated Claude, which refuses what the real API refuses.
"""

import msgspec
import pytest

from proxy.dialects.anthropic import encode_request
from proxy.dialects.common import Rendering, Target
from proxy.dialects.openai_chat import OpenAIChatDialect
from proxy.dialects.openai_chat.fields import FIELDS
from proxy.dialects.sse import SseDecoder
from proxy.errors import InvalidRequest
from proxy.model.catalog import Catalog
from proxy.model.message import Message, OutputTokensDetails, Usage
from proxy.model.spell import spelled
from proxy.simulator.validation import read_request
from proxy.simulator.wire import MessagesRequest
from tests.unit.dialects.openai_chat.answer_rows import ANSWER_ROWS, Told
from tests.unit.dialects.openai_chat.field_rows import FIELD_ROWS
from tests.unit.dialects.openai_chat.message_rows import MESSAGE_ROWS
from tests.unit.dialects.openai_chat.rows import HELLO, Row, said, text_block

_CATALOG = Catalog.load()
_CHAT = OpenAIChatDialect()
_HEADERS = {"anthropic-version": "2023-06-01"}
_REQUESTS = {**FIELD_ROWS, **MESSAGE_ROWS}


def _plain(model: str) -> dict[str, object]:
    return {"model": model, "max_tokens": 16_000, "messages": [said(text_block("hi"))]}


@pytest.mark.parametrize("row", _REQUESTS.values(), ids=_REQUESTS.keys())
def test_what_becomes_of_a_request(row: Row) -> None:
    """Each field: where it goes, what is lost, what is refused; and the upstream takes what comes out."""
    body = msgspec.json.encode({"messages": [HELLO], **row.sent})
    target = Target(facts=_CATALOG.facts(row.model), model=row.model)
    if row.refused is not None:
        with pytest.raises(InvalidRequest) as caught:
            _CHAT.decode_request(body, target)
        assert caught.value.param == row.refused
        return
    translated = _CHAT.decode_request(body, target)
    sent = encode_request(translated.request)
    assert msgspec.json.decode(sent) == {**_plain(row.model), **row.up}
    assert tuple(loss.field for loss in translated.dropped) == row.dropped
    assert translated.form == row.form
    read_request(sent, MessagesRequest, _HEADERS)


def test_every_field_has_a_row() -> None:
    """A verdict without a row is one nobody has looked at."""
    sent = {name for row in _REQUESTS.values() for name in row.sent}
    assert {name for name in FIELDS if "[" not in name and "." not in name} - {"model", "stream"} <= sent


_USAGE = Usage(
    input_tokens=10,
    output_tokens=7,
    cache_creation_input_tokens=20,
    cache_read_input_tokens=30,
    output_tokens_details=OutputTokensDetails(4),
    service_tier="standard",
)
_TOLD_USAGE = {
    "prompt_tokens": 60,
    "completion_tokens": 7,
    "total_tokens": 67,
    "prompt_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 20},
    "completion_tokens_details": {"reasoning_tokens": 4},
}


def _answer(row: Told) -> tuple[Message, Rendering]:
    message = Message(
        id="msg_01A",
        model="m",
        content=[*row.content],
        stop_reason=row.stop,
        stop_details=row.details,
        usage=_USAGE,
    )
    rendering = Rendering(
        request_id="req_1",
        created_s=5,
        model="m",
        thinking_format=row.shown,
        include_usage=True,
        form=row.form,
    )
    return message, rendering


@pytest.mark.parametrize("row", ANSWER_ROWS.values(), ids=ANSWER_ROWS.keys())
def test_what_becomes_of_a_whole_answer(row: Told) -> None:
    """Each block and each reason to stop."""
    found = msgspec.json.decode(_CHAT.encode_message(*_answer(row)))
    plain: dict[str, object] = {"role": "assistant", "content": "", "refusal": None}
    choice = {"index": 0, "logprobs": None, "finish_reason": row.finish, "message": {**plain, **row.message}}
    assert found == {
        "id": "chatcmpl-01A",
        "object": "chat.completion",
        "created": 5,
        "model": "m",
        "choices": [choice],
        "usage": _TOLD_USAGE,
        "service_tier": "default",
        "system_fingerprint": None,
    }


def _joined(chunks: list[dict[str, object]]) -> dict[str, object]:
    """The message a client puts together from a stream, as OpenAI's own does."""
    message: dict[str, object] = {}
    for chunk in chunks:
        for choice in msgspec.convert(chunk["choices"], list[dict[str, object]]):
            _add(message, msgspec.convert(choice["delta"], dict[str, object]))
    return message


def _add(into: dict[str, object], delta: dict[str, object]) -> None:
    for name, value in delta.items():
        known = into.get(name)
        if name == "tool_calls":
            calls = into.setdefault(name, [])
            assert isinstance(calls, list)
            for part in msgspec.convert(value, list[dict[str, object]]):
                index = part.pop("index")
                if index == len(calls):
                    calls.append({})
                _add(calls[msgspec.convert(index, int)], part)
        elif isinstance(known, str) and isinstance(value, str):
            into[name] = known + value
        elif isinstance(known, list) and isinstance(value, list):
            into[name] = [*known, *value]
        elif isinstance(known, dict) and isinstance(value, dict):
            _add(known, value)
        else:
            into[name] = value


@pytest.mark.parametrize("row", ANSWER_ROWS.values(), ids=ANSWER_ROWS.keys())
def test_a_stream_says_the_same_as_the_whole(row: Told) -> None:
    """Put together by a client, the chunks are the whole answer, with its finish reason and its usage."""
    message, rendering = _answer(row)
    encoder = _CHAT.stream_encoder(rendering)
    out = b"".join(encoder.encode([event]) for event in spelled(message))
    *data, done = [frame.data for frame in SseDecoder(1 << 20).feed(out)]
    *chunks, finish, usage = [msgspec.json.decode(each, type=dict[str, object]) for each in data]
    joined = _joined([*chunks, finish])
    expected = {"role": "assistant", "content": "", "refusal": None, **row.message}
    if expected["content"] is None:
        expected["content"] = ""
    assert joined == expected
    assert done == b"[DONE]"
    assert msgspec.convert(finish["choices"], list[dict[str, object]])[0]["finish_reason"] == row.finish
    assert (usage["choices"], usage["usage"]) == ([], _TOLD_USAGE)
