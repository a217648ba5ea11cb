"""Whatever a body holds, the answer is an error in the right envelope and never a failure of ours."""

import asyncio

import pytest

from proxy.simulator import Simulator
from tests.security.wire import MODEL, Answer, ask, chat_body, messages_body
from tests.support.gateway import Gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")

_DEEP = 100_000
_PATHS = ("/v1/messages", "/v1/chat/completions", "/v1/messages/count_tokens")
_HEAD = f'{{"model":"{MODEL}","max_tokens":8,"messages":'.encode()
_TEXT = b'[{"role":"user","content":"%s"}]}'
_NO_JSON = {
    "an empty body": b"",
    "white space": b" \r\n\t ",
    "null": b"null",
    "true": b"true",
    "a number": b"7",
    "a string": b'"text"',
    "an array": b"[]",
    "an array with a request in it": b"[" + messages_body() + b"]",
    "an unfinished object": messages_body()[:-1],
    "half a body": messages_body()[: len(messages_body()) // 2],
    "bytes after the end": messages_body() + b"x",
    "two bodies": messages_body() + messages_body(),
    "a byte order mark": b"\xef\xbb\xbf" + messages_body(),
    "UTF-16": messages_body().decode().encode("utf-16"),
    "UTF-32": messages_body().decode().encode("utf-32"),
    "a comment": b"/* hi */" + messages_body(),
    "single quotes": messages_body().replace(b'"', b"'"),
    "a comma before the end": messages_body()[:-1] + b",}",
    "a null byte after the end": messages_body() + b"\0",
    "a null byte in a text": _HEAD + _TEXT % b"a\0b",
    "a line break in a text": _HEAD + _TEXT % b"a\nb",
    "an unknown escape": _HEAD + _TEXT % rb"\x41",
    "half an escape": _HEAD + _TEXT % rb"\u12",
    "a lone high surrogate": _HEAD + _TEXT % rb"\ud800",
    "a lone low surrogate": _HEAD + _TEXT % rb"\udc00",
    "surrogates the wrong way round": _HEAD + _TEXT % rb"\udc00\ud800",
    "NaN": b'{"temperature":NaN,' + messages_body()[1:],
    "Infinity": b'{"temperature":-Infinity,' + messages_body()[1:],
    "a leading zero": b'{"max_tokens":01,' + messages_body()[1:],
    "a plus sign": b'{"max_tokens":+1,' + messages_body()[1:],
    "hexadecimal": b'{"max_tokens":0x10,' + messages_body()[1:],
    "deep arrays": b"[" * _DEEP,
    "deep arrays, closed": b"[" * _DEEP + b"]" * _DEEP,
    "deep objects": b'{"a":' * _DEEP + b"1" + b"}" * _DEEP,
    "deep arrays in an unknown field": b'{"x":' + b"[" * _DEEP + b"]" * _DEEP + b"," + messages_body()[1:],
    "deep arrays as messages": _HEAD + b"[" * _DEEP + b"]" * _DEEP + b"}",
    "deep content": _HEAD + b'[{"role":"user","content":' + b"[" * _DEEP + b"]" * _DEEP + b"}]}",
    "a deep model": b'{"model":' + b"[" * _DEEP + b"]" * _DEEP + b"," + messages_body()[1:],
    "a bomb of HTML": b"<html>" * 1000,
    "a form": b"model=claude&messages=hello",
    "zip": b"PK\x03\x04" + b"\0" * 1000,
}
_NO_UTF8 = {
    "surrogates as bytes": _HEAD + _TEXT % b"\xed\xa0\x80",
    "a byte that is no UTF-8": _HEAD + _TEXT % b"\xff",
    "an overlong byte sequence": _HEAD + _TEXT % b"\xc0\xaf",
    "a character beyond Unicode": _HEAD + _TEXT % b"\xf4\x90\x80\x80",
    "half a character": _HEAD + _TEXT % b"\xe2\x82",
    "a name that is no UTF-8": b'{"\xff":1,' + messages_body()[1:],
}
_WRONG_FIELDS = {
    "a model of 5,000 digits": b'{"model":' + b"9" * 5000 + b"," + messages_body()[1:].partition(b",")[2],
    "a stream of 5,000 digits": b'{"stream":' + b"9" * 5000 + b"," + messages_body()[1:],
    "a model that is null and a text": b'{"model":null,"messages":"text"}',
    "a model that is a list": messages_body(model=["claude"]),
    "a model that is an object": messages_body(model={"id": "claude"}),
    "a model that is a number": messages_body(model=4),
    "an empty model of the wrong sort": messages_body(model=False),
    "a stream in words": messages_body(stream="yes"),
    "a stream that is a number": messages_body(stream=1),
}
_WRONG_FIELDS_IN_CHAT = {
    "messages that are a text": chat_body(messages="Hello"),
    "messages that are an object": chat_body(messages={}),
    "messages that are null": chat_body(messages=None),
    "messages of numbers": chat_body(messages=[1, 2]),
    "messages of nulls": chat_body(messages=[None]),
    "a role that is a number": chat_body(messages=[{"role": 1, "content": "x"}]),
    "an unknown role": chat_body(messages=[{"role": "robot", "content": "x"}]),
    "a number of tokens of 5,000 digits": b'{"max_tokens":' + b"9" * 5000 + b"," + chat_body()[1:],
    "a negative number of tokens": chat_body(max_tokens=-1),
    "no tokens": chat_body(max_tokens=0),
    "tokens in words": chat_body(max_tokens="5"),
    "a number of tokens that is true": chat_body(max_tokens=True),
    "a temperature beyond all floats": b'{"temperature":1e400,' + chat_body()[1:],
    "a temperature in words": chat_body(temperature="hot"),
    "tools that are a text": chat_body(tools="hammer"),
    "content of a wrong type": chat_body(messages=[{"role": "user", "content": 7}]),
    "parts of a wrong type": chat_body(messages=[{"role": "user", "content": [7]}]),
    "stop sequences that are numbers": chat_body(stop=[1, 2]),
}


_BODIES = {
    "/v1/messages": messages_body,
    "/v1/chat/completions": chat_body,
    # counting takes no limit of tokens, and the smallest Chat Completions body happens to be all it needs
    "/v1/messages/count_tokens": chat_body,
}


def _check_refused(answer: Answer, path: str) -> None:
    assert answer.status == 400, answer.body[:300]
    error = answer.error()
    assert error["type"] == "invalid_request_error"
    assert isinstance(error["message"], str)
    assert len(error["message"]) < 500
    if path == "/v1/chat/completions":
        assert set(error) == {"message", "type", "param", "code"}
    else:
        assert set(error) == {"type", "message"}


@pytest.mark.parametrize("path", _PATHS)
@pytest.mark.parametrize("body", _NO_JSON.values(), ids=_NO_JSON.keys())
async def test_a_body_that_is_no_json_object_is_refused_in_the_dialects_envelope(
    server: Gateway, claude: Simulator, path: str, body: bytes
) -> None:
    """Protects the server from every way a body can be broken, and clients from an answer they cannot read."""
    _check_refused(await ask(server.url, path, body), path)
    assert claude.record.requests_total == 0


@pytest.mark.parametrize("path", _PATHS)
@pytest.mark.parametrize("body", _NO_UTF8.values(), ids=_NO_UTF8.keys())
async def test_text_that_is_no_utf_8_is_refused_by_us_or_by_the_upstream(
    server: Gateway, path: str, body: bytes
) -> None:
    """Protects clients from a failure of ours: text that is not looked at is refused where it is read."""
    _check_refused(await ask(server.url, path, body), path)


@pytest.mark.parametrize("path", _PATHS)
@pytest.mark.parametrize("body", _WRONG_FIELDS.values(), ids=_WRONG_FIELDS.keys())
async def test_a_field_that_routing_needs_must_have_its_type(
    server: Gateway, claude: Simulator, path: str, body: bytes
) -> None:
    """Protects the choice of a credential from values it cannot understand."""
    _check_refused(await ask(server.url, path, body), path)
    assert claude.record.requests_total == 0


@pytest.mark.parametrize("body", _WRONG_FIELDS_IN_CHAT.values(), ids=_WRONG_FIELDS_IN_CHAT.keys())
@pytest.mark.parametrize("stream", [b"", b'"stream":true,'], ids=["whole", "streamed"])
async def test_a_field_that_is_translated_must_have_its_type(
    server: Gateway, claude: Simulator, body: bytes, stream: bytes
) -> None:
    """Protects translation from values it cannot understand."""
    answer = await ask(server.url, "/v1/chat/completions", b"{" + stream + body[1:])
    _check_refused(answer, "/v1/chat/completions")
    assert claude.record.requests_total == 0


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
async def test_of_a_field_given_twice_ours_and_the_upstreams_reading_is_the_same(
    server: Gateway, claude: Simulator, path: str
) -> None:
    """Protects a rule about the model from a body that shows us one and the upstream another."""
    body = messages_body() if path == "/v1/messages" else chat_body()
    answer = await ask(server.url, path, b'{"model":"claude-opus-5-5",' + body[1:])
    assert answer.status == 200
    assert MODEL.encode() in answer.body
    assert b"claude-opus-5-5" not in answer.body
    assert claude.record.requests_total == 1


@pytest.mark.parametrize("path", _PATHS)
async def test_ten_thousand_messages_are_served_and_do_not_stop_the_others(
    server: Gateway, path: str
) -> None:
    """Protects long conversations, and the clients beside them."""
    turns = [{"role": ("user", "assistant")[number % 2], "content": "x"} for number in range(9_999)]
    body = _BODIES[path]
    long = ask(server.url, path, body(messages=turns))
    answers = await asyncio.gather(long, *(ask(server.url, "/live", method="GET") for _ in range(5)))
    assert [answer.status for answer in answers] == [200] * 6


@pytest.mark.parametrize("path", _PATHS)
@pytest.mark.parametrize(
    "fields",
    [
        {"content": "x" * 1_000_000},
        {"content": "\0\x01\x7f\u2028\ufeff\U0010ffff"},
        {"content": "a" + "\u0301" * 10_000},
    ],
    ids=["1 MB of text", "odd characters", "ten thousand accents"],
)
async def test_odd_but_sound_text_is_served(server: Gateway, path: str, fields: dict[str, str]) -> None:
    """Protects texts nobody expected, which are still texts."""
    body = _BODIES[path]
    answer = await ask(server.url, path, body(messages=[{"role": "user", **fields}]))
    assert answer.status == 200


@pytest.mark.parametrize("path", _PATHS)
async def test_a_hundred_thousand_unknown_fields_are_no_failure(server: Gateway, path: str) -> None:
    """Protects the server from objects that are wide instead of deep."""
    body = _BODIES[path]
    answer = await ask(server.url, path, body("Hello", **{f"f{number}": number for number in range(100_000)}))
    assert answer.status == (200 if path == "/v1/chat/completions" else 400)


async def test_no_attack_of_this_module_was_an_error_of_ours(server: Gateway) -> None:
    """Protects the last stop before the client: nothing above may have reached it."""
    await ask(server.url, "/live", method="GET")
    assert not [line for line in server.output if "unexpected error" in line or "Traceback" in line]
