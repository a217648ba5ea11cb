"""Tools: functions, text tools and namespaces, and the way back from a called name."""

import msgspec
import pytest

from proxy.dialects.openai_responses.schema import NamedChoice, ResponsesRequest
from proxy.dialects.openai_responses.tools import CalledTool, chat_choice, flat_name, read_toolbox
from proxy.errors import InvalidRequest
from tests.unit.dialects.openai_responses.building import call, dropped, sent, translated

_FUNCTION = {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}}
_TEXT = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}


def _request(*tools: object) -> ResponsesRequest:
    return msgspec.convert(
        {"tools": [msgspec.Raw(msgspec.json.encode(tool)) for tool in tools]}, ResponsesRequest
    )


def _tools(*tools: object) -> list[dict[str, object]]:
    return msgspec.convert(sent(tools=list(tools))["tools"], list[dict[str, object]])


def test_a_function_is_a_tool() -> None:
    """Protects name, description and schema; no parameters are an object without any."""
    bare = {"type": "function", "name": "g", "parameters": None}
    assert _tools(_FUNCTION, bare) == [
        {"name": "f", "description": "d", "input_schema": {"type": "object"}},
        {"name": "g", "input_schema": {"type": "object", "properties": {}}},
    ]


def test_a_strict_function_stays_strict_where_its_schema_can_be() -> None:
    """Protects schemas from being promised and not kept: the loss is told by the client's own path."""
    fits = {
        **_FUNCTION,
        "strict": True,
        "parameters": {"type": "object", "properties": {}, "additionalProperties": False},
    }
    open_ended = {**_FUNCTION, "name": "g", "strict": True}
    assert [tool.get("strict") for tool in _tools(fits, open_ended)] == [True, None]
    assert dropped(tools=[fits, open_ended]) == ["tools[1].strict"]


def test_a_text_tool_is_a_function_of_one_text() -> None:
    """Protects tools such as a patch, whose input is no JSON; the grammar is told in words."""
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /a/"}
    (tool,) = _tools({"type": "custom", "name": "patch", "description": "Patches.", "format": grammar})
    assert tool["input_schema"] == {**_TEXT, "additionalProperties": False}
    assert str(tool["description"]).startswith("Patches.\n")
    assert "start: /a/" in str(tool["description"])
    (plain,) = _tools({"type": "custom", "name": "say", "format": {"type": "text"}})
    assert "description" not in plain


def test_a_namespace_becomes_functions_that_are_known_again() -> None:
    """Protects programs that send their tools in groups."""
    inner = [_FUNCTION, {"type": "custom", "name": "c"}]
    box = read_toolbox(_request({"type": "namespace", "name": "n", "tools": inner}, _FUNCTION), lenient=False)
    named = [tool.function or tool.custom for tool in box.definitions]
    names = [tool.name for tool in named if tool is not None]
    assert names == ["n__f", "n__c", "f"]
    assert box.called == {"n__f": CalledTool("f", "n"), "n__c": CalledTool("c", "n", custom=True)}
    assert box.paths == ["tools[0].tools[0]", "tools[0].tools[1]", "tools[1]"]


def test_a_long_name_is_shortened_always_in_the_same_way() -> None:
    """Protects namespaces of long names: the upstream takes 64 characters, and two names stay two."""
    one, other = flat_name("n" * 40, "f" * 40), flat_name("n" * 40, "f" * 39 + "g")
    assert len(one) == len(other) == 64
    assert one != other
    assert one == flat_name("n" * 40, "f" * 40)
    assert flat_name(None, "f" * 80) == "f" * 80
    assert flat_name("n" * 31, "f" * 31) == f"{'n' * 31}__{'f' * 31}"


@pytest.mark.parametrize(
    "kind", ["file_search", "code_interpreter", "mcp", "local_shell", "shell", "apply_patch"]
)
def test_tools_of_openais_own_are_refused_but_for_programs_that_always_send_them(kind: str) -> None:
    """Protects users from a tool that is never called, and such programs from being unusable."""
    with pytest.raises(InvalidRequest) as caught:
        translated(tools=[_FUNCTION, {"type": kind}])
    assert (caught.value.param, caught.value.code) == ("tools[1].type", "unsupported_value")
    assert dropped(call(lenient=True), tools=[_FUNCTION, {"type": kind}]) == ["tools[1]"]


