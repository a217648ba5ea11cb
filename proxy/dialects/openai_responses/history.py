"""What is kept of a response, and how a later request goes on from it.

Source: "Conversation state" in OpenAI's documentation: the items of a response and of all before it go before the new
ones; instructions do not.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from proxy.dialects.decoding import decode_json, invalid, printable
from proxy.dialects.openai_responses.output import item_id
from proxy.dialects.openai_responses.schema import Typed
from proxy.dialects.splicing import splice
from proxy.errors import NotFound

_ITEM_ID: Final = re.compile(r"[a-z]{2,4}_([0-9a-f]{32})_[0-9]{1,6}")
_REFERENCE: Final = b'"item_reference"'
_INPUT_PLACES: Final = 100_000
_PREFIXES: Final[Mapping[str, str]] = {"message": "msg", "function_call": "fc", "reasoning": "rs"}
_fields_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_items_decoder = msgspec.json.Decoder(list[msgspec.Raw])


class Asked(msgspec.Struct):
    """The few fields of a request that tell what is stored, and what it goes on from."""

    previous_response_id: str | None = None
    store: bool | None = None
    input: str | list[msgspec.Raw] | None = None
    prompt_cache_key: str | None = None

    @property
    def items(self) -> Sequence[msgspec.Raw]:
        """The new items, be they a text."""
        if isinstance(self.input, str):
            return (msgspec.Raw(msgspec.json.encode({"role": "user", "content": self.input})),)
        return self.input or ()


def read_asked(body: bytes) -> Asked:
    """Look at a request. Raises InvalidRequest for one that is no JSON object, no UTF-8, or mistypes a field."""
    asked = decode_json(Asked, body)
    if not body.isascii():
        # parts of it are repeated and stored without being decoded
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise invalid(error) from None
    return asked


class _Identified(msgspec.Struct):
    id: str | None = None


class _Whole(msgspec.Struct):
    output: list[msgspec.Raw]


class _Text(msgspec.Struct):
    type: str
    text: str


def stored_input(items: Iterable[msgspec.Raw], response_id: str) -> bytes:
    """The new items of a request as they are kept: each with a type and an id, texts as parts; a JSON array.

    Raises InvalidRequest for what is no item.
    """
    kept = [_complete(raw, response_id, place) for place, raw in enumerate(items)]
    return msgspec.json.encode(kept)


def _complete(raw: msgspec.Raw, response_id: str, place: int) -> dict[str, object]:
    at = f"input[{place}]"
    fields: dict[str, object] = {**decode_json(dict[str, msgspec.Raw], raw, at=at)}
    kind = decode_json(Typed, raw, at=at).type or "message"
    identified: dict[str, object] = {
        "id": item_id(_PREFIXES.get(kind, "item"), response_id, _INPUT_PLACES + place),
        "type": kind,
    }
    if decode_json(_Identified, raw, at=at).id:
        del identified["id"]
    content = fields.get("content")
    if isinstance(content, msgspec.Raw) and bytes(content).startswith(b'"'):
        role = fields.get("role")
        said = (
            "output_text" if isinstance(role, msgspec.Raw) and bytes(role) == b'"assistant"' else "input_text"
        )
        fields["content"] = [_Text(said, decode_json(str, content, at=f"{at}.content"))]
    return {**fields, **identified}


def items_of(stored: str) -> list[msgspec.Raw]:
    """The items of a JSON array that was kept."""
    return _items_decoder.decode(stored)


def output_of(response: str) -> list[msgspec.Raw]:
    """The output items of a response that was kept."""
    return msgspec.json.decode(response, type=_Whole).output


def with_items(body: bytes, items: Sequence[msgspec.Raw]) -> bytes:
    """The request with these items as its input."""
    return splice(body, set={"input": msgspec.json.encode(items)}, remove=())


def references(body: bytes, items: Sequence[msgspec.Raw]) -> dict[int, str]:
    """Which of the items only refer to another one, and to which. Raises InvalidRequest for what is no item."""
    if _REFERENCE not in body:
        return {}
    found = {}
    for place, raw in enumerate(items):
        at = f"input[{place}]"
        if decode_json(Typed, raw, at=at).type == "item_reference":
            found[place] = decode_json(_Identified, raw, at=at).id or ""
    return found


def response_of(reference: str) -> str | None:
    """The id of the response an item of this id belongs to; None for an id that is none of ours."""
    found = _ITEM_ID.fullmatch(reference)
    return f"resp_{found[1]}" if found is not None else None


def item_of(items: Iterable[msgspec.Raw], wanted: str) -> msgspec.Raw | None:
    """The item of this id; None where it is not among them."""
    return next((raw for raw in items if msgspec.json.decode(raw, type=_Identified).id == wanted), None)


def no_such_item(wanted: str) -> NotFound:
    """What a client is told whose reference leads nowhere."""
    return NotFound(f"Item with id '{printable(wanted)}' not found.", param="input")


def without_seals(response: str) -> bytes:
    """A response that was kept, as clients see it who do not ask for encrypted reasoning."""
    fields = _fields_decoder.decode(response)
    output = [shown_item(raw) for raw in output_of(response)]
    return msgspec.json.encode({**fields, "output": output})


def shown_item(raw: msgspec.Raw) -> msgspec.Raw:
    """An item without its seal."""
    if b'"encrypted_content"' not in bytes(raw):
        return raw
    fields = _fields_decoder.decode(raw)
    fields.pop("encrypted_content", None)
    return msgspec.Raw(msgspec.json.encode(fields))
