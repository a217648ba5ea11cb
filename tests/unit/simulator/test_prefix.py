"""Cache accounting, token estimates and what thinking is bound to."""

import msgspec
import pytest

from proxy.simulator.models import MODELS
from proxy.simulator.prefix import (
    Caching,
    PromptCache,
    conversation_digest,
    estimate_tokens,
    marks_of,
)
from proxy.simulator.wire import MessagesRequest

_OPUS = MODELS["claude-opus-5-5"]
_MARK = {"cache_control": {"type": "ephemeral"}}
_HOUR = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}


def _text(length: int, **mark: object) -> dict[str, object]:
    return {"type": "text", "text": "x" * length} | mark


def _user(*blocks: dict[str, object]) -> dict[str, object]:
    return {"role": "user", "content": list(blocks)}


def _request(*messages: dict[str, object], **fields: object) -> MessagesRequest:
    body = {"model": _OPUS.id, "max_tokens": 10, "messages": list(messages)} | fields
    return msgspec.convert(body, MessagesRequest)


def test_a_prompt_weighs_a_quarter_of_its_bytes() -> None:
    """System text, tools, tool calls and results count too."""
    request = _request(
        _user(_text(40), {"type": "tool_result", "tool_use_id": "t", "content": "é" * 20}),
        {"role": "assistant", "content": "y" * 8},
        system="s" * 12,
    )
    assert estimate_tokens(request, _OPUS) == (40 + 40 + 8 + 12) // 4
    assert estimate_tokens(_request(_user(_text(1))), _OPUS) == 1
    with_tools = _request(_user(_text(1)), tools=[{"name": "a", "input_schema": {"type": "object"}}])
    assert estimate_tokens(with_tools, _OPUS) > 5


def test_a_new_prefix_is_written_and_then_read() -> None:
    """The basic promise of ``cache_control``."""
    cache = PromptCache()
    request = _request(_user(_text(400, **_MARK), _text(40)))
    assert cache.serve(request, _OPUS, "org", 0.0) == Caching(0, 100, 0)
    assert cache.serve(request, _OPUS, "org", 1.0) == Caching(100, 0, 0)


def test_a_cache_belongs_to_one_organization_and_one_model() -> None:
    """Rotating over organizations must show as writes."""
    cache = PromptCache()
    request = _request(_user(_text(400, **_MARK)))
    cache.serve(request, _OPUS, "org", 0.0)
    assert cache.serve(request, _OPUS, "other", 0.0).read == 0
    assert cache.serve(request, MODELS["claude-opus-5"], "org", 0.0).read == 0


def test_a_longer_conversation_reads_the_part_it_shares() -> None:
    """The mark moves to the newest message with each turn, and is not part of the prefix."""
    cache = PromptCache()
    cache.serve(_request(_user(_text(400, **_MARK))), _OPUS, "org", 0.0)
    longer = _request(
        _user(_text(400)), {"role": "assistant", "content": "y" * 40}, _user(_text(80, **_MARK))
    )
    assert cache.serve(longer, _OPUS, "org", 1.0) == Caching(100, 30, 0)


def test_a_hit_is_looked_for_up_to_twenty_blocks_back() -> None:
    """Farther back the real cache does not look."""
    for between, read in ((18, 100), (20, 0)):
        cache = PromptCache()
        cache.serve(_request(_user(_text(400, **_MARK))), _OPUS, "org", 0.0)
        blocks = [_text(4) for _ in range(between)]
        found = cache.serve(_request(_user(_text(400), *blocks, _text(4, **_MARK))), _OPUS, "org", 1.0)
        assert found.read == read


def test_lifetimes_are_told_apart_and_end() -> None:
    """Five minutes unless an hour is asked for."""
    cache = PromptCache()
    request = _request(_user(_text(40, **_MARK)), system=[_text(400, **_HOUR)])
    assert cache.serve(request, _OPUS, "org", 0.0) == Caching(0, 10, 100)
    assert cache.serve(request, _OPUS, "org", 299.0 + 2) == Caching(100, 10, 0)
    assert cache.serve(request, _OPUS, "org", 4000.0) == Caching(0, 10, 100)


def test_the_automatic_mark_is_at_the_end() -> None:
    """Top-level ``cache_control`` marks the last block."""
    cache = PromptCache()
    request = _request(_user(_text(400)), cache_control={"type": "ephemeral", "ttl": "1h"})
    assert cache.serve(request, _OPUS, "org", 0.0) == Caching(0, 0, 100)
    assert marks_of(request) == 1


def test_marks_are_counted_wherever_they_are() -> None:
    """More than four are refused."""
    tool = {"name": "a", "input_schema": {"type": "object"}} | _MARK
    request = _request(
        _user(_text(1, **_MARK)), {"role": "user", "content": "a"}, system=[_text(1, **_MARK)], tools=[tool]
    )
    assert marks_of(request) == 3


def test_clearing_a_cache_forgets_everything() -> None:
    """A reset between tests."""
    cache = PromptCache()
    request = _request(_user(_text(400, **_MARK)))
    cache.serve(request, _OPUS, "org", 0.0)
    cache.clear()
    assert cache.serve(request, _OPUS, "org", 0.0).read == 0


_TOOLS = [{"name": name, "input_schema": {"type": "object"}} for name in "ab"]


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"tools": _TOOLS[::-1]}, True),
        ({"tools": [_TOOLS[0] | _MARK, _TOOLS[1]]}, True),
        ({"messages": [{"role": "user", "content": [_text(4, **_MARK)]}]}, True),
        ({"messages": [{"role": "user", "content": "xxxx"}]}, True),
        ({"max_tokens": 99}, True),
        ({"tools": _TOOLS[:1]}, False),
        ({"system": "today"}, False),
        ({"messages": [{"role": "user", "content": "xxxy"}]}, False),
    ],
)
def test_thinking_is_bound_to_what_was_said_not_to_how(change: dict[str, object], *, same: bool) -> None:
    """Cache marks and the order of tools are no edits; a changed word is one."""
    body = {"model": _OPUS.id, "max_tokens": 10, "messages": [_user(_text(4))], "tools": _TOOLS}
    first, second = (msgspec.convert(one, MessagesRequest) for one in (body, body | change))
    digests = [conversation_digest(one, one.messages) for one in (first, second)]
    assert (digests[0] == digests[1]) is same
