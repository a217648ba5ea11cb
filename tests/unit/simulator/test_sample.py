"""Values made from JSON schemas."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.simulator.sample import Schema, sample


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "simulated"),
        ({"type": "string", "format": "date"}, "2026-01-01"),
        ({"type": "string", "format": "odd"}, "simulated"),
        ({"type": "integer"}, 1),
        ({"type": "number"}, 1),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"type": ["null", "integer"]}, 1),
        ({"type": ["null"]}, None),
        ({"type": "array", "items": {"type": "integer"}}, [1]),
        ({"type": "array"}, []),
        ({"enum": ["a", "b"]}, "a"),
        ({"const": None}, None),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, 1),
        ({"oneOf": [{"type": "boolean"}]}, True),
        ({"allOf": [{"type": "string"}, {"format": "uri"}]}, "https://example.com/"),
        ({}, {}),
        (
            {"type": "object", "properties": {"a": {"type": "integer"}, "b": True}, "required": ["a"]},
            {"a": 1},
        ),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "integer"}}}, 1),
        ({"$ref": "#/nowhere"}, {}),
    ],
)
def test_a_value_fits_its_schema(schema: Schema, value: object) -> None:
    """Tool inputs and structured answers are made of these."""
    assert sample(schema) == value


def test_a_schema_that_holds_itself_ends() -> None:
    """Recursive references are followed only so far."""
    node: Schema = {"type": "object", "properties": {"next": {"$ref": "#"}}}
    depth, value = 0, sample(node)
    while isinstance(value, dict) and value:
        depth, value = depth + 1, value["next"]
    assert 2 < depth < 12


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["object", "array", "#"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "properties", "items", "anyOf", "allOf", "$ref", "enum", "a"]), inner
        )
    ),
    max_leaves=20,
)


@given(
    st.dictionaries(st.sampled_from(["type", "properties", "items", "anyOf", "allOf", "$ref", "a"]), _json)
)
def test_any_object_is_taken_as_a_schema(schema: Schema) -> None:
    """What a client sends as a schema may be nonsense."""
    assert sample(schema) == sample(schema)
