"""What clients send as a field that was meant as an argument of their library."""

import msgspec
import pytest

from proxy.dialects.openai_chat import OpenAIChatDialect
from proxy.dialects.openai_chat.extra_body import lifted
from proxy.errors import InvalidRequest


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ({"extra_body": {"claude_options": {"tools": []}}}, {"claude_options": {"tools": []}}),
        ({"user": "a", "extra_body": {"user": "b"}}, {"user": "b"}),
        ({"extra_body": {"extra_body": {"user": "b"}}}, {}),
        ({"extra_body": None}, {}),
        ({"user": "a", "extra_body": {}}, {"user": "a"}),
    ],
)
def test_what_it_holds_comes_to_the_top(sent: dict[str, object], meant: dict[str, object]) -> None:
    """Protects options from being left out for the library they were sent with; what it holds wins, as in Python's."""
    assert msgspec.json.decode(lifted(msgspec.json.encode({"model": "m", **sent}))) == {"model": "m", **meant}


@pytest.mark.parametrize("held", ["text", 1, ["claude_options"]])
def test_what_is_no_object_is_refused_by_name(held: object) -> None:
    """Protects clients from an answer to another request than theirs."""
    with pytest.raises(InvalidRequest) as refused:
        lifted(msgspec.json.encode({"extra_body": held}))
    assert refused.value.param == "extra_body"


def test_a_peek_tells_of_it() -> None:
    """Protects requests without one from being read for it."""
    peek = OpenAIChatDialect().peek
    assert peek(b'{"extra_body": {}}').own_fields == ("extra_body",)
    assert peek(b'{"model": "m"}').own_fields == ()
