"""Where a client's request names files of this machine."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.references import (
    Reference,
    local_references,
    names_local_files,
    position_of,
    refuse_local_files,
    with_content,
)
from proxy.errors import InvalidRequest

_PATH = "/srv/images/a b.png"
_DATA = "data:image/png;base64,AAAA"


def _chat(*parts: object, **fields: object) -> bytes:
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": parts}]
    return msgspec.json.encode({"model": "m", "messages": messages, **fields})


def _image(url: str) -> dict[str, object]:
    return {"type": "image_url", "image_url": {"url": url, "detail": "low"}}


def _responses(part: object) -> bytes:
    return msgspec.json.encode({"input": [{"role": "user", "content": [part]}]})


@pytest.mark.parametrize(
    ("body", "reference"),
    [
        (_chat(_image(_PATH)), Reference("messages[1].content[0].image_url.url", _PATH)),
        (
            _chat({"type": "image_url", "image_url": _PATH}),
            Reference("messages[1].content[0].image_url", _PATH),
        ),
        (
            _chat({"type": "text", "text": "t"}, _image("FILE:///a")),
            Reference("messages[1].content[1].image_url.url", "FILE:///a"),
        ),
        (
            _chat({"type": "file", "file": {"file_data": "file:/a.pdf"}}),
            Reference("messages[1].content[0].file.file_data", "file:/a.pdf", document=True),
        ),
        (
            _responses({"type": "input_image", "image_url": _PATH}),
            Reference("input[0].content[0].image_url", _PATH),
        ),
        (
            _responses({"type": "input_file", "file_data": "file:/a"}),
            Reference("input[0].content[0].file_data", "file:/a", document=True),
        ),
        (
            msgspec.json.encode({"input": [{"output": [{"type": "input_image", "image_url": _PATH}]}]}),
            Reference("input[0].output[0].image_url", _PATH),
        ),
    ],
)
def test_a_path_is_found_where_an_api_has_a_url(body: bytes, reference: Reference) -> None:
    """Protects clients that send paths, and the name of their field in an error."""
    assert local_references(body) == [reference]
    assert names_local_files(body) is ("FILE" not in reference.url)


@pytest.mark.parametrize(
    "body",
    [
        _chat(_image("https://example.com/a.png")),
        _chat(_image(_DATA)),
        _chat({"type": "text", "text": _PATH}),
        _chat({"type": "file", "file": {"file_data": "/9j/4AAQ", "file_id": None}}),
        _chat({"type": "image_url", "image_url": {"url": 7}}, {"type": "image_url"}, "text", None),
        _chat({"type": "input_audio", "image_url": {"url": _PATH}}),
        msgspec.json.encode({"messages": [{"role": "user", "content": _PATH}, 7, None], "input": _PATH}),
        msgspec.json.encode({"messages": {"content": [_image(_PATH)]}}),
        b"{}",
    ],
)
def test_nothing_else_is_taken_for_a_path(body: bytes) -> None:
    """Protects base64 that begins with a slash, and every text."""
    assert local_references(body) == []
    assert with_content(body, {_PATH: _DATA}) == body


def test_an_ordinary_body_is_told_apart_without_being_decoded() -> None:
    """Protects the time of requests that name nothing."""
    assert not names_local_files(_chat(_image(_DATA), _image("https://example.com/")))
    assert names_local_files(_chat(_image("/a")).replace(b'"url":"/a"', b'"url" :\n "\\/a"'))


def test_a_paths_content_takes_its_place_and_nothing_else_changes() -> None:
    """Protects the rest of the request, its order and its numbers."""
    body = _chat(
        _image(_PATH), {"type": "text", "text": _PATH}, _image("/other"), temperature=0.1, metadata={}
    )
    body = body.replace(b"0.1", b"0.10")
    changed = with_content(body, {_PATH: _DATA, "unused": "x"})
    assert changed == body.replace(f'"url":"{_PATH}"'.encode(), f'"url":"{_DATA}"'.encode())


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"messages":' + b"[" * 2000])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    """Protects from a 500 for a broken body."""
    with pytest.raises(InvalidRequest):
        local_references(body)
    with pytest.raises(InvalidRequest):
        with_content(body, {})
    assert position_of(body, "x") is None


@pytest.mark.parametrize(
    ("body", "position"),
    [
        (_chat(_image("https://h/")), "messages[1].content[0].image_url.url"),
        (_chat({"type": "text", "text": "https://h/"}, _image("https://h/")), "messages[1].content[1].image_url.url"),
        (_responses({"type": "input_image", "image_url": "https://h/"}), "input[0].content[0].image_url"),
        (_responses({"type": "input_file", "file_url": "https://h/"}), "input[0].content[0].file_url"),
        (
            _chat({"type": "tool_result", "content": [{"type": "image", "source": {"url": "https://h/"}}]}),
            "messages[1].content[0].content[0].source.url",
        ),
        (_chat({"type": "text", "text": "https://h/"}), None),
    ],
)  # fmt: skip
def test_the_field_of_a_url_is_found_in_every_dialect(body: bytes, position: str | None) -> None:
    """Protects clients from errors that name another field than theirs."""
    assert position_of(body, "https://h/") == position


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from([_PATH, "image_url", "file:/x"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["messages", "content", "type", "image_url", "url", "file", "file_data"]), inner, max_size=4
    ),
    max_leaves=20,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["messages", "input", "model"]), _json))
def test_no_shape_of_a_request_makes_the_search_fail(tree: dict[str, object]) -> None:
    """Protects from a 500 for a request that mistypes a field: its decoder says what is wrong."""
    body = msgspec.json.encode(tree)
    found = {reference.url: _DATA for reference in local_references(body)}
    assert local_references(with_content(body, found)) == []
    position_of(body, _PATH)


def test_a_path_is_refused_by_name_where_another_machine_would_read_it() -> None:
    """Protects the files of whoever answers in our place."""
    refuse_local_files(_chat(_image(_DATA), {"type": "text", "text": _PATH}))
    with pytest.raises(InvalidRequest, match="CLAUDE_CODE_ROOTS") as caught:
        refuse_local_files(_chat(_image(_DATA), _image(_PATH)))
    assert caught.value.param == "messages[1].content[1].image_url.url"
