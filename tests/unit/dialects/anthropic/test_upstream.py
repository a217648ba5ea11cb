"""Requests out, whole answers and errors in."""

import msgspec
import pytest

from proxy.dialects.anthropic import MessageBroken
from proxy.dialects.anthropic.upstream import (
    decode_error,
    encode_request,
    splice,
    summarize,
)
from proxy.dialects.common import ErrorFacts
from proxy.errors import InvalidRequest
from proxy.model.content import TextBlock
from proxy.model.message import Usage
from proxy.model.request import InputMessage, Request


def test_the_same_request_gives_the_same_bytes() -> None:
    """Prompt caches depend on it."""
    request = Request(model="m", max_tokens=1, messages=[InputMessage("user", [TextBlock("ä")])])
    assert encode_request(request) == encode_request(msgspec.structs.replace(request))


@pytest.mark.parametrize(
    ("body", "changes", "remove", "result"),
    [
        (b'{"b":1,"a":{"x": [1, 2]}}', {}, (), b'{"b":1,"a":{"x": [1, 2]}}'),
        (b'{"model":"old","new":1e5}', {"model": b'"m"'}, (), b'{"model":"m","new":1e5}'),
        (b'{"a":1}', {"model": b'"m"'}, (), b'{"a":1,"model":"m"}'),
        (b'{"a":1,"b":2}', {}, ("a", "zz"), b'{"b":2}'),
        (b'{"a":1,"b":2,"a":3}', {}, (), b'{"a":3,"b":2}'),
        (b'{"a":1}', {"a": b"2"}, ("a",), b'{"a":2}'),
    ],
)
def test_top_level_fields_are_spliced(
    body: bytes, changes: dict[str, bytes], remove: tuple[str, ...], result: bytes
) -> None:
    """Order and every byte of other values stay; a doubled key cannot mean two things to two readers."""
    assert splice(body, set=changes, remove=remove) == result


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'{"a":', b"[" * 100_000])
def test_only_objects_can_be_spliced(body: bytes) -> None:
    """Anything else is the client's mistake."""
    with pytest.raises(InvalidRequest):
        splice(body, set={}, remove=())


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
            ErrorFacts("rate_limit_error", "slow", "x"),
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
