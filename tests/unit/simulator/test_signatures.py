"""What a thinking block's signature proves."""

import pytest

from proxy.simulator.signatures import conversation_of, is_signature, sign

_TALK = b"conversation 16b"


@pytest.mark.parametrize("text", ["I think.", "", "é\ud800"])
def test_a_signature_proves_its_text_and_names_its_conversation(text: str) -> None:
    """Protects the check of every block that comes back."""
    signature = sign(_TALK, text, 0)
    assert is_signature(signature)
    assert conversation_of(signature, text, 0) == _TALK


@pytest.mark.parametrize(
    ("signature", "text"),
    [
        (sign(_TALK, "I think.", 0), "I thought."),
        (sign(_TALK, "I think.", 0), ""),
        (sign(_TALK, "I think.", 1), "I think."),
        (sign(b"another talk 16b", "I think.", 0)[:-4] + sign(_TALK, "I think.", 0)[-4:], "I think."),
        ("gw1.abc", "I think."),
        ("", ""),
    ],
)
def test_a_changed_text_or_anothers_signature_proves_nothing(signature: str, text: str) -> None:
    """Protects tests from a gateway that edits thinking unnoticed."""
    assert conversation_of(signature, text, 0) is None


def test_a_text_put_into_a_hidden_block_is_ignored() -> None:
    """Protects clients that fill in what they were not shown, as the real API lets them."""
    assert conversation_of(sign(_TALK, "", 0), "made up", 0) == _TALK


@pytest.mark.parametrize(
    "signature", ["", "sim.", "gw1.abc", "sim.!!", "EqQB" + sign(_TALK, "", 0), "sim.QUJD"]
)
def test_signatures_are_recognised_by_their_form(signature: str) -> None:
    """Protects the difference between a signature and anything made up."""
    assert not is_signature(signature)
