"""Schemas cut to what the Messages API compiles."""

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.json_schema import SchemaBeyond, input_schema, strict_schema
from proxy.errors import GatewayError
from proxy.simulator.validation import read_request
from proxy.simulator.wire import MessagesRequest
from tests.unit.simulator.client import question

_TEXT: dict[str, object] = {"type": "string"}
_HEADERS = {"anthropic-version": "2023-06-01"}


def _object(properties: dict[str, object] | None = None, **more: object) -> dict[str, object]:
    return {"type": "object", "properties": properties or {}, **more}


def _closed(properties: dict[str, object] | None = None, **more: object) -> dict[str, object]:
    return {**_object(properties), **more, "additionalProperties": False}


def _strict(schema: object) -> object:
    return msgspec.json.decode(strict_schema(msgspec.json.encode(schema)).schema)


@pytest.mark.parametrize(
    ("schema", "cut"),
    [
        (_object(), _closed()),
        ({"properties": {"a": _TEXT}}, {"properties": {"a": _TEXT}, "type": "object", "additionalProperties": False}),
        (_object(additionalProperties=True), _closed()),
        (_object() | {"$schema": "x", "$id": "y", "examples": [1]}, _closed()),
        (
            _object({"a": {"type": "integer", "minimum": 1, "description": "A count."}}),
            _closed({"a": {"type": "integer", "description": "A count. (minimum: 1)"}}),
        ),
        (
            _object({"a": {"type": "string", "minLength": 1, "maxLength": 9}}),
            _closed({"a": {"type": "string", "description": "(minLength: 1; maxLength: 9)"}}),
        ),
        (
            _object({"a": {"type": "array", "items": _TEXT, "minItems": 1}}),
            _closed({"a": {"type": "array", "items": _TEXT, "minItems": 1}}),
        ),
        (
            _object({"a": {"type": "array", "items": _TEXT, "minItems": 2}}),
            _closed({"a": {"type": "array", "items": _TEXT, "description": "(minItems: 2)"}}),
        ),
        (_object({"a": {"oneOf": [_TEXT, {"type": "null"}]}}), _closed({"a": {"anyOf": [_TEXT, {"type": "null"}]}})),
        (
            _object({"a": {"type": "string", "format": "date", "pattern": "^a(?:b)$"}}),
            _closed({"a": {"type": "string", "format": "date", "pattern": "^a(?:b)$"}}),
        ),
        (
            _object({"a": {"type": "string", "format": "color", "pattern": "(?=a)"}}),
            _closed({"a": {"type": "string", "description": '(format: "color"; pattern: "(?=a)")'}}),
        ),
        (
            _object({"a": {"$ref": "#/definitions/x"}}, definitions={"x": _object()}),
            _closed({"a": {"$ref": "#/$defs/x"}}, **{"$defs": {"x": _closed()}}),
        ),
        (
            _object({"a": {"allOf": [{"$ref": "#/$defs/x"}], "description": "d"}}, **{"$defs": {"x": _TEXT}}),
            _closed({"a": {"description": "d", "$ref": "#/$defs/x"}}, **{"$defs": {"x": _TEXT}}),
        ),
        (
            {"allOf": [_object({"a": _TEXT}, required=["a"]), _object({"b": _TEXT}, required=["b"])]},
            _closed({"a": _TEXT, "b": _TEXT}, required=["a", "b"]),
        ),
        (
            {
                "title": "t", "required": ["b"], "allOf": [
                    _object({"a": _TEXT}, required=["a", "b"], title="u"), _object({"b": _TEXT}, required=["b"]),
                    _object({"c": _TEXT}, required=["c", "a"]),
                ]
            },
            _closed({"a": _TEXT, "b": _TEXT, "c": _TEXT}, title="t", required=["b", "a", "c"]),
        ),
        (
            _object({"a": {"enum": ["x", 1, None]}, "b": {"const": 1}}),
            _closed({"a": {"enum": ["x", 1, None]}, "b": {"const": 1}}),
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_compiled_is_told_in_words(schema: object, cut: object) -> None:
    """The rest stays, key by key; the same schema gives the same bytes."""
    assert _strict(schema) == cut
    encoded = msgspec.json.encode(schema)
    assert strict_schema(encoded).schema == strict_schema(encoded).schema


@pytest.mark.parametrize(
    "schema",
    [
        1,
        True,
        {},
        {"type": "object"},
        {"type": "thing"},
        {"type": []},
        _object({"a": True}),
        _object({"a": {}}),
        _object({"a": {"description": "anything"}}),
        _object({"a": {"type": "object", "additionalProperties": _TEXT}}),
        _object({"a": {"type": "array", "items": [_TEXT]}}),
        _object({"a": {"type": ["array", "null"]}}),
        _object({"a": {"anyOf": []}}),
        _object({"a": {"anyOf": [_TEXT], "oneOf": [_TEXT]}}),
        _object({"a": {"enum": [[1]]}}),
        _object({"a": {"enum": 1}}),
        _object({"a": {"const": {}}}),
        _object({"a": {"$ref": "#"}}),
        _object({"a": {"$ref": "https://h/x"}}),
        _object({"a": {"$ref": "#/$defs/x"}}),
        _object({"a": {"$ref": 1}}),
        _object({"a": {"$ref": "#/$defs/x"}}, **{"$defs": {"x": _object({"b": {"$ref": "#/$defs/x"}})}}),
        _object({"a": {"allOf": [{"$ref": "#/$defs/x"}, _object()]}}, **{"$defs": {"x": _object()}}),
        _object({"a": {"allOf": [_TEXT, {"type": "integer"}]}}),
        _object({"a": {"allOf": 1}}),
        _object({"a": {"allOf": [_object({"b": _TEXT}), _object({"c": _TEXT}), _object({"b": _TEXT})]}}),
        _object({"a": {"allOf": [_object({"b": _TEXT}, required=[["b"]]), _object(required=["b"])]}}),
        _object({"a": {"allOf": [_object({"b": _TEXT}, required=["b"]), _object(required=[["b"]])]}}),
        _object(properties=1),  # type: ignore[arg-type]  # a mistake of the client's
    ],
)
def test_what_would_mean_something_else_is_not_cut(schema: object) -> None:
    """Objects of any properties, recursion, values that are no scalars: another way has to be found."""
    with pytest.raises(SchemaBeyond):
        strict_schema(msgspec.json.encode(schema))


@pytest.mark.parametrize("text", [b"[", b"\xff", b'{"properties":{"a":' + b'{"items":' * 100_000])
def test_what_is_no_json_is_not_cut_either(text: bytes) -> None:
    """A clean refusal, whatever a client sends."""
    with pytest.raises(SchemaBeyond):
        strict_schema(text)


def test_definitions_are_looked_at_once_each() -> None:
    """Protects against a schema of a few bytes that would take for ever."""
    definitions: dict[str, object] = {
        f"d{n}": _object({"a": {"$ref": f"#/$defs/d{n + 1}"}, "b": {"$ref": f"#/$defs/d{n + 1}"}})
        for n in range(100)
    }
    definitions["d100"] = _TEXT
    whole = _object({"a": {"$ref": "#/$defs/d0"}}, **{"$defs": definitions})
    assert strict_schema(msgspec.json.encode(whole)).optional == 201


def test_what_the_upstream_counts_is_counted() -> None:
    """Optional properties and unions have limits over all schemas of a request."""
    found = strict_schema(
        msgspec.json.encode(
            _object(
                {
                    "a": _TEXT,
                    "b": {"type": ["string", "null"]},
                    "c": {"anyOf": [_TEXT, _object({"d": _TEXT})]},
                },
                required=["a"],
            )
        )
    )
    assert (found.optional, found.unions) == (3, 2)


_NAMES = st.sampled_from("abc")
_SCHEMAS: st.SearchStrategy[dict[str, object]] = st.recursive(
    st.one_of(
        st.just({"type": "string", "minLength": 1}),
        st.just({"type": "integer", "maximum": 3}),
        st.just({"type": ["number", "null"]}),
        st.just({"enum": ["a", None]}),
        st.just({"$ref": "#/$defs/d"}),
    ),
    lambda inner: st.one_of(
        st.dictionaries(_NAMES, inner, max_size=3).map(_object),
        inner.map(lambda one: {"type": "array", "items": one, "maxItems": 4}),
        st.lists(inner, min_size=1, max_size=2).map(lambda some: {"oneOf": some}),
        st.dictionaries(_NAMES, inner, max_size=2).map(lambda some: {"allOf": [_object(some)]}),
    ),
    max_leaves=6,
)


def _refusal(body: bytes) -> str:
    try:
        read_request(body, MessagesRequest, _HEADERS)
    except GatewayError as error:
        return error.message
    return ""


@given(_SCHEMAS)
def test_the_upstream_takes_what_was_cut(schema: dict[str, object]) -> None:
    """Judged by the simulated Claude, which knows nothing of how schemas are cut here."""
    whole = _object({"root": schema}, **{"$defs": {"d": {"type": "string", "format": "color"}}})
    body = question() | {"output_config": {"format": {"type": "json_schema", "schema": _strict(whole)}}}
    assert _refusal(msgspec.json.encode(body)) in {"", "Schema is too complex for compilation."}


_KEYWORDS = (
    "type", "properties", "required", "items", "anyOf", "oneOf", "allOf", "$ref", "$defs", "enum", "const", "format",
    "minItems", "pattern", "a",
)  # fmt: skip
_ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2) | st.sampled_from(["object", "array", "a", "date"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(_KEYWORDS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(_ANY_JSON)
def test_any_json_is_cut_or_refused(schema: object) -> None:
    """Whatever a client takes for a schema."""
    with contextlib.suppress(SchemaBeyond):
        strict_schema(msgspec.json.encode(schema))
    if isinstance(schema, dict):
        with contextlib.suppress(SchemaBeyond):
            _input(schema)


def _input(schema: dict[str, object]) -> object:
    fields = {key: msgspec.Raw(msgspec.json.encode(value)) for key, value in schema.items()}
    return msgspec.json.decode(input_schema(fields).schema)


@pytest.mark.parametrize(
    ("schema", "flat"),
    [
        (_object({"a": _TEXT}, allowed=1), _object({"a": _TEXT}, allowed=1)),
        ({"type": ["object", "null"], "properties": {}}, {"type": "object", "properties": {}}),
        (
            {
                "anyOf": [
                    _object({"a": _TEXT, "b": _TEXT}, required=["a", "b"]),
                    _object({"a": {"type": "null"}}, required=["a"]),
                ]
            },
            _object({"a": {"anyOf": [_TEXT, {"type": "null"}]}, "b": _TEXT}, required=["a"]),
        ),
        (
            _object({"x": _TEXT}, required=["x"], allOf=[_object({"a": _TEXT}, required=["a"]), _object({"b": _TEXT})]),
            _object({"x": _TEXT, "a": _TEXT, "b": _TEXT}, required=["x", "a"]),
        ),
        (
            _object(oneOf=[{"$ref": "#/$defs/x"}], description="d"),
            _object(description='d (oneOf: [{"$ref":"#/$defs/x"}])'),
        ),
        (_object(anyOf=1), _object(description="(anyOf: 1)")),
    ],
)  # fmt: skip
def test_the_input_of_a_tool_is_an_object_without_alternatives(
    schema: dict[str, object], flat: object
) -> None:
    """The upstream refuses any other."""
    assert _input(schema) == flat


@pytest.mark.parametrize("schema", [{"type": "string"}, {"type": ["array"], "items": {}}, {"type": 1}])
def test_the_input_of_a_tool_is_nothing_else(schema: dict[str, object]) -> None:
    """A mistake of the client's, to be named."""
    with pytest.raises(SchemaBeyond):
        _input(schema)
