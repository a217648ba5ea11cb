"""Seals: what we hand out comes back as it was, or not at all."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.openai_responses.sealing import Seal, SealBroken
from proxy.model.content import RedactedThinkingBlock, ThinkingBlock

_SEAL = Seal(b"k" * 32)
_BLOCKS = st.builds(ThinkingBlock, st.text(max_size=30), st.text(max_size=30)) | st.builds(
    RedactedThinkingBlock, st.text(max_size=30)
)


@given(_BLOCKS)
def test_what_was_sealed_is_opened_as_it_was(block: ThinkingBlock | RedactedThinkingBlock) -> None:
    """Protects signatures, which are bound to every byte of the thinking."""
    text = _SEAL.close(block)
    assert text.isascii()
    assert _SEAL.open(text) == block
    assert Seal(b"k" * 32).open(text) == block


@given(_BLOCKS, st.data())
def test_a_seal_that_was_changed_anywhere_is_broken(
    block: ThinkingBlock | RedactedThinkingBlock, data: st.DataObject
) -> None:
    """Protects the upstream from thinking a client has made up, be it one letter."""
    text = _SEAL.close(block)
    place = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from("AZaz09-_.= \n").filter(lambda one: one != text[place]))
    with pytest.raises(SealBroken):
        _SEAL.open(text[:place] + letter + text[place + 1 :])
    with pytest.raises(SealBroken):
        _SEAL.open(text + letter)


@pytest.mark.parametrize(
    "text",
    ["", "crs1.", "crs1.AAAA", "gAAAAABo", "crs1.é", "gw1.x", "crs1." + "A" * 43, "crs1.A"],
)
def test_what_is_no_seal_of_ours_is_broken(text: str) -> None:
    """Protects against another provider's reasoning, and against a seal of nothing."""
    with pytest.raises(SealBroken):
        _SEAL.open(text)


def test_another_secret_key_opens_nothing() -> None:
    """Protects one gateway from what another one sealed."""
    with pytest.raises(SealBroken):
        Seal(b"l" * 32).open(_SEAL.close(ThinkingBlock("t", "s")))


def test_the_key_is_nowhere_in_a_seal_and_not_the_secret_itself() -> None:
    """Protects the secret key, which signs other things too."""
    secret = b"k" * 32
    text = Seal(secret).close(ThinkingBlock("t", "s"))
    assert secret.decode() not in text
    assert secret != Seal(secret)._key
    assert b"signature" in msgspec.json.encode(ThinkingBlock("t", "s"))
