"""Items of a response, from their first event to their last."""

import msgspec
import pytest

from proxy.dialects.common import ThinkingFormat
from proxy.model.content import RedactedThinkingBlock, TextBlock, ThinkingBlock, ToolUseBlock
from proxy.model.events import (
    CitationsDelta,
    ContentBlockStart,
    ContentBlockStop,
    InputJsonDelta,
    SignatureDelta,
    TextDelta,
    ThinkingDelta,
)
from tests.unit.dialects.openai_responses.building import (
    RENDERING,
    SEAL,
    asked,
    told,
)
from tests.unit.dialects.openai_responses.events import (
    CUSTOM,
    GROUPED,
    SEALED,
    START,
    THINKING,
    block,
    end,
    kinds,
    output,
    streamed,
)


@pytest.mark.parametrize("shown", list(ThinkingFormat))
@pytest.mark.parametrize("sealed", [True, False])
def test_thinking_is_shown_and_sealed_as_asked(shown: ThinkingFormat, sealed: bool) -> None:
    """Protects what operators hide, and clients that did not ask for seals from carrying them."""
    dialect = asked(**(SEALED if sealed else {}))
    rendering = msgspec.structs.replace(RENDERING, thinking_format=shown)
    out = dialect.stream_encoder(rendering).encode([START, *THINKING, *end("end_turn")])
    (item,) = output(told(out))
    assert ("think" in str(item["summary"])) is (shown is not ThinkingFormat.NONE)
    assert ("encrypted_content" in item) is sealed
    assert (b"crs1." in out) is sealed


@pytest.mark.parametrize("signature", ["", "gw1.abc"])
def test_thinking_its_provider_would_not_know_again_is_not_sealed(signature: str) -> None:
    """Protects a later request from thinking that Anthropic refuses."""
    events = block(0, ThinkingBlock(""), ThinkingDelta("x"), SignatureDelta(signature))
    (item,) = output(streamed([START, *events, *end("end_turn")], asked(**SEALED)))
    assert "encrypted_content" not in item


def test_thinking_that_is_not_shown_has_no_summary() -> None:
    """Protects clients from empty summaries: added and done, and nothing between."""
    events = [
        *block(0, ThinkingBlock(""), SignatureDelta("S")),
        ContentBlockStart(1, RedactedThinkingBlock("xyz")),
    ]
    found = streamed([START, *events, ContentBlockStop(1), *end("end_turn")], asked(**SEALED))
    assert kinds(found)[2:-1] == ["output_item.added", "output_item.done"] * 2
    opened = [SEAL.open(str(item["encrypted_content"])) for item in output(found)]
    assert opened == [ThinkingBlock("", "S"), RedactedThinkingBlock("xyz")]


def test_a_text_tools_call_is_unwrapped_and_a_grouped_tool_is_named_in_its_group() -> None:
    """Protects programs that get back the names and the input they know."""
    dialect = asked(tools=[CUSTOM, GROUPED])
    custom = block(
        0, ToolUseBlock("a", "f", msgspec.Raw(b"{}")), InputJsonDelta('{"in'), InputJsonDelta('put":"x\\ny"}')
    )
    grouped = block(1, ToolUseBlock("b", "n__g", msgspec.Raw(b"{}")), InputJsonDelta("{}"))
    found = streamed([START, *custom, *grouped, *end("tool_use")], dialect)
    assert kinds(found)[2:6] == [
        "output_item.added",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "output_item.done",
    ]
    first, second = output(found)
    assert (first["type"], first["name"], first["input"]) == ("custom_tool_call", "f", "x\ny")
    assert (second["type"], second["name"], second["namespace"]) == ("function_call", "g", "n")


@pytest.mark.parametrize(("whole", "text"), [(b"{}", ""), (b'{"input":"a"}', "a"), (b'{"x":1}', '{"x":1}')])
def test_a_text_tools_input_is_told_whatever_the_model_wrote(whole: bytes, text: str) -> None:
    """Protects a call whose input came with its begin, or is not as it should be."""
    events = block(0, ToolUseBlock("a", "f", msgspec.Raw(whole)))
    (item,) = output(streamed([START, *events, *end("tool_use")], asked(tools=[CUSTOM])))
    assert item["input"] == text


def test_a_call_without_arguments_has_an_empty_object() -> None:
    """Protects programs that parse the arguments: empty text is no JSON."""
    events = block(0, ToolUseBlock("a", "f", msgspec.Raw(b"{}")), InputJsonDelta(""))
    found = streamed([START, *events, *end("tool_use")])
    assert output(found)[0]["arguments"] == "{}"
    assert "".join(str(event["delta"]) for event in found if "delta" in event) == "{}"


def test_sources_on_the_web_are_told_with_the_whole_text() -> None:
    """Protects citations; those of documents have no form here."""
    web = b'{"type":"web_search_result_location","url":"https://a","title":"A","cited_text":"x"}'
    page = b'{"type":"page_location","document_index":0}'
    deltas = (CitationsDelta(msgspec.Raw(web)), TextDelta("Hello"), CitationsDelta(msgspec.Raw(page)))
    found = streamed([START, *block(0, TextBlock(""), *deltas), *end("end_turn")])
    cited = {"type": "url_citation", "start_index": 0, "end_index": 5, "url": "https://a", "title": "A"}
    (told_,) = [event for event in found if event["type"] == "response.output_text.annotation.added"]
    assert (told_["annotation_index"], told_["annotation"]) == (0, cited)
    (item,) = output(found)
    assert msgspec.convert(item["content"], list[dict[str, object]])[0]["annotations"] == [cited]
