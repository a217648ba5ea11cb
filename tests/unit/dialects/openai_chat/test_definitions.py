"""Tool definitions."""

import msgspec
import pytest

from proxy.dialects.decoding import decode_json
from proxy.dialects.openai_chat.definitions import Definitions, StrictRoom, read_definitions
from proxy.dialects.openai_chat.schema import ChatRequest
from proxy.errors import InvalidRequest
from proxy.model.content import CacheControl
from proxy.model.request import Tool

_F = {"type": "function", "function": {"name": "f"}}
_STRICT = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}


def _read(**fields: object) -> Definitions:
    request = decode_json(ChatRequest, msgspec.json.encode({"messages": [], **fields}))
    return read_definitions(request, StrictRoom())


def _tool(**function: object) -> Tool:
    (tool,) = _read(tools=[{"type": "function", "function": {"name": "f", **function}}]).tools
    return tool


@pytest.mark.parametrize(
    ("parameters", "schema"),
    [
        (None, b'{"type":"object","properties":{}}'),
        ({}, b'{"type":"object","properties":{}}'),
        ({"properties": {"b": {}, "a": {}}}, b'{"type":"object","properties":{"b":{},"a":{}}}'),
        ({"type": "object", "z": 1, "a": 2}, b'{"type":"object","z":1,"a":2}'),
    ],
)
def test_schemas_are_objects(parameters: object, schema: bytes) -> None:
    """The upstream demands a type at the top; the order of keys stays."""
    tool = _tool(parameters=parameters, description="d")
    assert (bytes(tool.input_schema), tool.description) == (schema, "d")


@pytest.mark.parametrize(
    ("schema", "compiled"),
    [
        (_STRICT, _STRICT),
        ({"type": "object"}, None),
        ({"type": "object", "properties": {"a": {"type": "string", "minLength": 1}}},
         {"type": "object", "properties": {"a": {"type": "string", "description": "(minLength: 1)"}},
          "additionalProperties": False}),
        (_STRICT | {"properties": {"a": {"type": "object", "additionalProperties": {"type": "string"}}}}, None),
    ],
)  # fmt: skip
def test_strict_tools_have_schemas_that_compile(
    schema: dict[str, object], compiled: dict[str, object] | None
) -> None:
    """Else the upstream would refuse the whole request; where the schema would mean something else, it is plain."""
    found = _read(
        tools=[{"type": "function", "function": {"name": "f", "strict": True, "parameters": schema}}]
    )
    (tool,) = found.tools
    assert tool.strict is (None if compiled is None else True)
    assert msgspec.json.decode(tool.input_schema) == (compiled or schema)
    assert [loss.field for loss in found.dropped] == ([] if compiled else ["tools[0].function.strict"])


def _strict_tools(count: int, schema: object) -> list[object]:
    return [
        {"type": "function", "function": {"name": f"f{i}", "strict": True, "parameters": schema}}
        for i in range(count)
    ]


@pytest.mark.parametrize(
    ("schema", "count", "strict"),
    [
        (_STRICT | {"required": ["a"]}, 22, 20),
        (_STRICT | {"properties": {name: {"type": "string"} for name in "abcdefgh"}}, 5, 3),
        (_STRICT | {"properties": {n: {"type": ["string", "null"]} for n in "abcd"}, "required": list("abcd")}, 6, 4),
    ],
)  # fmt: skip
def test_no_more_is_strict_than_the_upstream_takes(schema: object, count: int, strict: int) -> None:
    """Twenty tools, 24 optional properties and 16 unions in all; the others are plain, and the client is told."""
    found = _read(tools=_strict_tools(count, schema))
    assert [tool.strict for tool in found.tools] == [True] * strict + [None] * (count - strict)
    assert len(found.dropped) == count - strict


def test_alternatives_at_the_top_of_a_schema_are_told_in_words() -> None:
    """The upstream refuses them there; the client learns of the loss."""
    schema = {"type": "object", "properties": {}, "anyOf": [{"required": ["a"], "minProperties": 1}]}
    found = _read(tools=[{"type": "function", "function": {"name": "f", "parameters": schema}}])
    assert [loss.field for loss in found.dropped] == ["tools[0].function.parameters.anyOf"]
    assert b"anyOf: [{" in bytes(found.tools[0].input_schema)


def test_custom_tools_take_one_text() -> None:
    """With the grammar in words, for nothing compels the model to keep to it."""
    grammar = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: WORD"}}
    found = _read(
        tools=[
            {"type": "custom", "custom": {"name": "a", "description": "Runs it."}},
            {"type": "custom", "custom": {"name": "b", "description": "Runs it.", "format": grammar}},
            {"type": "custom", "custom": {"name": "c", "format": grammar}},
        ]
    )
    words = "The input has to follow this lark grammar:\nstart: WORD"
    assert [tool.description for tool in found.tools] == ["Runs it.", f"Runs it.\n{words}", words]
    assert found.custom == {"a", "b", "c"}
    assert msgspec.json.decode(found.tools[0].input_schema)["required"] == ["input"]


def test_functions_of_the_old_style_are_tools() -> None:
    """The same definition under its older name."""
    functions = [{"name": "f", "description": "d", "parameters": {"type": "object"}}]
    old, new = _read(functions=functions), _read(tools=[{"type": "function", "function": functions[0]}])
    assert old == new


def test_a_tools_mark_goes_with_it() -> None:
    """Clients mark the last tool to have all of them cached."""
    marked = {"cache_control": {"type": "ephemeral"}}
    custom = {"type": "custom", "custom": {"name": "g"}}
    tools = _read(tools=[_F | marked, custom | marked]).tools
    assert [tool.cache_control for tool in tools] == [CacheControl("ephemeral")] * 2


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "mcp"}]}, "tools[0].type"),
        ({"tools": [{"type": "custom"}]}, "tools[0].custom"),
        ({"tools": [{"type": "custom", "custom": {"name": "a b"}}]}, "tools[0].custom.name"),
        ({"tools": [_F, {"type": "function"}]}, "tools[1].function"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "x" * 65}}]}, "tools[0].function.name"),
        ({"tools": [_F, _F]}, "tools[1].function.name"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "string"}}}]},
            "tools[0].function.parameters",
        ),
        ({"functions": [{"name": "f"}, {"name": "f"}]}, "functions[1].name"),
        ({"functions": [{"name": "a b"}]}, "functions[0].name"),
        ({"functions": [{"name": "f"}], "tools": [_F]}, "functions"),
    ],
)
def test_mistakes_are_named(fields: dict[str, object], param: str) -> None:
    """With the path of the field."""
    with pytest.raises(InvalidRequest) as caught:
        _read(**fields)
    assert caught.value.param == param
