"""The limit as the end of an answer tells it."""

import pytest

from proxy.dialects.claude_web.limit import decode_limit

_WINDOWS = (
    b'"windows":{"5h":{"status":"exceeded_limit","resets_at":70,"utilization":1.0},'
    b'"7d":{"status":"within_limit","resets_at":900,"utilization":0.2,"new":1}}'
)


@pytest.mark.parametrize(
    ("raw", "approaching", "exceeded", "until"),
    [
        (b'{"type":"within_limit","resetsAt":null,"remaining":null}', False, False, None),
        (b'{"type":"approaching_limit","resetsAt":60,"remaining":1}', True, False, None),
        (b'{"type":"exceeded_limit","resetsAt":60}', False, True, 60_000),
        (b'{"type":"exceeded_limit",' + _WINDOWS + b"}", False, True, 70_000),
        (b'{"type":"exceeded_limit"}', False, True, None),
        (b'{"type":"something_new"}', False, False, None),
    ],
)
def test_a_limit_is_near_reached_or_neither(
    raw: bytes, approaching: bool, exceeded: bool, until: int | None
) -> None:
    """Protects the pool: only a limit that is reached has an end that counts."""
    facts = decode_limit(raw)
    assert facts is not None
    assert (facts.approaching, facts.exceeded, facts.until_unix_ms) == (approaching, exceeded, until)


@pytest.mark.parametrize("raw", [b"null", b"{}", b'{"type":5}', b'{"type":"x","windows":[]}', b"["])
def test_a_form_nobody_has_seen_says_nothing(raw: bytes) -> None:
    """Protects answers from news about the account."""
    assert decode_limit(raw) is None
