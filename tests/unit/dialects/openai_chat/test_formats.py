"""How the form of an answer is brought about."""

import msgspec
import pytest

from proxy.dialects.common import Demand
from proxy.dialects.decoding import decode_json
from proxy.dialects.openai_chat.definitions import StrictRoom
from proxy.dialects.openai_chat.formats import Format, read_format
from proxy.dialects.openai_chat.schema import ChatRequest
from proxy.model.catalog import Catalog

_CATALOG = Catalog.load()
_CLOSED = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
_OPEN = {"type": "object", "properties": {"a": {"type": "object"}}}
_MANY = {"type": "object", "properties": {str(number): {"type": "string"} for number in range(25)}}
_F = {"type": "function", "function": {"name": "f"}}


def _read(
    schema: object, *, model: str = "claude-opus-5", room: StrictRoom | None = None, **fields: object
) -> Format:
    asked = {"name": "thing", "schema": schema, **fields}
    body = {"messages": [], "response_format": {"type": "json_schema", "json_schema": asked}}
    request = decode_json(ChatRequest, msgspec.json.encode(body))
    return read_format(request, _CATALOG.facts(model), room or StrictRoom())


def test_a_schema_takes_its_room_from_the_strict_tools() -> None:
    """The upstream counts them together; without room there is another way."""
    room = StrictRoom(optional=1)
    assert _read({**_CLOSED, "required": []}, room=room).tool is None
    assert room.optional == 0
    assert _read({**_CLOSED, "required": []}, room=room).tool is not None
    assert _read(_MANY).tool is not None


def test_a_description_goes_into_the_schema() -> None:
    """There is no other place for it; the schema's own comes first."""
    for schema, words in ((_CLOSED, "d"), ({**_CLOSED, "description": "own"}, "own")):
        compiled = _read(schema, description="d").compiled
        assert isinstance(compiled, msgspec.Raw)
        assert msgspec.json.decode(compiled)["schema"]["description"] == words


@pytest.mark.parametrize(
    ("schema", "model", "way"),
    [
        (_CLOSED, "claude-opus-5", "compiled"),
        (_CLOSED, "claude-opus-5-5", "compiled"),
        (_OPEN, "claude-opus-5", "tool"),
        (_OPEN, "claude-haiku-4-5", "tool"),
        (_OPEN, "claude-opus-5-5", "words"),
        ({"type": "array", "items": {"type": "object"}}, "claude-opus-5", "words"),
        ({**_OPEN, "anyOf": [{"required": ["a"]}, {"minProperties": 1}]}, "claude-opus-5", "words"),
        (None, "claude-opus-5", "words"),
    ],
)
def test_the_strongest_way_there_is_is_taken(schema: object, model: str, way: str) -> None:
    """Compiled, then a tool the model has to call, then words, whose answer is looked at."""
    found = _read(schema, model=model)
    ways = {
        "compiled": found.compiled is not msgspec.UNSET,
        "tool": found.tool is not None,
        "words": found.sentence is not None,
    }
    assert [name for name, taken in ways.items() if taken] == [way]
    assert found.demand is (Demand.JSON if way == "words" else None)
    assert found.form.unfence is (way == "words")
    told = way != "compiled" and schema is not None
    assert [loss.field for loss in found.dropped] == (["response_format.json_schema.schema"] if told else [])


def test_a_client_with_tools_of_its_own_keeps_its_choice_of_them() -> None:
    """A tool the model has to call would take them away."""
    body = {
        "messages": [],
        "tools": [_F],
        "response_format": {"type": "json_schema", "json_schema": {"name": "t", "schema": _OPEN}},
    }
    request = decode_json(ChatRequest, msgspec.json.encode(body))
    found = read_format(request, _CATALOG.facts("claude-opus-5"), StrictRoom())
    assert (found.tool, found.sentence is not None) == (None, True)


def test_the_tool_has_a_name_the_upstream_takes() -> None:
    """A schema's name may be any text."""
    tool = _read(_OPEN, name="my thing!").tool
    assert tool is not None
    assert tool.name == "answer"
