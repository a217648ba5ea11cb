"""Where cache breakpoints go, and that a conversation finds them again."""

from itertools import pairwise
from typing import TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.anthropic.caching import has_marks, with_cache_marks
from proxy.model.catalog import Catalog
from proxy.model.content import (
    Base64Source,
    Block,
    CacheControl,
    DocumentBlock,
    ImageBlock,
    RedactedThinkingBlock,
    TextBlock,
    TextSource,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from proxy.model.request import InputMessage, Request, Tool

T = TypeVar("T", bound=msgspec.Struct)
_FACTS = Catalog.load().facts("claude-opus-5-5")
_LEAST = 4 * _FACTS.min_cache_prefix_tokens
_MARK = CacheControl("ephemeral")
_LONG = TextBlock("x" * _LEAST)
_TOOL = Tool("f", msgspec.Raw(b'{"type":"object"}'))
_LONG_TOOL = Tool("g", msgspec.Raw(b'{"type":"object"}'), "x" * _LEAST)


def _user(*blocks: Block) -> InputMessage:
    return InputMessage("user", list(blocks) or [TextBlock("more")])


def _assistant(*blocks: Block) -> InputMessage:
    return InputMessage("assistant", list(blocks) or [TextBlock("so")])


def _request(*messages: InputMessage, **fields: object) -> Request:
    plain = Request(model=_FACTS.id, max_tokens=10, messages=list(messages))
    return msgspec.structs.replace(plain, **fields)


_Unit = tuple[str, Tool | Block]


def _units(request: Request) -> list[_Unit]:
    """Everything of the prefix in its order, each unit with the role it has there."""
    tools: list[_Unit] = [("tool", tool) for tool in request.tools]
    system: list[_Unit] = [("top", block) for block in request.system]
    return [*tools, *system, *((turn.role, block) for turn in request.messages for block in turn.content)]


def _marks(request: Request) -> list[int]:
    return [place for place, (_, unit) in enumerate(_units(request)) if _mark_of(unit) is not None]


def _mark_of(unit: Tool | Block) -> object:
    return getattr(unit, "cache_control", None)


def _plain(request: Request) -> list[_Unit]:
    return [
        (role, unit if isinstance(unit, msgspec.Raw) or _mark_of(unit) is None else _unmarked(unit))
        for role, unit in _units(request)
    ]


def _unmarked(unit: T) -> T:
    return msgspec.structs.replace(unit, cache_control=None)


_TURNS = (_user(TextBlock("one")), _assistant(), _user(TextBlock("two")))


@pytest.mark.parametrize(
    ("request_", "places"),
    [
        (_request(*_TURNS), []),
        (_request(*_TURNS, system=[TextBlock("x" * (_LEAST - 9))]), []),
        (_request(*_TURNS, system=[TextBlock("a"), _LONG]), [1, 2, 4]),
        (_request(*_TURNS, tools=[_TOOL, _LONG_TOOL]), [1, 2, 4]),
        (_request(*_TURNS, tools=[_LONG_TOOL], system=[TextBlock("a")]), [0, 1, 2, 4]),
        (_request(*_TURNS, tools=[_TOOL], system=[_LONG]), [1, 2, 4]),
        (_request(_user(_LONG), _assistant(), _user()), [0, 2]),
        (_request(_user(), _assistant(_LONG), _user()), [2]),
        (_request(_user(_LONG), _assistant(), _user(), _assistant(), _user()), [2, 4]),
        (_request(_user(), _assistant(), _user(), _assistant(), _user(_LONG)), [4]),
        (_request(_user(_LONG), _assistant(ToolUseBlock("t", "f", msgspec.Raw(b"{}")))), [0]),
        (_request(_user(_LONG), _assistant(), _user(TextBlock("a"), msgspec.Raw(b'{"type":"new"}'))), [0, 2]),
    ],
)
def test_marks_stand_after_tools_system_text_and_the_last_two_user_turns(
    request_: Request, places: list[int]
) -> None:
    """Protects short conversations from marks that cost, and long ones from going without."""
    marked = with_cache_marks(request_, _FACTS)
    assert _marks(marked) == places
    assert _plain(marked) == _plain(request_)
    assert has_marks(marked) is bool(places)


@pytest.mark.parametrize(
    "request_",
    [
        _request(*_TURNS, system=[_LONG], cache_control=_MARK),
        _request(*_TURNS, system=[msgspec.structs.replace(_LONG, cache_control=_MARK)]),
        _request(*_TURNS, system=[_LONG], tools=[msgspec.structs.replace(_TOOL, cache_control=_MARK)]),
        _request(_user(TextBlock("a", cache_control=_MARK)), *_TURNS[1:], system=[_LONG]),
    ],
)
def test_a_client_that_marks_for_itself_is_left_alone(request_: Request) -> None:
    """Protects the client's own plan for its cache."""
    assert with_cache_marks(request_, _FACTS) is request_


@pytest.mark.parametrize(
    ("block", "tokens"),
    [
        (TextBlock("x" * 40), 10),
        (TextBlock("é" * 20), 10),
        (ImageBlock(Base64Source("image/png", "A" * 1_000_000)), 1500),
        (DocumentBlock(Base64Source("application/pdf", "A" * 1_000_000)), 1500),
        (DocumentBlock(TextSource("text/plain", "x" * 40)), 10),
        (ToolResultBlock("t", [TextBlock("x" * 20), TextBlock("x" * 20)]), 10),
    ],
)
def test_a_prefix_is_weighed_by_what_it_costs_not_by_its_bytes(block: Block, tokens: int) -> None:
    """Protects a picture's megabytes of base64 from counting as text."""
    request = _request(_user(block), _assistant(), _user())
    facts = [msgspec.structs.replace(_FACTS, min_cache_prefix_tokens=least) for least in (tokens, tokens + 2)]
    assert [_marks(with_cache_marks(request, one))[:1] for one in facts] == [[0], []]


_WORDS = st.text(min_size=1, max_size=40)
_TEXTS = st.builds(TextBlock, _WORDS)
_SAID: st.SearchStrategy[list[Block]] = st.lists(
    st.one_of(_TEXTS, st.builds(ThinkingBlock, _WORDS, _WORDS), st.builds(RedactedThinkingBlock, _WORDS)),
    min_size=1,
    max_size=4,
)
_ASKED: st.SearchStrategy[list[Block]] = st.lists(
    st.one_of(_TEXTS, st.builds(ToolResultBlock, _WORDS, st.lists(_TEXTS, max_size=2))),
    min_size=1,
    max_size=4,
)
_FACTS_OF_LITTLE = msgspec.structs.replace(_FACTS, min_cache_prefix_tokens=20)


@st.composite
def _talks(draw: st.DrawFn) -> list[Request]:
    """A conversation's requests, each with two more turns than the one before."""
    fixed = {
        "system": draw(st.lists(_TEXTS, max_size=2)),
        "tools": draw(st.lists(st.builds(Tool, _WORDS, st.just(msgspec.Raw(b"{}"))), max_size=2)),
    }
    turns = draw(st.lists(st.tuples(_ASKED, _SAID), min_size=2, max_size=6))
    messages: list[InputMessage] = []
    talk = []
    for asked, said in turns:
        messages.append(InputMessage("user", asked))
        talk.append(_request(*messages, **fixed))
        messages.append(InputMessage("assistant", said))
    return talk


@given(_talks())
def test_the_next_turn_finds_what_this_one_has_written(talk: list[Request]) -> None:
    """Protects the promise of the marks: never over four, nothing else changed, and the last one met again."""
    for earlier, later in pairwise(talk):
        before, after = (with_cache_marks(one, _FACTS_OF_LITTLE) for one in (earlier, later))
        assert len(_marks(after)) <= 4
        assert _plain(after) == _plain(later)
        assert _plain(after)[: len(_plain(before))] == _plain(before)
        assert set(_marks(before)[-1:]) <= set(_marks(after))