@pytest.mark.parametrize("kind", ["web_search", "web_search_preview", "web_search_2025_08_26"])
def test_web_search_is_left_out_and_told(kind: str) -> None:
    """Protects programs that offer it with every request."""
    assert dropped(tools=[{"type": kind}]) == ["tools[0]"]
    assert "tools" not in sent(tools=[{"type": kind}])


@pytest.mark.parametrize(
    ("tools", "param"),
    [
        ([{"type": "function"}], "tools[0].name"),
        ([{"type": "web_search"}, {"type": "function", "name": "a b"}], "tools[1].name"),
        ([{"type": "namespace", "tools": []}], "tools[0].name"),
        ([{"type": "namespace", "name": "n", "tools": [{"type": "function"}]}], "tools[0].tools[0].name"),
        (
            [{"type": "namespace", "name": "n", "tools": [{"type": "namespace", "name": "m"}]}],
            "tools[0].tools[0].type",
        ),
        ([{"name": "f"}], "tools[0].type"),
        ([{"type": "function", "name": "f", "parameters": 1}], "tools[0].parameters"),
        ([{"type": "custom", "name": "c", "format": {"definition": 1}}], "tools[0].format.definition"),
        ([_FUNCTION, {"type": "custom", "name": "f"}], "tools[1].name"),
        ([_FUNCTION, {"type": "custom", "name": "a b"}], "tools[1].name"),
    ],
    ids=str,
)
def test_a_tool_that_cannot_be_is_named_by_its_place(tools: list[object], param: str) -> None:
    """Protects users with many tools from guessing which one it was."""
    with pytest.raises(InvalidRequest) as caught:
        translated(tools=tools)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("choice", "upstream"),
    [
        (None, None),
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        ({"type": "function", "name": "f"}, {"type": "tool", "name": "f"}),
        ({"type": "custom", "name": "c"}, {"type": "tool", "name": "c"}),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
            {"type": "auto"},
        ),
        ({"type": "allowed_tools", "mode": "required", "tools": []}, {"type": "any"}),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "custom", "name": "c"}]},
            {"type": "tool", "name": "c"},
        ),
    ],
    ids=str,
)
def test_every_tool_choice_is_carried(choice: object, upstream: object) -> None:
    """Protects each form of it on a model that can be forced."""
    fields = {"tools": [_FUNCTION, {"type": "custom", "name": "c"}], "tool_choice": choice}
    assert sent("claude-opus-5", **fields).get("tool_choice") == upstream


@pytest.mark.parametrize(
    ("choice", "param"),
    [
        ("sometimes", "tool_choice"),
        ({"type": "function", "name": "g"}, "tool_choice.name"),
        ({"type": "file_search"}, "tool_choice"),
        ({"type": "function"}, "tool_choice"),
        ({"type": "custom", "name": "g"}, "tool_choice.name"),
        (
            {"type": "allowed_tools", "tools": [{"type": "function", "name": "g"}]},
            "tool_choice.tools",
        ),
        ({"type": "allowed_tools", "tools": [1]}, "tool_choice.tools[0]"),
    ],
    ids=str,
)
def test_a_choice_of_nothing_is_refused(choice: object, param: str) -> None:
    """Protects against a choice nobody understands."""
    with pytest.raises(InvalidRequest) as caught:
        translated("claude-opus-5", tools=[_FUNCTION], tool_choice=choice)
    assert caught.value.param == param


def test_a_choice_in_a_namespace_names_the_flat_tool() -> None:
    """Protects choices among grouped tools."""
    found = chat_choice(NamedChoice("function", "f", "n"))
    assert not isinstance(found, str)
    assert found is not None
    assert found.function is not None
    assert found.function.name == "n__f"


def test_some_of_the_tools_are_named_in_words_and_that_is_told() -> None:
    """Protects a choice among some: all stay offered, for the cache's sake, and those of a group are known again."""
    group = {"type": "namespace", "name": "n", "tools": [_FUNCTION]}
    among = [{"type": "function", "name": "f", "namespace": "n"}, {"type": "web_search"}]
    fields = {"tools": [_FUNCTION, group], "tool_choice": {"type": "allowed_tools", "tools": among}}
    assert "n__f." in str(sent("claude-opus-5", **fields)["messages"])
    assert dropped(**fields) == ["tool_choice.tools"]


def test_calls_come_one_at_a_time_when_parallel_ones_are_forbidden() -> None:
    """Protects ``parallel_tool_calls``."""
    choice = sent(tools=[_FUNCTION], parallel_tool_calls=False)["tool_choice"]
    assert choice == {"type": "auto", "disable_parallel_tool_use": True}
