"""Requests out, whole answers and errors in."""

import msgspec
import pytest

from proxy.dialects.anthropic.upstream import decode_error, encode_count, encode_request, summarize
from proxy.dialects.upstream import ErrorFacts, MessageBroken
from proxy.model.content import TextBlock
from proxy.model.message import Usage
from proxy.model.request import InputMessage, Request


def test_the_same_request_gives_the_same_bytes() -> None:
    """Prompt caches depend on it."""
    request = Request(model="m", max_tokens=1, messages=[InputMessage("user", [TextBlock("ä")])])
    assert encode_request(request) == encode_request(msgspec.structs.replace(request))


def test_only_what_weighs_something_is_sent_to_be_counted() -> None:
    """The endpoint refuses what belongs to the answer."""
    turns = [InputMessage("user", [TextBlock("a")])]
    request = Request(
        model="m", max_tokens=1, messages=turns, system=[TextBlock("s")], stop_sequences=["x"], stream=True
    )
    counted = msgspec.json.decode(encode_count(request))
    assert counted == {
        "model": "m",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}],
        "system": [{"type": "text", "text": "s"}],
    }


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        (b'{"type":"message","usage":{"input_tokens":3,"novelty":1}}', Usage(input_tokens=3)),
        (b'{"type":"message","usage":null}', None),
        (b'{"type":"message"}', None),
        (b'{"type":"message","usage":{"input_tokens":"3"}}', None),
        (b'{"type":"message","usage":[]}', None),
        (b'{"type":"message","stop_reason":7}', None),
    ],
)
def test_usage_is_read_if_it_can_be(body: bytes, usage: Usage | None) -> None:
    """Accounting never fails an answer."""
    assert summarize(body).usage == usage


def test_a_unary_answer_is_summarized() -> None:
    """What is kept of an answer that passes unchanged; no message is no summary."""
    summary = summarize(
        b'{"type":"message","content":[],"stop_reason":"end_turn","usage":{"output_tokens":2}}'
    )
    assert (summary.stop_reason, summary.usage) == ("end_turn", Usage(output_tokens=2))
    for body in (b"", b"{}", b'{"type":"error"}', b"[" * 100_000):
        with pytest.raises(MessageBroken):
            summarize(body)


@pytest.mark.parametrize(
    ("body", "facts"),
    [
        (
            b'{"type":"error","error":{"type":"rate_limit_error","message":"slow","details":{"error_code":"x"}}}',
            ErrorFacts("rate_limit_error", "slow", "x", b'{"error_code":"x"}'),
        ),
        (
            b'{"error":{"type":"a","message":"m","details":{ "error_code" : 1, "unsupported": ["mcp"] }}}',
            ErrorFacts("a", "m", None, b'{"error_code":1,"unsupported":["mcp"]}'),
        ),
        (
            b'{"error":{"type":"a","message":"m","details":{"x":"' + b"x" * 2048 + b'"}}}',
            ErrorFacts("a", "m"),
        ),
        (b'{"type":"error","error":{"type":"api_error","message":"m"}}', ErrorFacts("api_error", "m")),
        (b'{"error":{"type":"api_error","message":"m","details":null}}', ErrorFacts("api_error", "m")),
        (b'{"error":{"type":"api_error","message":"m","details":[]}}', ErrorFacts("api_error", "m")),
        (b'{"error":"text"}', ErrorFacts()),
        (b'{"error":null}', ErrorFacts()),
        (b"<html><h1>502 Bad Gateway</h1>", ErrorFacts()),
        (b"", ErrorFacts()),
        (b'{"type":"error","error":{"type":"rate_li', ErrorFacts()),
        (b"[" * 100_000, ErrorFacts()),
        (b'{"error":{"type":"x","message":"\xff"}}', ErrorFacts()),
    ],
)
def test_error_bodies_of_any_kind_are_read(body: bytes, facts: ErrorFacts) -> None:
    """Only an error envelope tells something; nothing raises."""
    assert decode_error(body) == facts
