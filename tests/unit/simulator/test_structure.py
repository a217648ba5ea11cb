"""The schemas the simulated Claude compiles."""

import msgspec
import pytest

from proxy.errors import GatewayError
from proxy.simulator.validation import read_request
from proxy.simulator.wire import MessagesRequest
from tests.unit.simulator.client import question

_HEADERS = {"anthropic-version": "2023-06-01"}
_TEXT: dict[str, object] = {"type": "string"}


def _fault(**fields: object) -> str:
    """Why a question with these fields is refused; empty where it is not."""
    try:
        read_request(msgspec.json.encode(question() | fields), MessagesRequest, _HEADERS)
    except GatewayError as error:
        return error.message
    return ""


def _closed(properties: dict[str, object] | None = None, **more: object) -> dict[str, object]:
    return {"type": "object", "properties": properties or {}, "additionalProperties": False, **more}


def _formatted(schema: object) -> dict[str, object]:
    return {"output_config": {"format": {"type": "json_schema", "schema": schema}}}


@pytest.mark.parametrize(
    "schema",
    [
        _closed(),
        _closed({"a": _TEXT, "b": {"type": ["integer", "null"]}}, required=["a"]),
        _closed({"a": {"type": "array", "items": _TEXT, "minItems": 1}}),
        _closed({"a": {"anyOf": [_TEXT, {"const": 1}]}, "b": {"enum": ["x", None]}}),
        _closed({"a": {"$ref": "#/$defs/x"}, "b": {"$ref": "#/$defs/x"}}, **{"$defs": {"x": _closed()}}),
        _closed({"a": {"type": "string", "format": "date"}}),
    ],
)
def test_what_compiles_is_taken(schema: dict[str, object]) -> None:
    """Protects the gateway's tests from a simulator stricter than the real API."""
    assert _fault(**_formatted(schema)) == ""
    assert _fault(tools=[{"name": "a", "input_schema": schema, "strict": True}]) == ""


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "object"}, "'additionalProperties' must be explicitly set to false"),
        (_closed({"a": {"type": "object"}}), "'additionalProperties' must be explicitly set to false"),
        (_closed({"a": {"type": "integer", "minimum": 1}}), "properties minimum are not supported"),
        (_closed({"a": {"type": "string", "maxLength": 1}}), "properties maxLength are not supported"),
        (_closed({"a": {"type": "array", "items": _TEXT, "maxItems": 1}}), "maxItems are not supported"),
        (_closed({"a": {"type": "array", "items": _TEXT, "minItems": 2}}), "other than 0 or 1"),
        (_closed({"a": {"oneOf": [_TEXT]}}), "oneOf is not supported"),
        (_closed({"a": {"type": "string", "format": "color"}}), "String format 'color'"),
        (_closed({"a": {"enum": [{}]}}), "Enum values"),
        (_closed({"a": {}}), "every part"),
        (_closed({"a": True}), "every part"),
        (_closed({"a": {"$ref": "https://h/x"}}), "cannot be resolved"),
        (_closed({"a": {"$ref": "#/$defs/x"}}), "cannot be resolved"),
        (
            _closed({"a": {"$ref": "#/$defs/x"}}, **{"$defs": {"x": _closed({"b": {"$ref": "#/$defs/x"}})}}),
            "recursive",
        ),
        (
            _closed({"a": {"allOf": [{"$ref": "#/$defs/x"}]}}, **{"$defs": {"x": _closed()}}),
            "allOf with $ref",
        ),
        (_closed({str(number): _TEXT for number in range(25)}), "too complex"),
        (
            _closed(
                {str(number): {"type": ["string", "null"]} for number in range(17)},
                required=[str(number) for number in range(17)],
            ),
            "too complex",
        ),
    ],
)
def test_what_does_not_compile_is_refused(schema: dict[str, object], words: str) -> None:
    """As a form of the answer and as a strict tool; a tool that is not strict is not compiled."""
    assert words in _fault(**_formatted(schema))
    assert words in _fault(tools=[{"name": "a", "input_schema": schema, "strict": True}])
    assert _fault(tools=[{"name": "a", "input_schema": schema}]) == ""


def test_other_forms_and_too_many_strict_tools_are_refused() -> None:
    """Nothing but a schema gives an answer its form, and never together with the beginning of one."""
    assert "should be 'json_schema'" in _fault(output_config={"format": {"type": "json_object"}})
    tools = [{"name": f"t{n}", "input_schema": _closed(), "strict": True} for n in range(21)]
    assert "at most 20 strict tools" in _fault(tools=tools)
    begun = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "{"}]
    assert "prefill" in _fault(model="claude-haiku-4-5", messages=begun, **_formatted(_closed()))
    assert _fault(model="claude-haiku-4-5", messages=begun) == ""
