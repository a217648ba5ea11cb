"""Cache marks that clients set themselves."""

import msgspec
import pytest

from proxy.dialects.common import Target, Translated
from proxy.dialects.openai_chat.marks import mark_last
from proxy.dialects.openai_chat.request import decode_request
from proxy.errors import InvalidRequest
from proxy.model.catalog import Catalog
from proxy.model.content import Block, CacheControl, TextBlock, ThinkingBlock

_FACTS = Catalog.load().facts("claude-opus-5-5")
_MARK = {"cache_control": {"type": "ephemeral"}}
_HOUR = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
_HELLO: dict[str, object] = {"role": "user", "content": "hi"}
_PNG = "data:image/png;base64,iVBORw0KGgo="


def _translate(*messages: dict[str, object], **fields: object) -> Translated:
    body = msgspec.json.encode({"messages": list(messages) or [_HELLO], **fields})
    return decode_request(body, Target(facts=_FACTS, model=_FACTS.id))


def _part(text: str, **mark: object) -> dict[str, object]:
    return {"type": "text", "text": text} | mark


def _found(translated: Translated) -> list[str]:
    """The path of each mark."""
    paths: list[str] = []

    def look(value: object, path: str) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                if name == "cache_control":
                    paths.append(path)
                else:
                    look(inner, f"{path}.{name}")
        elif isinstance(value, list):
            for place, inner in enumerate(value):
                look(inner, f"{path}.{place}")

    look(msgspec.json.decode(msgspec.json.encode(translated.request)), "")
    return paths


_CALL: dict[str, object] = {
    "role": "assistant",
    "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f"}}],
}


@pytest.mark.parametrize(
    ("messages", "fields", "paths"),
    [
        ([_HELLO], _MARK, [""]),
        ([{"role": "system", "content": "s"} | _MARK, _HELLO], {}, [".system.0"]),
        ([{"role": "system", "content": [_part("a", **_MARK), _part("b")]}, _HELLO], {}, [".system.0"]),
        ([{"role": "user", "content": [_part("a", **_HOUR), _part("b")]}], {}, [".messages.0.content.0"]),
        ([_HELLO | _MARK], {}, [".messages.0.content.0"]),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": _PNG}} | _MARK]}],
            {},
            [".messages.0.content.0"],
        ),
        (
            [_HELLO, {"role": "assistant", "content": [_part("a", **_MARK)]}, _HELLO],
            {},
            [".messages.1.content.0"],
        ),
        ([_HELLO, {"role": "assistant", "content": "a"} | _MARK, _HELLO], {}, [".messages.1.content.0"]),
        (
            [_HELLO, _CALL, {"role": "tool", "tool_call_id": "a", "content": [_part("r", **_MARK)]}],
            {},
            [".messages.2.content.0"],
        ),
        (
            [_HELLO],
            {"tools": [{"type": "function", "function": {"name": "f"}} | _MARK]},
            [".tools.0"],
        ),
    ],
)
def test_a_mark_stays_where_the_client_put_it(
    messages: list[dict[str, object]], fields: dict[str, object], paths: list[str]
) -> None:
    """Protects clients that plan their cache themselves; a mark inside a result moves to the result."""
    translated = _translate(*messages, **fields)
    assert _found(translated) == paths
    assert translated.dropped == ()


def test_a_lifetime_is_kept() -> None:
    """Protects what a client pays for an hour."""
    block = _translate({"role": "user", "content": [_part("a", **_HOUR)]}).request.messages[0].content[0]
    assert block == TextBlock("a", cache_control=CacheControl("ephemeral", "1h"))


