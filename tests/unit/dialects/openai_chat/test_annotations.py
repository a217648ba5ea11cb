"""The citations of an answer as OpenAI's clients read them, in whole answers and in streams."""

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.common import Dropped, Rendering, ThinkingFormat
from proxy.dialects.openai_chat import OpenAIChatDialect
from proxy.dialects.openai_chat.annotations import UNTOLD
from proxy.dialects.sse import SseDecoder
from proxy.model.content import Block, TextBlock, ThinkingBlock
from proxy.model.events import CitationsDelta, ContentBlockDelta, ContentBlockStart
from proxy.model.message import Message
from proxy.model.spell import spelled

_CHAT = OpenAIChatDialect()
_DOCUMENT = msgspec.Raw(b'{"type":"char_location","cited_text":"x","document_index":0,"document_title":"D"}')

_Answered = Callable[[Message, Rendering], tuple[str, "list[_Annotation] | None"]]


class _Page(msgspec.Struct):
    start_index: int
    end_index: int
    title: str
    url: str


class _Annotation(msgspec.Struct, forbid_unknown_fields=True):
    type: str
    url_citation: _Page


class _Said(msgspec.Struct):
    content: str | None = None
    annotations: list[_Annotation] | None = None


class _Choice(msgspec.Struct):
    message: _Said = msgspec.field(default_factory=_Said)
    delta: _Said = msgspec.field(default_factory=_Said)
    finish_reason: str | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]


def _page(url: str, title: str | None = "T") -> msgspec.Raw:
    citation = {"type": "web_search_result_location", "url": url, "title": title, "cited_text": "c"}
    return msgspec.Raw(msgspec.json.encode(citation | {"encrypted_index": "e"}))


def _message(*content: Block, stop: str = "end_turn") -> Message:
    return Message(id="msg_1", content=[*content], stop_reason=stop)


def _rendering(told: list[Dropped], shown: ThinkingFormat = ThinkingFormat.NONE) -> Rendering:
    return Rendering(request_id="r", created_s=1, model="m", thinking_format=shown, tell=told.append)


def _whole(message: Message, rendering: Rendering) -> tuple[str, list[_Annotation] | None]:
    (choice,) = msgspec.json.decode(_CHAT.encode_message(message, rendering), type=_Completion).choices
    return choice.message.content or "", choice.message.annotations


def _streamed(message: Message, rendering: Rendering) -> tuple[str, list[_Annotation] | None]:
    """The text of a stream and the one list of its annotations, which comes right before the end."""
    out = _CHAT.stream_encoder(rendering).encode([*spelled(message)])
    *data, done = [frame.data for frame in SseDecoder(1 << 20).feed(out)]
    assert done == b"[DONE]"
    choices = [choice for each in data for choice in msgspec.json.decode(each, type=_Completion).choices]
    text = "".join(choice.delta.content or "" for choice in choices)
    lists = [each.delta.annotations for each in choices if each.delta.annotations is not None]
    assert len(lists) <= 1
    if lists:
        assert choices[-2].delta.annotations is lists[0]
        assert choices[-1].finish_reason is not None
    return text, lists[0] if lists else None


@pytest.mark.parametrize("answered", [_whole, _streamed])
def test_a_page_is_told_with_the_text_it_stands_behind(answered: _Answered) -> None:
    """Protects footnotes: characters of the whole content, whatever stood before, counted as Python counts them."""
    message = _message(
        TextBlock("Ü! ", []), TextBlock("It rains.", [_page("https://a.example/")]), TextBlock(" Bye.")
    )
    told: list[Dropped] = []
    text, found = answered(message, _rendering(told))
    assert text == "Ü! It rains. Bye."
    assert found == [_Annotation("url_citation", _Page(3, 12, "T", "https://a.example/"))]
    assert text[3:12] == "It rains."
    assert told == []


@pytest.mark.parametrize("shown", [ThinkingFormat.THINK, ThinkingFormat.BOTH])
@pytest.mark.parametrize("answered", [_whole, _streamed])
def test_thinking_in_the_content_is_counted_too(answered: _Answered, shown: ThinkingFormat) -> None:
    """Protects footnotes where thinking stands in front of the answer."""
    message = _message(ThinkingBlock("Hm.", "s"), TextBlock("Rain.", [_page("https://a.example/")]))
    text, found = answered(message, _rendering([], shown))
    assert found is not None
    cited = found[0].url_citation
    assert text[cited.start_index : cited.end_index] == "Rain."


