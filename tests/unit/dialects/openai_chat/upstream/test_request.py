"""A canonical request as the body of a chat completion: what goes along, and what is told to be lost."""

import msgspec
import pytest

from proxy.dialects.openai_chat.upstream import encode_request
from proxy.model.content import CacheControl, TextBlock
from proxy.model.request import (
    InputMessage,
    Metadata,
    OutputConfig,
    Request,
    ThinkingAdaptive,
    Tool,
    ToolChoice,
    ToolChoiceAny,
    ToolChoiceAuto,
    ToolChoiceNone,
    ToolChoiceTool,
)

HI = InputMessage("user", [TextBlock("Hi")])
WEATHER = Tool("weather", msgspec.Raw(b'{"type":"object"}'), "Looks it up.", strict=True)
SERVER_TOOL = msgspec.Raw(b'{"type":"web_search_20250305","name":"web_search"}')
MARK = CacheControl("ephemeral")


def sent(**fields: object) -> tuple[dict[str, object], list[str]]:
    """The body a request becomes, and the paths of what it lost."""
    request = msgspec.structs.replace(Request(model="m", max_tokens=64, messages=[HI]), **fields)
    body, dropped = encode_request(request)
    return msgspec.json.decode(body, type=dict[str, object]), [item.field for item in dropped]


def test_a_small_request_has_nothing_but_what_it_needs() -> None:
    """Protects against fields that some of the many compatible APIs refuse."""
    assert sent() == (
        {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_completion_tokens": 64},
        [],
    )


def test_a_stream_is_asked_for_its_usage() -> None:
    """Protects accounts, which have no other way to the numbers of a stream."""
    body, _ = sent(stream=True)
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})


def test_sampling_and_stops_go_along() -> None:
    """Protects what both formats have; of more than four stops the first four."""
    body, lost = sent(temperature=0.5, top_p=0.9, stop_sequences=["a", "b", "c", "d", "e"])
    assert (body["temperature"], body["top_p"], body["stop"]) == (0.5, 0.9, ["a", "b", "c", "d"])
    assert lost == ["stop_sequences[4]"]


@pytest.mark.parametrize(
    ("fields", "lost"),
    [
        ({"top_k": 5}, ["top_k"]),
        ({"thinking": ThinkingAdaptive()}, ["thinking"]),
        ({"output_config": OutputConfig(effort="high")}, ["output_config.effort"]),
        (
            {"output_config": OutputConfig(format=msgspec.Raw(b'{"type":"novelty"}'))},
            ["output_config.format"],
        ),
        ({"output_config": OutputConfig(format=msgspec.Raw(b"[]"))}, ["output_config.format"]),
        ({"metadata": Metadata("user-7")}, ["metadata"]),
        ({"cache_control": MARK}, ["cache_control"]),
        ({"service_tier": "auto"}, ["service_tier"]),
        ({"tools": [SERVER_TOOL, WEATHER]}, ["tools[0]"]),
        ({"tools": [msgspec.structs.replace(WEATHER, cache_control=MARK)]}, ["tools[0].cache_control"]),
        ({"tools": [SERVER_TOOL], "tool_choice": ToolChoiceAny()}, ["tools[0]", "tool_choice"]),
        ({"tools": [SERVER_TOOL], "tool_choice": ToolChoiceNone()}, ["tools[0]"]),
    ],
)
def test_what_has_no_place_is_left_out_and_told(fields: dict[str, object], lost: list[str]) -> None:
    """Protects the other API from fields it refuses, and the client from not knowing."""
    body, found = sent(**fields)
    assert found == lost
    known = {"model", "messages", "max_completion_tokens", "tools"}
    assert set(body) <= known
    assert "user-7" not in str(body)


def test_tools_keep_their_schema_to_the_byte() -> None:
    """Protects the model's calls from another schema than the client's."""
    body, lost = sent(tools=[WEATHER])
    assert body["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "weather",
                "description": "Looks it up.",
                "parameters": {"type": "object"},
                "strict": True,
            },
        }
    ]
    assert lost == []


@pytest.mark.parametrize(
    ("choice", "told", "alone"),
    [
        (None, None, None),
        (ToolChoiceAuto(), "auto", None),
        (ToolChoiceAuto(disable_parallel_tool_use=True), "auto", False),
        (ToolChoiceAny(disable_parallel_tool_use=True), "required", False),
        (ToolChoiceTool("weather"), {"type": "function", "function": {"name": "weather"}}, None),
        (ToolChoiceNone(), "none", None),
    ],
)
def test_each_choice_among_tools_has_its_word(choice: ToolChoice | None, told: object, alone: object) -> None:
    """Protects clients that force a call, forbid it, or want one at a time."""
    body, _ = sent(tools=[WEATHER], tool_choice=choice)
    assert (body.get("tool_choice"), body.get("parallel_tool_calls")) == (told, alone)


def test_a_demanded_schema_goes_along() -> None:
    """Protects clients that parse the answer."""
    schema = msgspec.Raw(b'{"type":"json_schema","schema":{"type":"object"}}')
    body, lost = sent(output_config=OutputConfig(format=schema))
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True},
    }
    assert lost == []


def test_the_same_request_gives_the_same_bytes() -> None:
    """Protects prompt caches of the other API."""
    request = Request(model="m", max_tokens=1, messages=[HI], tools=[WEATHER])
    assert encode_request(request) == encode_request(msgspec.structs.replace(request))
