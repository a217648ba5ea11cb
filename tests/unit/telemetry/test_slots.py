"""Memory that several processes share: each piece is read whole or not at all."""

import os
from collections.abc import Iterator

import pytest

from proxy.telemetry.slots import Slots


@pytest.fixture
def slots() -> Iterator[Slots]:
    """Two pieces."""
    made = Slots(2)
    yield made
    made.close()


def test_a_piece_is_what_was_written_last(slots: Slots) -> None:
    """Protects from the rest of a longer piece that was there before, and from another process's."""
    assert slots.count == 2
    assert slots.read(0) is None
    for data in (b"a long one", b"short", b""):
        slots.write(0, data)
        assert slots.read(0) == data
    assert slots.read(1) is None


def test_what_a_child_writes_its_parent_and_siblings_read(slots: Slots) -> None:
    """Protects the reason for all this: the memory is the same after a fork."""
    pid = os.fork()
    if pid == 0:
        slots.write(1, b"from a child")
        slots.want()
        os._exit(0)
    os.waitpid(pid, 0)
    assert slots.read(1) == b"from a child"
    assert slots.wanted == 1


def test_a_piece_that_is_half_written_is_no_piece(slots: Slots, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects sums from a mixture of two pages, should a process be read, or killed, while it writes."""
    slots.write(0, b"0123456789" * 1000)
    whole = os.pwrite

    def half(file: int, data: bytes, offset: int) -> int:
        return whole(file, data[: len(data) // 2], offset)

    monkeypatch.setattr(os, "pwrite", half)
    slots.write(0, b"abcdefghij" * 1000)
    assert slots.read(0) is None


def test_each_question_raises_the_number(slots: Slots) -> None:
    """Protects from a question that nobody notices."""
    assert slots.wanted == 0
    assert [slots.want(), slots.want()] == [1, 2]
    assert slots.wanted == 2
