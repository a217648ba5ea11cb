"""Bodies that are no JSON object, no UTF-8, or have a field of a wrong type, and how they are refused."""

from typing import Final

from tests.security.wire import MODEL, Answer, chat_body, messages_body

_DEEP: Final = 100_000
PATHS: Final = ("/v1/messages", "/v1/chat/completions", "/v1/messages/count_tokens")
_HEAD: Final = f'{{"model":"{MODEL}","max_tokens":8,"messages":'.encode()
_TEXT: Final = b'[{"role":"user","content":"%s"}]}'
NO_JSON: Final = {
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
NO_UTF8: Final = {
    "surrogates as bytes": _HEAD + _TEXT % b"\xed\xa0\x80",
    "a byte that is no UTF-8": _HEAD + _TEXT % b"\xff",
    "an overlong byte sequence": _HEAD + _TEXT % b"\xc0\xaf",
    "a character beyond Unicode": _HEAD + _TEXT % b"\xf4\x90\x80\x80",
    "half a character": _HEAD + _TEXT % b"\xe2\x82",
    "a name that is no UTF-8": b'{"\xff":1,' + messages_body()[1:],
}
WRONG_FIELDS: Final = {
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
WRONG_FIELDS_IN_CHAT: Final = {
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


def check_refused(answer: Answer, path: str) -> None:
    """Fails unless it is a 400 in the envelope of its dialect, in few words."""
    assert answer.status == 400, answer.body[:300]
    error = answer.error()
    assert error["type"] == "invalid_request_error"
    assert isinstance(error["message"], str)
    assert len(error["message"]) < 500
    if path == "/v1/chat/completions":
        assert set(error) == {"message", "type", "param", "code"}
    else:
        assert set(error) == {"type", "message"}
