"""The files a request names are found wherever they are named, and nowhere else."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.files import NamedFile, may_name_files, named_files
from proxy.errors import InvalidRequest

_SOURCE = {"type": "file", "file_id": "file_1"}


def _message(*blocks: object) -> bytes:
    return msgspec.json.encode({"messages": [{"role": "user", "content": list(blocks)}]})


_AT = "messages[0].content[0]"


@pytest.mark.parametrize(
    ("block", "field"),
    [
        ({"type": "document", "source": _SOURCE}, "source.file_id"),
        ({"type": "image", "source": _SOURCE}, "source.file_id"),
        ({"type": "container_upload", "file_id": "file_1"}, "file_id"),
        (
            {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image", "source": _SOURCE}]},
            "content[0].source.file_id",
        ),
        ({"type": "file", "file": {"file_id": "file_1"}}, "file.file_id"),
        ({"type": "input_file", "file_id": "file_1"}, "file_id"),
    ],
)
def test_a_named_file_is_found_with_its_place(block: object, field: str) -> None:
    """Each block that names one, in each dialect; the field is what a client is told."""
    body = _message(block)
    assert may_name_files(body)
    assert named_files(body) == (NamedFile("file_1", f"{_AT}.{field}"),)


@pytest.mark.parametrize(
    "block",
    [
        {"type": "tool_use", "id": "t", "name": "n", "input": {"file_id": "file_1"}},
        {"type": "server_tool_use", "id": "t", "name": "n", "input": {"source": _SOURCE}},
        {"type": "code_execution_output", "file_id": "file_1"},
        {"type": "text", "text": '"file_id": "file_1"'},
        {"type": "document", "source": {"type": "file", "file_id": 5}},
    ],
)
def test_words_of_a_tool_or_a_text_name_no_file(block: object) -> None:
    """A client's own tools may call something of theirs a file_id."""
    assert named_files(_message(block)) == ()


def test_the_schema_of_a_tool_names_no_file() -> None:
    """A property may be called so."""
    tool = {"name": "n", "input_schema": {"type": "object", "file_id": "file_1"}}
    assert named_files(msgspec.json.encode({"tools": [tool]})) == ()


@given(st.sets(st.integers(0, 6)))
def test_no_spelling_of_the_key_hides_it(escaped: set[int]) -> None:
    """JSON may spell any letter as an escape: an owner check that went by the bytes could be walked around."""
    key = "".join(
        f"\\u{ord(letter):04x}" if place in escaped else letter for place, letter in enumerate("file_id")
    )
    body = _message({"type": "document", "source": _SOURCE}).replace(b"file_id", key.encode())
    assert may_name_files(body)
    assert may_name_files(body.replace(b"\\u005f", b"\\u005F"))
    assert [found.id for found in named_files(body)] == ["file_1"]


def test_an_ordinary_request_needs_no_closer_look() -> None:
    """Protects the price of requests that name none, escapes of other letters included."""
    assert not may_name_files(_message({"type": "text", "text": "Hello"}))
    assert not may_name_files(b'{"a":"\\u00e9\\u00df"}')


def test_what_cannot_be_read_is_refused_rather_than_let_through() -> None:
    """An upstream that is less strict would read the names in it."""
    with pytest.raises(InvalidRequest):
        named_files(b'{"file_id": "file_1", "x": NaN}')


def test_depth_costs_no_stack() -> None:
    """A client chooses how deep its JSON is; what the decoder takes, the walk takes."""
    body = b'{"a":' * 200 + b'{"file_id":"file_1"}' + b"}" * 200
    assert [found.id for found in named_files(body)] == ["file_1"]
