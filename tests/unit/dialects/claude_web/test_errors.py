"""Errors of claude.ai, whatever their body is."""

import pytest

from proxy.dialects.claude_web import decode_error
from proxy.dialects.upstream import ErrorFacts

_CODE = (
    b'{"type":"error","error":{"type":"permission_error","message":"m","details":{"error_code":"c","x":1}}}'
)


@pytest.mark.parametrize(
    ("body", "facts"),
    [
        (_CODE, ErrorFacts("permission_error", "m", "c")),
        (b'{"error":{"type":"api_error","message":"m","details":null}}', ErrorFacts("api_error", "m")),
        (b'{"error":{"type":"api_error","details":"d"}}', ErrorFacts("api_error")),
        (
            b'{"error":{"type":"rate_limit_error","message":"{\\"resetsAt\\":5}"}}',
            ErrorFacts("rate_limit_error", '{"resetsAt":5}'),
        ),
        (b'{"error":null}', ErrorFacts()),
        (b'{"error":"x"}', ErrorFacts()),
        (b"<html>", ErrorFacts()),
        (b"", ErrorFacts()),
        (b"[" * 100_000, ErrorFacts()),
    ],
)
def test_error_bodies_of_any_kind_are_read(body: bytes, facts: ErrorFacts) -> None:
    """Protects the table of failures: a page or half an error decides nothing."""
    assert decode_error(body) == facts
