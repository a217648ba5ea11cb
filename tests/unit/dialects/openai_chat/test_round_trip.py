"""What goes through Chat Completions and back is what it was, but for what is declared as lost."""

from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.common import Rendering, Target, ThinkingFormat
from proxy.dialects.openai_chat import ChatUpstream, OpenAIChatDialect
from proxy.dialects.openai_chat.upstream import encode_request
from proxy.model.catalog import Catalog
from proxy.model.collect import Collector
from proxy.model.content import (
    Base64Source,
    Block,
    CacheControl,
    DocumentBlock,
    ImageBlock,
    TextBlock,
    TextSource,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    UrlSource,
)
from proxy.model.events import (
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    Event,
    InputJsonDelta,
    MessageDelta,
    MessageStart,
    MessageStop,
    Stop,
)
from proxy.model.message import Message, OutputTokensDetails, Usage
from proxy.model.request import (
    InputMessage,
    Request,
    Tool,
    ToolChoice,
    ToolChoiceAny,
    ToolChoiceAuto,
    ToolChoiceNone,
    ToolChoiceTool,
)
from proxy.model.spell import spelled

_CHAT = OpenAIChatDialect()
_UPSTREAM = ChatUpstream()
_MODEL = "claude-opus-5"
_FACTS = Catalog.load().facts(_MODEL)
_CAP_BYTES = 1 << 20

_WORDS = st.text(min_size=1, max_size=12).filter(lambda text: bool(text.strip()))
_INPUTS = st.dictionaries(_WORDS, st.none() | st.integers(-9, 9) | _WORDS, max_size=2).map(
    lambda value: msgspec.Raw(msgspec.json.encode(value))
)
_MARKS = st.sampled_from([None, CacheControl("ephemeral")])
_SAID = st.builds(TextBlock, _WORDS, cache_control=_MARKS)
_SHOWN: st.SearchStrategy[Block] = st.one_of(
    _SAID,
    st.just(ImageBlock(UrlSource("https://h/a"))),
    st.just(ImageBlock(Base64Source("image/png", "iVBORw0KGgo="))),
    st.just(DocumentBlock(TextSource("text/plain", "d"))),
)
_NAMES = st.sampled_from(["f", "g"])
_TOOLS: list[Tool | msgspec.Raw] = [
    Tool(name, msgspec.Raw(b'{"type":"object","properties":{}}'), description) for name, description in
    [("f", "Does it."), ("g", None)]
]  # fmt: skip
_CHOICES: st.SearchStrategy[ToolChoice | None] = st.sampled_from(
    [
        None,
        ToolChoiceAuto(),
        ToolChoiceAuto(disable_parallel_tool_use=True),
        ToolChoiceAny(),
        ToolChoiceTool("g"),
        ToolChoiceNone(),
    ]
)


@st.composite
def _histories(draw: st.DrawFn) -> list[InputMessage]:
    """Turns as a Messages client has them: calls answered in the next message, results first."""
    turns = [InputMessage("user", draw(st.lists(_SHOWN, min_size=1, max_size=2)))]
    for number in range(draw(st.integers(0, 3))):
        calls: list[Block] = [
            ToolUseBlock(f"t{number}_{index}", draw(_NAMES), draw(_INPUTS))
            for index in range(draw(st.integers(0, 3)))
        ]
        thinking: list[Block] = [ThinkingBlock("t", "s")] if draw(st.booleans()) else []
        turns.append(InputMessage("assistant", [*thinking, draw(_SAID), *calls]))
        results: list[Block] = [
            ToolResultBlock(call.id, [TextBlock(draw(_WORDS))], is_error=draw(st.booleans()))
            for call in calls
            if isinstance(call, ToolUseBlock)
        ]
        turns.append(InputMessage("user", [*results, *draw(st.lists(_SHOWN, min_size=1, max_size=2))]))
    return turns


def _carried(turns: list[InputMessage], dropped: set[str]) -> list[InputMessage]:
    """The turns without what was declared as lost; texts of one turn may come joined."""
    return [
        InputMessage(turn.role, _joined(turn.content, f"messages[{place}]", dropped))
        for place, turn in enumerate(turns)
    ]


def _joined(blocks: list[Block], at: str, dropped: set[str]) -> list[Block]:
    carried: list[Block] = []
    for number, block in enumerate(blocks):
        path = f"{at}.content[{number}]"
        if path in dropped or isinstance(block, msgspec.Raw):
            continue
        if f"{path}.cache_control" in dropped:
            block = msgspec.structs.replace(block, cache_control=None)  # noqa: PLW2901 - one less field
        if f"{path}.is_error" in dropped and isinstance(block, ToolResultBlock):
            block = msgspec.structs.replace(block, is_error=False)  # noqa: PLW2901 - one less field
        carried.append(block)
    return carried


def _texts(turns: list[InputMessage]) -> list[tuple[str, list[object]]]:
    """Each turn's text as one, and its other blocks in their order."""
    found: list[tuple[str, list[object]]] = []
    for turn in turns:
        others: list[object] = [block for block in turn.content if not isinstance(block, TextBlock)]
        words = "".join("".join(block.text.split()) for block in turn.content if isinstance(block, TextBlock))
        found.append((turn.role, [words or "(nocontent)", *others]))
    return found


