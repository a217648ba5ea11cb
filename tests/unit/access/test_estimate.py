"""How large a request probably is."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.access.estimate import input_tokens, output_tokens


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        (b"{}", 1),
        (b'{"text": "' + b"four" * 1000 + b'"}', 1003),
        (b'{"text": "' + b"some words " * 1000 + b'"}', 2753),
    ],
)
def test_text_is_a_token_for_four_bytes(body: bytes, tokens: int) -> None:
    """Protects limits from requests that are counted as nothing."""
    assert input_tokens(body) == tokens


def test_an_attachment_counts_as_an_image_and_not_by_its_bytes() -> None:
    """Protects a request with a picture from being taken for a million tokens."""
    picture = base64.b64encode(bytes(range(256)) * 20_000)
    body = b'{"a": "hello", "data": "' + picture + b'", "url": "data:image/png;base64,' + picture + b'"}'
    assert 3200 <= input_tokens(body) <= 3220


def _by_taking_it_apart(body: bytes) -> int:
    attachments = [text for text in body.split(b'"') if len(text) > 4096 and b" " not in text[:1024]]
    return max((len(body) - sum(map(len, attachments))) // 4, 1) + 1600 * len(attachments)


_LENGTHS = st.sampled_from((0, 1, 1023, 1024, 4095, 4096, 4097, 4098, 9000))
_TEXTS = st.builds(
    lambda before, after, space: b"a" * before + space + b"a" * after,
    _LENGTHS,
    _LENGTHS,
    st.sampled_from((b"", b" ")),
)


@given(st.lists(_TEXTS, max_size=6))
def test_attachments_are_found_wherever_they_stand(texts: list[bytes]) -> None:
    """Protects the estimate's short cut: it looks at few bytes, and overlooks no text that is long enough."""
    body = b'"'.join(texts)
    assert input_tokens(body) == _by_taking_it_apart(body)


@pytest.mark.parametrize(("allowed", "tokens"), [(None, 1000), (64, 64), (64_000, 1000)])
def test_an_answer_is_expected_to_be_of_middling_length(allowed: int | None, tokens: int) -> None:
    """Protects clients that allow many tokens and use few."""
    assert output_tokens(allowed) == tokens
