"""The response object around its items."""

import msgspec

from tests.unit.dialects.openai_responses.building import (
    NUMBER,
    asked,
    call,
)
from tests.unit.dialects.openai_responses.events import START, TEXT_ALONE, end, final, streamed


def test_the_response_around_the_items() -> None:
    """Protects the object clients read: its state at the begin and at the end, its usage, and the request in it."""
    tool = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False}
    fields: dict[str, object] = {
        "instructions": "Be kind.",
        "max_output_tokens": 50,
        "metadata": {"a": "b"},
        "parallel_tool_calls": False,
        "previous_response_id": "resp_before",
        "reasoning": {"effort": "low", "summary": "auto"},
        "tools": [tool],
        "tool_choice": "auto",
        "text": {"format": {"type": "text"}},
        "temperature": 0.5,
        "user": "ann",
        "truncation": "auto",
    }
    found = streamed([START, *TEXT_ALONE, *end("end_turn")], asked(call(keep=lambda _: None), **fields))
    begun, ended = msgspec.convert(found[0]["response"], dict[str, object]), final(found)
    assert found[0]["response"] == found[1]["response"]
    assert {name: ended[name] for name in fields} == fields
    assert (begun["id"], begun["object"], begun["created_at"]) == (f"resp_{NUMBER}", "response", 1795210000)
    assert (begun["status"], begun["output"], begun["usage"], begun["completed_at"]) == (
        "in_progress",
        [],
        None,
        None,
    )
    assert (ended["status"], ended["completed_at"], ended["error"]) == ("completed", 1795210003, None)
    assert (ended["model"], ended["store"], ended["background"]) == ("claude-opus-5-5", True, False)
    assert ended["usage"] == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 15,
    }


def test_a_request_that_says_nothing_is_answered_with_the_defaults() -> None:
    """Protects clients that read these fields whether or not they sent them."""
    ended = final(streamed([START, *end("end_turn")]))
    defaults: dict[str, object] = {
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "user": None,
    }
    assert {name: ended[name] for name in defaults} == defaults