@given(
    _histories(),
    st.lists(_SAID, max_size=2),
    _CHOICES,
    st.lists(_WORDS, max_size=4, unique=True),
    st.booleans(),
)
def test_a_request_comes_back_but_for_its_declared_losses(
    turns: list[InputMessage],
    system: list[TextBlock],
    choice: ToolChoice | None,
    stops: list[str],
    stream: bool,
) -> None:
    """Canonical to chat and back: whatever is not named among the losses has to be there, in its place."""
    request = Request(
        model=_MODEL,
        max_tokens=5000,
        messages=turns,
        system=system,
        stop_sequences=stops,
        stream=stream,
        tools=_TOOLS,
        tool_choice=choice,
    )
    body, losses = encode_request(request)
    dropped = {loss.field for loss in losses}
    back = _CHAT.decode_request(body, Target(facts=_FACTS, model=_MODEL, stream=stream))
    found = back.request
    assert back.dropped == ()
    assert (found.model, found.max_tokens, found.stream, found.tools) == (_MODEL, 5000, stream, _TOOLS)
    assert found.tool_choice == choice
    assert found.stop_sequences == stops
    assert "".join("".join(block.text.split()) for block in found.system) == "".join(
        "".join(block.text.split()) for block in system
    )
    assert _texts(found.messages) == _texts(_carried(turns, dropped))


@st.composite
def _answers(draw: st.DrawFn) -> Message:
    """An answer as the chat dialect can tell it: its texts as one, before its calls; thinking before both."""
    texts = draw(st.lists(_WORDS, max_size=1))
    calls: list[Block] = [
        ToolUseBlock(f"toolu_{index}", draw(_NAMES), draw(_INPUTS))
        for index in range(draw(st.integers(0, 3)))
    ]
    stop = "tool_use" if calls else draw(st.sampled_from(["end_turn", "max_tokens"]))
    return Message(
        id="msg_1",
        model=_MODEL,
        content=[*map(TextBlock, texts), *calls],
        stop_reason=stop,
        usage=Usage(
            input_tokens=draw(st.integers(0, 9)),
            output_tokens=draw(st.integers(0, 9)),
            cache_creation_input_tokens=draw(st.integers(0, 9)),
            cache_read_input_tokens=draw(st.integers(0, 9)),
            output_tokens_details=OutputTokensDetails(draw(st.integers(0, 9))),
        ),
    )


def _rendering() -> Rendering:
    return Rendering(
        request_id="req_1",
        created_s=1,
        model=_MODEL,
        thinking_format=ThinkingFormat.NONE,
        include_usage=True,
    )


@given(_answers())
def test_a_whole_answer_comes_back(message: Message) -> None:
    """Blocks, stop reason, and every count of its usage."""
    assert _UPSTREAM.decode_message(_CHAT.encode_message(message, _rendering())) == message


def _collected(out: bytes, cuts: list[int]) -> Message:
    decoder, collector = _UPSTREAM.stream_decoder(_CAP_BYTES), Collector()
    points = sorted({cut % (len(out) + 1) for cut in cuts})
    for begin, end in zip([0, *points], [*points, len(out)], strict=True):
        for event in decoder.feed(out[begin:end]):
            collector.add(event)
    for event in decoder.end():
        collector.add(event)
    return collector.message()


_CUTS = st.lists(st.integers(0, 1 << 16), max_size=12)


@given(_answers(), _CUTS)
def test_a_streamed_answer_comes_back_however_it_is_cut(message: Message, cuts: list[int]) -> None:
    """Canonical events to chunks and back; the bytes may be cut anywhere on the way."""
    out = _CHAT.stream_encoder(_rendering()).encode([*spelled(message)])
    assert _collected(out, cuts) == message


@given(
    st.lists(st.tuples(_NAMES, _INPUTS, st.lists(st.integers(0, 40), max_size=6)), min_size=2, max_size=4),
    _CUTS,
)
def test_parallel_calls_keep_their_arguments_apart(
    calls: list[tuple[str, msgspec.Raw, list[int]]], cuts: list[int]
) -> None:
    """However the upstream cuts their arguments into deltas, and the network the stream into pieces."""
    events: list[Event] = [MessageStart(Message(id="msg_1", model=_MODEL, usage=Usage(1, 1)))]
    for index, (name, tool_input, points) in enumerate(calls):
        text = bytes(tool_input).decode()
        edges = [0, *sorted(min(point, len(text)) for point in points), len(text)]
        events.append(ContentBlockStart(index, ToolUseBlock(f"toolu_{index}", name, msgspec.Raw(b"{}"))))
        events += [
            ContentBlockDelta(index, InputJsonDelta(text[begin:end])) for begin, end in pairwise(edges)
        ]
        events.append(ContentBlockStop(index))
    events += [MessageDelta(Stop("tool_use"), Usage(output_tokens=5)), MessageStop()]
    encoder = _CHAT.stream_encoder(_rendering())
    found = _collected(b"".join(encoder.encode([event]) for event in events), cuts)
    assert [
        (block.id, block.name, msgspec.json.decode(block.input))
        for block in found.content
        if isinstance(block, ToolUseBlock)
    ] == [(f"toolu_{i}", name, msgspec.json.decode(given)) for i, (name, given, _) in enumerate(calls)]