@pytest.mark.parametrize(("automatic", "kept"), [({}, ["2", "3", "4", "5"]), (_MARK, ["3", "4", "5"])])
def test_of_more_than_four_marks_the_last_are_kept_and_the_client_is_told(
    automatic: dict[str, object], kept: list[str]
) -> None:
    """Protects requests from being refused for one mark too many."""
    parts = [_part(str(number), **_MARK) for number in range(6)]
    translated = _translate({"role": "user", "content": parts}, **automatic)
    marked = [path.removeprefix(".messages.0.content.") for path in _found(translated) if path]
    assert marked == kept
    assert [loss.field for loss in translated.dropped] == ["cache_control"]


def test_a_mark_that_is_none_is_refused_by_name() -> None:
    """Protects clients from a mark that would be lost silently."""
    with pytest.raises(InvalidRequest) as refused:
        _translate(_HELLO | {"cache_control": "ephemeral"})
    assert refused.value.param == "messages[0].cache_control"


def test_a_message_marked_as_a_whole_has_its_mark_on_its_end() -> None:
    """Protects a part's own mark, and blocks that cannot bear one."""
    mark, own = CacheControl("ephemeral"), CacheControl("ephemeral", "1h")
    assert mark_last([TextBlock("a"), TextBlock("b")], mark) == [
        TextBlock("a"),
        TextBlock("b", cache_control=mark),
    ]
    unchanged: list[list[Block]] = [[], [ThinkingBlock("t", "s")], [TextBlock("a", cache_control=own)]]
    for blocks in unchanged:
        assert mark_last(blocks, mark) == blocks


@pytest.mark.parametrize(
    ("mark", "ttl"),
    [({}, None), ({"mode": "explicit"}, None), ({"ttl": "30m"}, "1h"), ({"ttl": "12h"}, "1h")],
)
def test_a_breakpoint_in_openais_words_is_a_mark(mark: dict[str, object], ttl: str | None) -> None:
    """On every sort of part; Anthropic's own mark comes first where both are there."""
    own = {"prompt_cache_breakpoint": mark}
    parts = [
        _part("a", **own),
        {"type": "image_url", "image_url": {"url": _PNG}} | own,
        {"type": "file", "file": {"file_data": "https://h/a"}} | own,
        _part("b", **own, **_HOUR),
    ]
    content = _translate({"role": "user", "content": parts}).request.messages[0].content
    found = [getattr(block, "cache_control", None) for block in content]
    # an earlier mark lasts as long as a later one
    assert found == [CacheControl("ephemeral", "1h")] * 4
    found = [
        getattr(block, "cache_control", None)
        for block in _translate({"role": "user", "content": parts[:3]}).request.messages[0].content
    ]
    assert found == [CacheControl("ephemeral", ttl)] * 3


def test_marks_last_as_long_as_those_behind_them() -> None:
    """The upstream refuses an hour behind five minutes; what comes after keeps its own time."""
    tools = [{"type": "function", "function": {"name": "f"}} | _MARK]
    messages: list[dict[str, object]] = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": [_part("a", **_HOUR), _part("b", **_MARK)]},
    ]
    request = _translate(*messages, tools=tools).request
    marks = [getattr(unit, "cache_control", None) for unit in (*request.tools, *request.messages[0].content)]
    assert marks == [
        CacheControl("ephemeral", "1h"),
        CacheControl("ephemeral", "1h"),
        CacheControl("ephemeral"),
    ]
    assert request.system == [TextBlock("s")]
    request = _translate(*messages, tools=tools, prompt_cache_retention="24h").request
    marks = [getattr(unit, "cache_control", None) for unit in (*request.tools, *request.messages[0].content)]
    assert marks == [CacheControl("ephemeral", "1h")] * 3


@pytest.mark.parametrize(
    ("options", "automatic"),
    [(None, True), ({}, True), ({"mode": "implicit"}, True), ({"mode": "explicit"}, False)],
)
def test_a_client_that_marks_for_itself_gets_no_other_marks(options: object, automatic: bool) -> None:
    """Protects what a client pays for writing to the cache."""
    assert _translate(prompt_cache_options=options).auto_cache is automatic
