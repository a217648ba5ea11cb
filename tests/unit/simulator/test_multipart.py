"""Reading the one file of a form."""

import pytest

from proxy.simulator.multipart import Part, file_part

_TYPE = 'multipart/form-data; boundary="x y"'


def _form(
    name: str = "file", content: bytes = b"abc", *, head: str = "", end: bytes = b"\r\n--x y--\r\n"
) -> bytes:
    first = f'--x y\r\nContent-Disposition: form-data; filename="n.txt"; name="{name}"\r\n{head}\r\n'
    return first.encode() + content + end


@pytest.mark.parametrize("content", [b"", b"abc", b"\r\n\r\n\xff\x00", b" --x y", b"\r\n--x"])
def test_a_file_comes_out_byte_for_byte(content: bytes) -> None:
    """Protects the counting of bytes: whatever a file holds, blank lines and hyphens too."""
    found = file_part(_TYPE, _form(content=content, head="Content-Type: Text/Plain; charset=utf-8\r\n"))
    assert found == Part("n.txt", "text/plain", content)


def test_other_parts_are_passed_over() -> None:
    """Protects forms that say more than the file."""
    both = _form("other", b"no", end=b"\r\n") + _form("file", b"yes")
    assert file_part(_TYPE, both) == Part("n.txt", "", b"yes")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", _form()),
        ("multipart/form-data", _form()),
        (_TYPE, b""),
        (_TYPE, _form("other")),
        (_TYPE, _form(end=b"")),
        (_TYPE, _form(end=b"\r\n--x y\r\n")),
    ],
)
def test_what_is_no_form_or_was_cut_short_has_no_file(content_type: str, body: bytes) -> None:
    """Protects tests of uploads: half a file is none."""
    assert file_part(content_type, body) is None
