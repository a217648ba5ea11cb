"""Where an answer is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.claude_web.cutting import Cutter, Reached


def _cut(pieces: list[str], sequences: list[str], max_tokens: int | None) -> tuple[str, Reached | None, int]:
    cutter = Cutter(sequences, max_tokens)
    shown = ""
    for piece in pieces:
        text, reached = cutter.feed(piece)
        shown += text
        if reached is not None:
            return shown, reached, cutter.shown_bytes
    text, reached = cutter.flush()
    return shown + text, reached, cutter.shown_bytes


@pytest.mark.parametrize(
    ("text", "sequences", "shown", "sequence"),
    [
        ("abc", [], "abc", None),
        ("abSTOPcd", ["STOP"], "ab", "STOP"),
        ("abSTO", ["STOP"], "abSTO", None),
        ("abc", ["b", "abc"], "a", "b"),
        ("xabc", ["c", "abc"], "x", "abc"),
        ("aab", ["ab"], "a", "ab"),
        ("x", ["x"], "", "x"),
        ("abc", [""], "abc", None),
    ],
)
def test_text_ends_before_the_stop_sequence_that_is_complete_first(
    text: str, sequences: list[str], shown: str, sequence: str | None
) -> None:
    """Protects stop sequences: none of one is ever shown, and what only looked like one is."""
    reached = None if sequence is None else Reached("stop_sequence", sequence)
    assert _cut([text], sequences, None)[:2] == (shown, reached)
    assert _cut(list(text), sequences, None)[:2] == (shown, reached)


@pytest.mark.parametrize(
    ("text", "max_tokens", "shown"),
    [
        ("abcdefgh", 2, None),
        ("abcdefghi", 2, "abcdefgh"),
        ("éééé", 2, None),
        ("abcé", 1, "abc"),
        ("😀😀", 1, "😀"),
    ],
)
def test_an_answer_ends_when_a_quarter_of_its_bytes_passes_the_limit(
    text: str, max_tokens: int, shown: str | None
) -> None:
    """Protects max_tokens: exactly as much is shown as fits, whole characters, and no more."""
    reached = None if shown is None else Reached("max_tokens")
    for pieces in ([text], list(text)):
        assert _cut(pieces, [], max_tokens)[:2] == (text if shown is None else shown, reached)


def test_what_comes_first_ends_the_answer() -> None:
    """Protects both limits together."""
    assert _cut(["abcdSTOP"], ["STOP"], 1)[:2] == ("abcd", Reached("stop_sequence", "STOP"))
    assert _cut(["abcdeSTOP"], ["STOP"], 1)[:2] == ("abcd", Reached("max_tokens"))


@given(
    text=st.text("abé😀", max_size=30),
    sequences=st.lists(st.text("abé", max_size=4), max_size=3),
    max_tokens=st.none() | st.integers(1, 8),
    data=st.data(),
)
def test_however_text_is_cut_into_pieces_the_same_is_shown(
    text: str, sequences: list[str], max_tokens: int | None, data: st.DataObject
) -> None:
    """Protects against sequences that fall between two deltas."""
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)))))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    whole = _cut([text], sequences, max_tokens)
    assert _cut(pieces, sequences, max_tokens)[:2] == whole[:2]
    shown, reached, _ = whole
    assert text.startswith(shown)
    assert not any(sequence in shown for sequence in sequences if sequence)
    if max_tokens is not None:
        assert len(shown.encode()) <= 4 * max_tokens
    if reached is None:
        assert shown == text
