"""The shape the text has to have."""

import msgspec
import pytest

from proxy.dialects.json_text import JSON_WISH
from proxy.errors import InvalidRequest
from tests.unit.dialects.openai_responses.building import asked, dropped, sent, translated

_SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


def _format(**fields: object) -> dict[str, object]:
    return {"text": {"format": fields}}


def test_a_schema_compels_the_model() -> None:
    """Protects structured answers: the schema is closed, and the format's description goes into it."""
    body = sent(**_format(type="json_schema", name="n", strict=True, schema=_SCHEMA, description="Says a."))
    expected = {**_SCHEMA, "description": "Says a.", "additionalProperties": False}
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": expected}}
    assert dropped(**_format(type="json_schema", name="n", schema=_SCHEMA)) == []


def test_a_schema_and_an_effort_go_together() -> None:
    """Protects either from the other."""
    fields = _format(type="json_schema", name="n", schema=_SCHEMA) | {"reasoning": {"effort": "low"}}
    config = msgspec.convert(sent(**fields)["output_config"], dict[str, object])
    assert config["effort"] == "low"
    assert "format" in config


def test_a_schema_that_cannot_be_compiled_is_asked_for_in_words_and_told() -> None:
    """Protects users of open schemas: the model still knows what is wanted, and they know it was only asked."""
    fields = _format(type="json_schema", name="n", schema={"type": "object"})
    (wish,) = msgspec.convert(sent(**fields)["system"], list[dict[str, str]])
    assert wish["text"].startswith(JSON_WISH)
    assert '{"type":"object"}' in wish["text"]
    assert "output_config" not in sent(**fields)
    assert dropped(**fields) == ["text.format.schema"]


def test_json_without_a_schema_is_asked_for_in_words() -> None:
    """Protects JSON mode, which the upstream has not; other instructions come first."""
    body = sent(instructions="Be kind.", **_format(type="json_object"))
    assert body["system"] == [{"type": "text", "text": "Be kind."}, {"type": "text", "text": JSON_WISH}]
    assert asked(**_format(type="json_object"))._understood.fenced


@pytest.mark.parametrize("text", [None, {}, {"format": None}, {"format": {"type": "text"}}])
def test_plain_text_asks_for_nothing(text: object) -> None:
    """Protects ordinary requests from sentences nobody asked for."""
    body = sent(text=text)
    assert not body.keys() & {"system", "output_config"}
    assert not asked(text=text)._understood.fenced


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"type": "xml"}, "text.format.type"),
        ({"type": "json_schema", "name": "n"}, "text.format.schema"),
        ({"type": "json_schema", "name": "n", "schema": None}, "text.format.schema"),
        ({"type": "json_schema", "name": "n", "schema": [1]}, "text.format.schema"),
        ({"type": 1}, "text.format.type"),
    ],
    ids=str,
)
def test_a_format_that_cannot_be_is_named(fields: dict[str, object], param: str) -> None:
    """Protects users from an answer in no format at all."""
    with pytest.raises(InvalidRequest) as caught:
        translated(**_format(**fields))
    assert caught.value.param == param
