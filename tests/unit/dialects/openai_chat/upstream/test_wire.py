"""Errors, usage and ids as other APIs write them."""

import string

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.openai_chat.upstream.wire import (
    CompletionUsage,
    call_id,
    decode_error,
    message_id,
    read_usage,
    stop_of,
)
from proxy.dialects.upstream import ErrorFacts
from proxy.model.message import Usage

ALLOWED = set(string.ascii_letters + string.digits + "_-")


@pytest.mark.parametrize(
    ("body", "facts"),
    [
        (
            b'{"error":{"message":"slow","type":"rate_limit_error","param":null,"code":"slow_down"}}',
            ErrorFacts("rate_limit_error", "slow", "slow_down"),
        ),
        (b'{"error":{"message":"m","type":null,"code":null}}', ErrorFacts("server_error", "m")),
        (
            b'{"error":{"message":"m","type":"t","param":"tools[0].type"}}',
            ErrorFacts("t", "m", param="tools[0].type"),
        ),
        (b'{"error":{"message":"m","type":"t","param":{"x":1}}}', ErrorFacts("t", "m")),
        (b'{"error":{"message":"m","code":401}}', ErrorFacts("authentication_error", "m", "401")),
        (b'{"error":{"message":"m","code":400}}', ErrorFacts("invalid_request_error", "m", "400")),
        (b'{"error":"no such model"}', ErrorFacts("server_error", "no such model")),
        (b'{"error":null}', ErrorFacts()),
        (b'{"error":[1]}', ErrorFacts()),
        (b'{"detail":"Not Found"}', ErrorFacts()),
        (b"<html>", ErrorFacts()),
        (b"", ErrorFacts()),
        (b'{"error":{"message":"\xff"}}', ErrorFacts()),
        (b"[" * 100_000, ErrorFacts()),
    ],
)
def test_error_bodies_of_any_kind_are_read(body: bytes, facts: ErrorFacts) -> None:
    """Protects the pool's verdicts: only an envelope tells something, and nothing raises."""
    assert decode_error(body) == facts


def test_cached_tokens_are_no_input_tokens() -> None:
    """Protects accounts: Anthropic's count leaves out what the cache gave, and is never below zero."""
    raw = b'{"prompt_tokens":20,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":30}}'
    assert read_usage(msgspec.Raw(raw)) == Usage(input_tokens=0, output_tokens=5, cache_read_input_tokens=30)
    assert CompletionUsage().canonical() == Usage()


@given(st.text(max_size=60))
def test_an_id_is_fit_for_every_upstream(given_id: str) -> None:
    """Protects the next turn, which may be Claude's, from an id it refuses."""
    found = call_id(given_id, "chatcmpl-1", 0)
    assert set(found) <= ALLOWED
    assert found
    assert found == call_id(given_id, "chatcmpl-1", 0)


def test_ids_that_are_made_up_differ_between_answers_and_calls() -> None:
    """Protects histories in which no two calls may share one."""
    made = {call_id(None, answer, number) for answer in ("a", "b") for number in (0, 1)}
    assert len(made) == 4


def test_an_answers_id_keeps_its_own_part() -> None:
    """Protects support: the upstream finds its answer by it."""
    assert (message_id("chatcmpl-9"), message_id("gen-9"), message_id("")) == ("msg_9", "msg_gen-9", "")


def test_a_refusal_beats_the_finish_reason() -> None:
    """Protects clients from taking a refusal for an answer."""
    assert stop_of("stop", refusal="no").stop_reason == "refusal"
    assert stop_of("length", calls=True).stop_reason == "max_tokens"
