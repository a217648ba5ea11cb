"""The top level of a JSON object is rewritten, and nothing below it."""

import pytest

from proxy.dialects.splicing import splice, without_doubles
from proxy.errors import InvalidRequest


@pytest.mark.parametrize(
    ("body", "changes", "remove", "result"),
    [
        (b'{"b":1,"a":{"x": [1, 2]}}', {}, (), b'{"b":1,"a":{"x": [1, 2]}}'),
        (b'{"model":"old","new":1e5}', {"model": b'"m"'}, (), b'{"model":"m","new":1e5}'),
        (b'{"a":1}', {"model": b'"m"'}, (), b'{"a":1,"model":"m"}'),
        (b'{"a":1,"b":2}', {}, ("a", "zz"), b'{"b":2}'),
        (b'{"a":1,"b":2,"a":3}', {}, (), b'{"a":3,"b":2}'),
        (b'{"a":1}', {"a": b"2"}, ("a",), b'{"a":2}'),
    ],
)
def test_top_level_fields_are_spliced(
    body: bytes, changes: dict[str, bytes], remove: tuple[str, ...], result: bytes
) -> None:
    """Order and every byte of other values stay; a doubled key cannot mean two things to two readers."""
    assert splice(body, set=changes, remove=remove) == result


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'{"a":', b"[" * 100_000])
def test_only_objects_can_be_spliced(body: bytes) -> None:
    """Anything else is the client's mistake."""
    with pytest.raises(InvalidRequest):
        splice(body, set={}, remove=())
    with pytest.raises(InvalidRequest):
        without_doubles(body)


@pytest.mark.parametrize(
    ("body", "result"),
    [
        (b' {"b" : 1, "a": {"x": [1, 2]} }', b'{"b":1,"a":{"x": [1, 2]}}'),
        (b'{"a":1,"b":2,"\\u0061":3}', b'{"a":3,"b":2}'),
        (b"{}", b"{}"),
    ],
)
def test_each_key_is_left_once_however_it_is_spelled(body: bytes, result: bytes) -> None:
    """Protects what was read here from a reader that takes the first of two values, or the other spelling."""
    assert without_doubles(body) == result
