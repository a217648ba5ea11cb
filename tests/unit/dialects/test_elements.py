"""A batch is cut into its requests while its bytes come."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.elements import Elements
from proxy.errors import TooLarge

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(alphabet='a"\\{}[]é,:'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet='b"\\}'), inner, max_size=3),
    max_leaves=8,
)
_OBJECTS = st.lists(st.dictionaries(st.text(alphabet='k"\\{'), _JSON, max_size=3), max_size=5)


def _fed(elements: Elements, pieces: list[bytes]) -> list[bytes]:
    return [element for piece in pieces for element in elements.feed(piece)]


@given(objects=_OBJECTS, cuts=st.lists(st.integers(0, 500), max_size=8))
def test_every_element_is_found_however_the_bytes_are_split(
    objects: list[dict[str, object]], cuts: list[int]
) -> None:
    """Protects the owner check: no request of a batch may slip by at the border of two pieces."""
    body = msgspec.json.encode({"requests": objects})
    places = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    pieces = [body[start:stop] for start, stop in pairwise(places)]
    found = _fed(Elements(10_000), pieces)
    assert [msgspec.json.decode(one) for one in found] == objects
    assert _fed(Elements(10_000), [body[place : place + 1] for place in range(len(body))]) == found


def test_escapes_are_read_as_the_grammar_has_them() -> None:
    """A quote after a backslash does not end a string, one after two does."""
    body = rb'{"requests":[{"a":"\\"},{"b":"\"}"},{"c":"\\\\"}]}'
    assert Elements(99).feed(body) == [rb'{"a":"\\"}', rb'{"b":"\"}"}', rb'{"c":"\\\\"}']


def test_an_element_over_the_limit_is_refused_before_its_end() -> None:
    """Protects memory: an element is held as a whole."""
    elements = Elements(20)
    assert elements.feed(b'{"requests":[{"a":"0123456789"}') == [b'{"a":"0123456789"}']
    assert elements.feed(b',{"a":"0123') == []
    with pytest.raises(TooLarge):
        elements.feed(b"456789abcdef")


@given(st.binary(max_size=200))
def test_what_is_no_json_never_breaks_it(data: bytes) -> None:
    """Whatever a client sends, refusing it is the upstream's part."""
    Elements(1000).feed(data)
