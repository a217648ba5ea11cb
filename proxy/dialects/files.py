"""The files a request names by their ids.

Such a file lies with one credential, so whoever holds it has to answer. Sources: the Files page of Anthropic's API
documentation, and "Create chat completion" in OpenAI's API reference.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from proxy.dialects.decoding import decode_json

_KEY: Final = "file_id"
_ESCAPES: Final = b"\\u00"
# every letter of the key as an escape: 5f, and 64 to 6c
_ESCAPED_LETTERS: Final = (b"\\u005", b"\\u006")
# a call's arguments and a tool's schema are words between a model and a client's own tools
_FOREIGN: Final = {"tool_use": "input", "server_tool_use": "input", "mcp_tool_use": "input"}
_SCHEMAS: Final = frozenset(("input_schema", "parameters", "schema"))
# what a tool of the provider made is told of by id in the history; only its own container reads it
_MADE_BY_TOOLS: Final = "_output"


class NamedFile(msgspec.Struct, frozen=True):
    """A file as a request names it.

    Attributes:
        id: the upstream's.
        field: path of the field that holds the id (``messages[0].content[1].source.file_id``).
    """

    id: str
    field: str


def may_name_files(body: bytes) -> bool:
    """Whether a closer look is worth its price; never False for a body that names one."""
    if b"file_id" in body:
        return True
    return _ESCAPES in body and any(letter in body for letter in _ESCAPED_LETTERS)


def named_files(body: bytes) -> tuple[NamedFile, ...]:
    """The files a request names, in its order.

    Raises InvalidRequest for what is no JSON: an upstream that can read it would read the names in it too.
    """
    return tuple(_named(decode_json(object, body)))


def _named(request: object) -> Iterator[NamedFile]:
    """Walk through decoded JSON without recursion: its depth is the client's choice."""
    waiting: list[tuple[object, str]] = [(request, "")]
    while waiting:
        value, path = waiting.pop()
        if isinstance(value, list):
            waiting += [(item, f"{path}[{index}]") for index, item in reversed(tuple(enumerate(value)))]
        elif isinstance(value, dict):
            kind = value.get("type")
            if isinstance(found := value.get(_KEY), str) and not _is_output(kind):
                yield NamedFile(found, f"{path}.{_KEY}".lstrip("."))
            foreign = _FOREIGN.get(kind) if isinstance(kind, str) else None
            waiting += [
                (item, f"{path}.{name}".lstrip("."))
                for name, item in reversed(value.items())
                if isinstance(item, list | dict) and name != foreign and name not in _SCHEMAS
            ]


def _is_output(kind: object) -> bool:
    return isinstance(kind, str) and kind.endswith(_MADE_BY_TOOLS)
