"""Reading a form with a file as it comes."""

import hashlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.simulator.uploads import Upload, UploadBroken, UploadFault

_TYPE = 'multipart/form-data; boundary="b"'


def _form(content: bytes) -> bytes:
    return (
        b'--b\r\nContent-Disposition: form-data; name="expires_in_seconds"\r\n\r\n3600\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
        + content
        + b"\r\n--b--\r\n"
    )


@given(
    content=st.binary(max_size=60).filter(lambda one: b"--b" not in one), cuts=st.lists(st.integers(0, 400))
)
def test_a_form_is_the_same_however_it_is_split(content: bytes, cuts: list[int]) -> None:
    """Sizes and digests are what tests go by."""
    form = _form(content)
    upload = Upload(_TYPE)
    for start, stop in pairwise([0, *sorted(cut % (len(form) + 1) for cut in cuts), len(form)]):
        upload.feed(form[start:stop])
    assert upload.whole
    assert (upload.filename, upload.media_type, upload.file_bytes) == ("a.png", "image/png", len(content))
    assert upload.sha256 == hashlib.sha256(content).hexdigest()
    assert upload.fields == {"expires_in_seconds": "3600"}
    assert upload.size_bytes == len(form)


def test_half_a_form_is_not_whole() -> None:
    """What breaks off makes no file."""
    upload = Upload(_TYPE)
    upload.feed(_form(b"content")[:-8])
    assert not upload.whole


def test_a_fault_comes_in_its_turn() -> None:
    """The middle of an upload is where a test wants it."""
    upload = Upload(_TYPE, UploadFault(100, 413))
    upload.feed(b"x" * 99)
    with pytest.raises(UploadBroken) as broken:
        upload.feed(b"x")
    assert broken.value.status == 413
