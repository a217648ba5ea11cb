"""The shape the text has to have: ``text.format``.

Source: "Structured outputs" in OpenAI's documentation and in Anthropic's.
"""

from dataclasses import dataclass

import msgspec

from proxy.dialects.common import Dropped
from proxy.dialects.decoding import Anything, is_given
from proxy.dialects.json_schema import SchemaBeyond, strict_schema
from proxy.dialects.json_text import JSON_WISH
from proxy.dialects.openai_responses.schema import ResponsesRequest, TextFormat
from proxy.errors import InvalidRequest


class _Compiled(msgspec.Struct):
    schema: msgspec.Raw
    type: str = "json_schema"


@dataclass(frozen=True, slots=True)
class Format:
    """What is asked for, and how.

    Attributes:
        compiled: ``output_config.format``; unset where nothing compels the model.
        wish: a sentence that asks for JSON in words; the answer may then come in a code fence.
        dropped: what was lost.
    """

    compiled: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    wish: str | None = None
    dropped: tuple[Dropped, ...] = ()


def read_format(request: ResponsesRequest) -> Format:
    """The format of the text. Raises InvalidRequest naming the field."""
    wanted = request.text.format if request.text is not None else None
    match wanted:
        case None | TextFormat(type="text"):
            return Format()
        case TextFormat(type="json_object"):
            return Format(wish=JSON_WISH)
        case TextFormat(type="json_schema"):
            return _by_schema(wanted)
        case _:
            raise InvalidRequest(
                "The format is one of text, json_object and json_schema.",
                param="text.format.type",
                code="invalid_value",
            )


def _by_schema(wanted: TextFormat) -> Format:
    schema = wanted.schema
    if not isinstance(schema, msgspec.Raw) or not is_given(schema):
        raise InvalidRequest(
            "The schema is missing.", param="text.format.schema", code="missing_required_parameter"
        )
    if not bytes(schema).startswith(b"{"):
        raise InvalidRequest("A schema is an object.", param="text.format.schema", code="invalid_type")
    try:
        compiled = _Compiled(strict_schema(_described(schema, wanted.description)).schema)
    except SchemaBeyond as beyond:
        lost = Dropped("text.format.schema", f"asked for in words: {beyond}"[:200])
        text = bytes(schema).decode("utf-8", "replace")
        return Format(wish=f"{JSON_WISH} It has to follow this JSON schema:\n{text}", dropped=(lost,))
    return Format(compiled=msgspec.Raw(msgspec.json.encode(compiled)))


def _described(schema: Anything, description: str | None) -> bytes:
    """The schema with the format's own description in it, where it has none."""
    fields = msgspec.json.decode(schema, type=dict[str, msgspec.Raw]) if schema is not msgspec.UNSET else {}
    if description and "description" not in fields:
        fields["description"] = msgspec.Raw(msgspec.json.encode(description))
    return msgspec.json.encode(fields)
