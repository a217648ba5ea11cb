"""A form is told from others by what it holds."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import GatewayError
from proxy.server.spool import FormDigest, Spool
from proxy.tasks import finish_all

_BOUNDARIES = st.text("abcXYZ019'()+_-./:=?", min_size=1, max_size=70).map(str.encode)
_CONTENT = st.lists(st.sampled_from([b"a", b"-", b"--", b"\r\n", b"words", b"\0"]), max_size=12).map(b"".join)


def _form(boundary: bytes, parts: list[bytes]) -> bytes:
    delimiter = b"\r\n--" + boundary
    return delimiter.join([b"", *(b"\r\nname: x\r\n\r\n" + part for part in parts), b"--\r\n"])[2:]


def _digest(boundary: bytes, form: bytes, cuts: list[int], about: bytes = b"") -> str:
    subject, begin = FormDigest(about, boundary), 0
    for end in [*sorted(cut % (len(form) + 1) for cut in cuts), len(form)]:
        subject.update(form[begin:end])
        begin = end
    return subject.hexdigest()


@given(_BOUNDARIES, _BOUNDARIES, st.lists(_CONTENT, max_size=3), st.lists(st.integers(0, 400), max_size=8))
def test_neither_the_boundary_nor_the_pieces_make_another_form(
    one: bytes, other: bytes, parts: list[bytes], cuts: list[int]
) -> None:
    """Protects retries, which come with a boundary of their own, from being taken for another order."""
    forms = [_form(boundary, parts) for boundary in (one, other)]
    if all(
        form.count(b"--" + boundary) == len(parts) + 1
        for form, boundary in zip(forms, (one, other), strict=True)
    ):
        assert _digest(one, forms[0], cuts) == _digest(other, forms[1], [])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([b"a"], [b"b"]),
        ([b"a"], [b"a", b""]),
        ([b"a", b"b"], [b"b", b"a"]),
        ([b"ab", b"c"], [b"a", b"bc"]),
        ([], [b""]),
    ],
)
def test_other_parts_make_another_form(one: list[bytes], other: list[bytes]) -> None:
    """Protects a client with a bug from the answer to another upload."""
    boundary = b"xyz"
    assert _digest(boundary, _form(boundary, one), []) != _digest(boundary, _form(boundary, other), [])
    assert _digest(boundary, b"form", [], b"POST /a") != _digest(boundary, b"form", [], b"POST /b")


@pytest.fixture
def full() -> Iterator[IO[bytes]]:
    """A file on a disk without room."""
    with Path("/dev/full").open("wb", buffering=0) as opened:
        yield opened


async def test_a_full_disk_is_an_answer(full: IO[bytes]) -> None:
    """Protects clients from a 500 for what an upload without a key would not have met."""
    with pytest.raises(GatewayError) as caught:
        await Spool(full, FormDigest(b"", b"x"), 1.0).put([b"words"])
    assert (caught.value.status, caught.value.code) == (503, "not_kept")


@pytest.fixture
def file(tmp_path: Path) -> Iterator[IO[bytes]]:
    """A file on a disk with room."""
    with (tmp_path / "x").open("w+b") as opened:
        yield opened


async def test_what_was_put_comes_out_again(file: IO[bytes]) -> None:
    """Protects uploads, which go upstream as they came, however large."""
    pieces = [bytes([number]) * 700_000 for number in range(4)]
    subject = Spool(file, FormDigest(b"", b"x"), 60.0)
    for piece in pieces:
        await subject.put([piece])
    assert subject.length_bytes == 2_800_000
    async with asyncio.timeout(60) as taken:
        found, sent = list[bytes](), list[bool]()
        async for piece in subject.pieces("api-1", taken):
            found.append(piece)
            sent.append(subject.sent)
    assert b"".join(found) == b"".join(pieces)
    # whoever breaks off with the last piece in hand may have used it
    assert sent == [False, False, True]
    subject.close()
    await finish_all(within_s=5)
    assert file.closed
