"""How large a request probably is."""

import base64

import pytest

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


@pytest.mark.parametrize(("allowed", "tokens"), [(None, 1000), (64, 64), (64_000, 1000)])
def test_an_answer_is_expected_to_be_of_middling_length(allowed: int | None, tokens: int) -> None:
    """Protects clients that allow many tokens and use few."""
    assert output_tokens(allowed) == tokens
