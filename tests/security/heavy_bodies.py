"""Bodies that are deep, wide or long, for each endpoint."""

from collections.abc import Callable
from typing import Final

import msgspec

from tests.security.wire import MODEL

MANY: Final = 100_000
TURNS: Final = 10_000
PATHS: Final = ("/v1/messages", "/v1/chat/completions", "/v1/responses", "/v1/messages/count_tokens")
INPUT: Final = {"/v1/responses": b"input"}
TOO_MUCH: Final = (b"x" * 201, b"9" * 201)
"""What no error may repeat of a body."""
LIMIT: Final = {"/v1/messages": b'"max_tokens":8,'}


def _request(path: str, items: bytes, more: bytes = b"") -> bytes:
    """A request of these messages or items, with more fields."""
    name, limit = INPUT.get(path, b"messages"), LIMIT.get(path, b"")
    return b'{"model":"%s",%s%s"%s":%s}' % (MODEL.encode(), limit, more, name, items)


def _saying(content: bytes) -> bytes:
    return b'[{"role":"user","content":%s}]' % content


HELLO: Final = _saying(b'"Hello"')
TOOL: Final = {"name": "f", "description": "Does.", "input_schema": {"type": "object"}}
FUNCTION: Final = {"name": "f", "description": "Does.", "parameters": {"type": "object"}}


def _tools(path: str) -> bytes:
    """Ten thousand tools, as an endpoint wants them."""
    made: list[object] = []
    for number in range(TURNS):
        if path.startswith("/v1/messages"):
            made.append({**TOOL, "name": f"f{number}"})
        elif path == "/v1/responses":
            made.append({"type": "function", **FUNCTION, "name": f"f{number}"})
        else:
            made.append({"type": "function", "function": {**FUNCTION, "name": f"f{number}"}})
    return msgspec.json.encode(made)


def _named(path: str, more: str, *, strict: bool) -> bytes:
    """A tool whose input is given by these keywords of a schema."""
    schema = b'{"type":"object",%s}' % more.encode()
    if path.startswith("/v1/messages"):
        tool = b'{"name":"f","input_schema":%s}' % schema
    else:
        inner = b'"name":"f","parameters":%s' % schema + (b',"strict":true' if strict else b"")
        tool = b'{"type":"function",%s}' % (inner if path == "/v1/responses" else b'"function":{%s}' % inner)
    return _request(path, HELLO, b'"tools":[%s],' % tool)


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()


_NAMES: Final = [f"n{number}" for number in range(2 * TURNS)]
_OTHER_NAMES: Final = [f"m{number}" for number in range(2 * TURNS)]
_REQUIRED: Final = _text([{"required": _NAMES}, {"required": _OTHER_NAMES}])
_PROPERTIES: Final = _text([{"properties": {name: {"type": "string"}}} for name in _NAMES])


def _calls(path: str) -> bytes:
    """Thirty thousand calls of a tool in one turn, answered from the last to the first."""
    ids = [f"call_{number}" for number in range(3 * TURNS)]
    items: list[object] = [{"role": "user", "content": "Hello"}]
    if path.startswith("/v1/messages"):
        calls = [{"type": "tool_use", "id": each, "name": "f", "input": {}} for each in ids]
        results = [{"type": "tool_result", "tool_use_id": each, "content": "r"} for each in ids[::-1]]
        items += [{"role": "assistant", "content": calls}, {"role": "user", "content": results}]
    elif path == "/v1/responses":
        items += [{"type": "function_call", "call_id": each, "name": "f", "arguments": "{}"} for each in ids]
        items += [{"type": "function_call_output", "call_id": each, "output": "r"} for each in ids[::-1]]
    else:
        function = {"name": "f", "arguments": "{}"}
        calls = [{"type": "function", "id": each, "function": function} for each in ids]
        items.append({"role": "assistant", "tool_calls": calls})
        items += [{"role": "tool", "tool_call_id": each, "content": "r"} for each in ids[::-1]]
    return _request(path, msgspec.json.encode(items))


BODIES: Final[dict[str, Callable[[str], bytes]]] = {
    "deep arrays": lambda _: b"[" * MANY + b"]" * MANY,
    "deep arrays as messages": lambda path: _request(path, b"[" * MANY + b"]" * MANY),
    "deep objects as content": lambda path: _request(path, _saying(b'{"a":' * MANY + b"1" + b"}" * MANY)),
    "deep arrays in an unknown field": lambda path: _request(
        path, HELLO, b'"x":' + b"[" * MANY + b"]" * MANY + b","
    ),
    "many fields": lambda path: _request(
        path, HELLO, b"".join(b'"f%d":1,' % number for number in range(MANY))
    ),
    "one field many times": lambda path: _request(path, HELLO, b'"temperature":1,' * MANY),
    "many fields in metadata": lambda path: _request(
        path, HELLO, b'"metadata":{%s},' % b",".join(b'"f%d":"x"' % number for number in range(MANY))
    ),
    "many messages": lambda path: _request(path, b"[%s]" % b",".join([HELLO[1:-1]] * (TURNS + 1))),
    "many messages of a wrong type": lambda path: _request(path, b"[%s]" % b",".join([b"7"] * MANY)),
    "many parts": lambda path: _request(
        path, _saying(b"[%s]" % b",".join([b'{"type":"text","text":"x"}'] * TURNS))
    ),
    "many parts of an unknown type": lambda path: _request(
        path, _saying(b"[%s]" % b",".join([b'{"type":"robot","text":"x"}'] * TURNS))
    ),
    "many short messages": lambda path: _request(
        path, b"[%s]" % b",".join([b'{"role":"user","content":"x"}'] * MANY)
    ),
    "instructions between many messages": lambda path: _request(
        path,
        b"[%s]" % b",".join([HELLO[1:-1], b'{"role":"system","content":"x"}'] * TURNS + [HELLO[1:-1]]),
    ),
    "many calls and their results": _calls,
    "all of many required": lambda path: _named(path, f'"allOf":{_REQUIRED}', strict=False),
    "any of many required": lambda path: _named(path, f'"anyOf":{_REQUIRED}', strict=False),
    "all of many required, strictly": lambda path: _named(path, f'"allOf":{_REQUIRED}', strict=True),
    "all of many objects": lambda path: _named(path, f'"allOf":{_PROPERTIES}', strict=False),
    "any of many objects": lambda path: _named(path, f'"anyOf":{_PROPERTIES}', strict=False),
    "all of many objects, strictly": lambda path: _named(path, f'"allOf":{_PROPERTIES}', strict=True),
    "many tools": lambda path: _request(path, HELLO, b'"tools":%s,' % _tools(path)),
    "one long text": lambda path: _request(path, _saying(b'"%s"' % (b"x" * 1_000_000))),
    "one long text of escapes": lambda path: _request(path, _saying(b'"%s"' % (rb"\u00e9" * 200_000))),
    "many stop sequences": lambda path: _request(path, HELLO, b'"stop":[%s],' % b",".join([b'"x"'] * MANY)),
    "a long number": lambda path: _request(path, HELLO, b'"max_tokens":%s,' % (b"9" * MANY)),
    "a long model": lambda path: _request(path, HELLO, b'"model":"%s",' % (b"x" * 1_000_000)),
}
