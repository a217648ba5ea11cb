"""A chat client's body goes on as it came, but for what must change."""

import msgspec
import pytest

from proxy.dialects.openai_chat.upstream import passing_body
from proxy.errors import InvalidRequest

ODD = (
    b'{ "messages" :[{"content":"caf\\u00e9 \\/","role":"user", "mood":null}],\n'
    b'"model":"sonnet","x_new":{"b":1,"a":[1E2, 1.50]}}'
)


def passed(
    body: bytes, *, stream: bool = False, include_usage: bool = False, own: tuple[str, ...] = ()
) -> tuple[dict[str, msgspec.Raw], list[str]]:
    """The top level of what goes out, and the paths of what was lost."""
    sent, dropped = passing_body(body, model="m", stream=stream, include_usage=include_usage, own_fields=own)
    return msgspec.json.decode(sent, type=dict[str, msgspec.Raw]), [item.field for item in dropped]


def test_the_model_changes_and_nothing_else() -> None:
    """Protects everything a client says to an API of its own dialect, down to its bytes."""
    sent, lost = passed(ODD)
    assert list(sent) == ["messages", "model", "x_new"]
    assert bytes(sent["model"]) == b'"m"'
    assert bytes(sent["messages"]) == b'[{"content":"caf\\u00e9 \\/","role":"user", "mood":null}]'
    assert bytes(sent["x_new"]) == b'{"b":1,"a":[1E2, 1.50]}'
    assert lost == []


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        (b"", {"include_usage": True}),
        (b',"stream_options":null', {"include_usage": True}),
        (b',"stream_options":{"include_usage":false}', {"include_usage": True}),
        (
            b',"stream_options":{"include_obfuscation":false}',
            {"include_obfuscation": False, "include_usage": True},
        ),
    ],
)
def test_a_stream_is_asked_for_usage_beside_what_the_client_asked(options: bytes, sent: object) -> None:
    """Protects accounts, and the client's other options."""
    found, _ = passed(b'{"messages":[],"stream":true%b}' % options, stream=True)
    assert msgspec.json.decode(found["stream_options"]) == sent


def test_a_stream_that_asks_for_usage_already_keeps_its_own_words() -> None:
    """Protects the client's bytes where nothing is missing."""
    body = b'{"messages":[],"stream":true,"stream_options":{"include_usage" : true}}'
    found, _ = passed(body, stream=True, include_usage=True)
    assert bytes(found["stream_options"]) == b'{"include_usage" : true}'


def test_a_whole_answer_is_asked_for_no_stream_options() -> None:
    """Protects against a field that is refused without a stream."""
    assert "stream_options" not in passed(ODD)[0]


def test_fields_of_our_own_are_taken_out_and_told() -> None:
    """Protects the other API from fields it does not know."""
    sent, lost = passed(b'{"session_id":"s","messages":[],"project_id":1}', own=("session_id", "project_id"))
    assert list(sent) == ["messages", "model"]
    assert lost == ["session_id", "project_id"]


def test_signatures_of_claude_go_to_no_other_provider() -> None:
    """Protects thinking that only its provider may read; messages without it stay as they are."""
    plain = b'{"role":"user","content":"caf\\u00e9"}'
    signed = b'{"role":"assistant","reasoning\\u005fdetails":[{"signature":"sig"}],"content":"\\u00e9"}'
    sent, lost = passed(b'{"messages":[%b,%b]}' % (plain, signed))
    assert bytes(sent["messages"]) == b'[%b,{"role":"assistant","content":"\\u00e9"}]' % plain
    assert lost == ["messages[1].reasoning_details"]


@pytest.mark.parametrize("body", [b'{"messages":[7]}', b'{"messages":7}', b"[]"])
def test_what_is_no_request_is_the_clients_mistake(body: bytes) -> None:
    """Protects clients from a 500, and the other API from nonsense."""
    with pytest.raises(InvalidRequest):
        passed(body)