@pytest.mark.parametrize("answered", [_whole, _streamed])
def test_a_page_cited_twice_for_one_text_is_told_once(answered: _Answered) -> None:
    """Protects readers from the same footnote twice; a page without a title has an empty one."""
    twice = [
        _page("https://a.example/", None),
        _page("https://b.example/"),
        _page("https://a.example/", None),
    ]
    _, found = answered(_message(TextBlock("Rain.", twice)), _rendering([]))
    assert found is not None
    assert [(each.url_citation.url, each.url_citation.title) for each in found] == [
        ("https://a.example/", ""),
        ("https://b.example/", "T"),
    ]


@pytest.mark.parametrize(
    "citation",
    [
        _DOCUMENT,
        msgspec.Raw(b'{"type":"search_result_location","source":"https://a.example/","title":"T"}'),
        msgspec.Raw(b'{"type":"web_search_result_location","title":"T"}'),
        msgspec.Raw(b'{"type":"web_search_result_location","url":5}'),
        msgspec.Raw(b"[]"),
    ],
    ids=["document", "search result", "no address", "no text", "no object"],
)
@pytest.mark.parametrize("answered", [_whole, _streamed])
def test_what_has_no_form_here_is_told_as_lost(answered: _Answered, citation: msgspec.Raw) -> None:
    """Protects clients from silent losses, and the other citations from one that is odd."""
    message = _message(TextBlock("Rain.", [citation, _page("https://a.example/")]))
    told: list[Dropped] = []
    _, found = answered(message, _rendering(told))
    assert found is not None
    assert len(found) == 1
    assert set(told) == {UNTOLD}


@pytest.mark.parametrize("answered", [_whole, _streamed])
@pytest.mark.parametrize("citations", [None, [], [_DOCUMENT]])
def test_an_answer_without_pages_has_no_list(
    answered: _Answered, citations: list[msgspec.Raw] | None
) -> None:
    """Protects clients with strict ideas of a message from a field that says nothing."""
    _, found = answered(_message(TextBlock("Rain.", citations)), _rendering([]))
    assert found is None


@pytest.mark.parametrize("answered", [_whole, _streamed])
def test_a_refused_answer_cites_nothing(answered: _Answered) -> None:
    """Protects clients from footnotes to a text that is to be thrown away."""
    message = _message(TextBlock("Rain.", [_page("https://a.example/"), _DOCUMENT]), stop="refusal")
    told: list[Dropped] = []
    _, found = answered(message, _rendering(told))
    assert (found, told) == (None, [])


@pytest.mark.parametrize("first", [[TextBlock("Let me look.")], []], ids=["before it", "itself"])
def test_a_page_whose_place_in_a_stream_is_unknown_is_told_as_lost(first: list[Block]) -> None:
    """Protects footnotes from standing behind the wrong words: texts that may cite nothing are not counted."""
    quote = ContentBlockDelta(0, CitationsDelta(_page("https://a.example/")))
    begun = TextBlock("", [] if first else None)
    events = [*spelled(_message(*first, begun))]
    place = max(i for i, event in enumerate(events) if isinstance(event, ContentBlockStart)) + 1
    events[place:place] = [quote]
    told: list[Dropped] = []
    out = _CHAT.stream_encoder(_rendering(told)).encode(events)
    assert b"annotations" not in out
    assert told == [UNTOLD]


_TEXTS = st.builds(
    TextBlock,
    st.text(min_size=1, max_size=9),
    st.lists(st.sampled_from([_page("https://a.example/"), _page("https://b.example/"), _DOCUMENT])),
)


@given(st.lists(_TEXTS | st.builds(ThinkingBlock, st.text(max_size=5), st.just("s")), max_size=6))
def test_a_stream_says_what_the_whole_answer_says(content: list[Block]) -> None:
    """Protects against two truths about one answer whose texts may all cite something."""
    message = _message(*content)
    for shown in ThinkingFormat:
        assert _streamed(message, _rendering([], shown)) == _whole(message, _rendering([], shown))
