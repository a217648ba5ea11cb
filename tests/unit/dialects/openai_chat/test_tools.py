"""Tool definitions and the choice among them."""

import msgspec
import pytest

from proxy.dialects.common import Dropped
from proxy.dialects.decoding import decode_json
from proxy.dialects.openai_chat.definitions import StrictRoom
from proxy.dialects.openai_chat.schema import ChatRequest
from proxy.dialects.openai_chat.tools import Tooling, read_tools
from proxy.errors import InvalidRequest
from proxy.model.catalog import Catalog
from proxy.model.content import ToolUseBlock
from proxy.model.request import (
    InputMessage,
    Tool,
    ToolChoice,
    ToolChoiceAny,
    ToolChoiceAuto,
    ToolChoiceNone,
    ToolChoiceTool,
)

_CATALOG = Catalog.load()


_F = {"type": "function", "function": {"name": "f"}}


def _read(model: str = "claude-opus-5", turns: tuple[InputMessage, ...] = (), **fields: object) -> Tooling:
    request = decode_json(ChatRequest, msgspec.json.encode({"messages": [], **fields}))
    return read_tools(request, turns, _CATALOG.facts(model), StrictRoom())


@pytest.mark.parametrize(
    ("given", "parallel", "choice"),
    [
        (None, None, None),
        (None, True, None),
        (None, False, ToolChoiceAuto(disable_parallel_tool_use=True)),
        ("auto", None, ToolChoiceAuto()),
        ("none", False, ToolChoiceNone()),
        ("required", None, ToolChoiceAny()),
        ("required", False, ToolChoiceAny(disable_parallel_tool_use=True)),
        (_F, None, ToolChoiceTool("f")),
        (_F, False, ToolChoiceTool("f", disable_parallel_tool_use=True)),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}, None, ToolChoiceAuto()),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": []}},
            None,
            ToolChoiceAny(),
        ),
    ],
)
def test_choices(given: object, parallel: bool | None, choice: ToolChoice | None) -> None:
    """Each way to choose, and one call at a time."""
    assert _read(tools=[_F], tool_choice=given, parallel_tool_calls=parallel).choice == choice


@pytest.mark.parametrize(
    ("given", "wish"),
    [
        ("auto", None),
        ("required", "Answer by calling at least one of your tools."),
        (_F, "Answer by calling the tool f."),
    ],
)
def test_models_that_cannot_be_forced_are_asked(given: object, wish: str | None) -> None:
    """In words, and the client is told."""
    tooling = _read("claude-opus-5-5", tools=[_F], tool_choice=given)
    assert (tooling.choice, tooling.wish, tooling.forced) == (ToolChoiceAuto(), wish, False)
    assert [loss.field for loss in tooling.dropped] == (["tool_choice"] if wish else [])
    assert _read(tools=[_F], tool_choice=given).forced is (wish is not None)


def test_a_history_with_calls_brings_its_tools() -> None:
    """The upstream takes such a history only together with tools of these names; none may be called."""
    calls = [ToolUseBlock(str(i), name, msgspec.Raw(b"{}")) for i, name in enumerate(["b", "a", "b"])]
    tooling = _read(turns=(InputMessage("assistant", [*calls]),))
    assert [tool.name for tool in tooling.tools if isinstance(tool, Tool)] == ["b", "a"]
    assert tooling.choice == ToolChoiceNone()
    assert _read() == Tooling([], None, None, [])
    assert _read(tool_choice="auto", parallel_tool_calls=False).choice is None


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [_F], "tool_choice": "perhaps"}, "tool_choice"),
        ({"tools": [_F], "tool_choice": {"type": "function"}}, "tool_choice"),
        (
            {"tools": [_F], "tool_choice": {"type": "function", "function": {"name": "g"}}},
            "tool_choice.function.name",
        ),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": _F, "tools": []}, "tool_choice"),
    ],
)
def test_mistakes_are_named(fields: dict[str, object], param: str) -> None:
    """With the path of the field."""
    with pytest.raises(InvalidRequest) as caught:
        _read(**fields)  # type: ignore[arg-type]  # fields of a request
    assert caught.value.param == param


def test_losses_have_reasons() -> None:
    """For the log."""
    (loss,) = _read("claude-sonnet-5-5", tools=[_F], tool_choice="required").dropped
    assert loss == Dropped("tool_choice", "the model cannot be forced; asked in words")
