"""What is kept of a response, and found again."""

from collections.abc import Iterable

import msgspec
import pytest

from proxy.dialects.openai_responses.history import (
    item_of,
    items_of,
    output_of,
    read_asked,
    references,
    response_of,
    shown_item,
    stored_input,
    with_items,
    without_seals,
)
from proxy.errors import InvalidRequest

_NUMBER = "ab" * 16
_RESPONSE = f"resp_{_NUMBER}"


def _raw(*items: object) -> list[msgspec.Raw]:
    return [msgspec.Raw(msgspec.json.encode(item)) for item in items]


def _plain(items: Iterable[msgspec.Raw]) -> list[object]:
    return [msgspec.json.decode(item) for item in items]


@pytest.mark.parametrize(
    ("item", "kept"),
    [
        (
            {"role": "user", "content": "hi"},
            {
                "role": "user",
                "content": [{"type": "input_text", "text": "hi"}],
                "id": f"msg_{_NUMBER}_100000",
                "type": "message",
            },
        ),
        (
            {"role": "assistant", "content": "yo", "id": "mine"},
            {
                "role": "assistant",
                "content": [{"type": "output_text", "text": "yo"}],
                "id": "mine",
                "type": "message",
            },
        ),
        (
            {"type": "function_call_output", "call_id": "c", "output": "x", "id": None},
            {"type": "function_call_output", "call_id": "c", "output": "x", "id": f"item_{_NUMBER}_100000"},
        ),
        (
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}], "odd": 1},
            {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "a"}],
                "odd": 1,
                "id": f"msg_{_NUMBER}_100000",
            },
        ),
    ],
    ids=str,
)
def test_an_item_is_kept_with_a_type_an_id_and_its_text_in_parts(item: object, kept: object) -> None:
    """Protects clients that list the items of a response, and names them later."""
    assert _plain(items_of(stored_input(_raw(item), _RESPONSE).decode())) == [kept]


def test_a_text_is_kept_as_the_message_it_is() -> None:
    """Protects the shortest request, which has to be gone on from too."""
    asked = read_asked(b'{"input":"hi"}')
    assert _plain(asked.items) == [{"role": "user", "content": "hi"}]
    assert list(read_asked(b"{}").items) == []


@pytest.mark.parametrize(
    ("item", "param"), [(5, "input[0]"), ({"id": 5}, "input[0].id"), ({"type": 5}, "input[0].type")]
)
def test_what_is_no_item_is_refused_before_anything_is_asked(item: object, param: str) -> None:
    """Protects the store from what cannot be listed again."""
    with pytest.raises(InvalidRequest) as caught:
        stored_input(_raw(item), _RESPONSE)
    assert caught.value.param == param


def test_the_items_before_go_before_and_the_rest_of_the_request_stays() -> None:
    """Protects the order of a conversation, and every other field of the request."""
    body = with_items(b'{"model":"m","input":"x","metadata":{"a":"b"}}', _raw({"a": 1}, {"b": 2}))
    assert msgspec.json.decode(body) == {"model": "m", "input": [{"a": 1}, {"b": 2}], "metadata": {"a": "b"}}


def test_references_are_found_by_their_type() -> None:
    """Protects texts that only talk about references, and requests without any from being looked through."""
    body = (
        b'{"input":[{"role":"user","content":"\\"item_reference\\""},{"type":"item_reference","id":"msg_1"}]}'
    )
    assert references(body, read_asked(body).items) == {1: "msg_1"}
    assert references(b'{"input":"x"}', _raw({"role": "user"})) == {}


@pytest.mark.parametrize(
    ("item_id", "response_id"),
    [
        (f"msg_{_NUMBER}_0", _RESPONSE),
        (f"item_{_NUMBER}_100001", _RESPONSE),
        (f"rs_{_NUMBER}_12", _RESPONSE),
        ("msg_1", None),
        (f"msg_{_NUMBER}", None),
        (f"msg_{_NUMBER}_x", None),
        (f"msg_{_NUMBER.upper()}_0", None),
        ("", None),
    ],
)
def test_an_items_id_tells_its_response(item_id: str, response_id: str | None) -> None:
    """Protects references, which name nothing but the item."""
    assert response_of(item_id) == response_id


def test_seals_are_only_shown_to_who_asks_for_them() -> None:
    """Protects clients from what they did not ask for; everything else is as it was."""
    sealed = {"type": "reasoning", "id": "rs_1", "encrypted_content": "crs1.x", "summary": []}
    said = {"type": "message", "id": "msg_1"}
    response = msgspec.json.encode({"id": _RESPONSE, "output": [sealed, said]}).decode()
    plain = {"type": "reasoning", "id": "rs_1", "summary": []}
    assert msgspec.json.decode(without_seals(response)) == {"id": _RESPONSE, "output": [plain, said]}
    assert _plain(output_of(response)) == [sealed, said]
    assert _plain([shown_item(one) for one in _raw(sealed, said)]) == [plain, said]


def test_an_item_is_found_by_its_id() -> None:
    """Protects references from leading to a neighbour."""
    found = item_of(_raw({"id": "a"}, {"id": "b", "x": 1}), "b")
    assert found is not None
    assert msgspec.json.decode(found) == {"id": "b", "x": 1}
    assert item_of(_raw({"id": "a"}), "b") is None
