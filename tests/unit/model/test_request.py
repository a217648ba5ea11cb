"""The canonical request encodes to what the API accepts."""

import msgspec

from proxy.model.content import TextBlock
from proxy.model.request import (
    InputMessage,
    Metadata,
    OutputConfig,
    Request,
    ThinkingAdaptive,
    ThinkingBetweenTools,
    ThinkingDisabled,
    ThinkingEnabled,
    Tool,
    ToolChoiceAuto,
    ToolChoiceTool,
)


def test_only_what_is_said_is_sent() -> None:
    """Fields at their default stay out: the API refuses what it does not know, nulls included."""
    request = Request(model="m", max_tokens=5, messages=[InputMessage("user", [TextBlock("hi")])])
    assert msgspec.json.encode(request) == (
        b'{"model":"m","max_tokens":5,"messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}]}'
    )


def test_every_field_has_the_apis_shape() -> None:
    """Each option as the API documents it."""
    request = Request(
        model="m",
        max_tokens=5,
        messages=[],
        system=[TextBlock("s")],
        stream=True,
        tools=[Tool("t", msgspec.Raw(b'{"type":"object"}'), strict=True)],
        tool_choice=ToolChoiceTool("t", disable_parallel_tool_use=True),
        thinking=ThinkingEnabled(1024),
        output_config=OutputConfig(effort="low"),
        metadata=Metadata("u"),
    )
    assert msgspec.json.decode(msgspec.json.encode(request)) == {
        "model": "m",
        "max_tokens": 5,
        "messages": [],
        "system": [{"type": "text", "text": "s"}],
        "stream": True,
        "tools": [{"name": "t", "input_schema": {"type": "object"}, "strict": True}],
        "tool_choice": {"type": "tool", "name": "t", "disable_parallel_tool_use": True},
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "output_config": {"effort": "low"},
        "metadata": {"user_id": "u"},
    }


def test_tags_of_the_small_unions() -> None:
    """Thinking modes and choices without fields are their tag alone."""
    shapes = [ThinkingAdaptive(), ThinkingDisabled(), ThinkingBetweenTools(), ToolChoiceAuto()]
    tags = [msgspec.json.decode(msgspec.json.encode(shape)) for shape in shapes]
    assert tags == [{"type": "adaptive"}, {"type": "disabled"}, {"type": "between_tools"}, {"type": "auto"}]
