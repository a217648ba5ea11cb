"""Thinking blocks as the ``encrypted_content`` of reasoning items: sealed, so that only what we made is taken back.

A client brings reasoning items back unread. A seal is no encryption: who gets one may read the thinking in it, which
was shown to them anyway or is encrypted by its provider; but nobody can make or change one without our secret key.
Source: "Keeping reasoning items in context" in OpenAI's documentation.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import Final

import msgspec

from proxy.model.content import RedactedThinkingBlock, ThinkingBlock

_PREFIX: Final = "crs1."
_PURPOSE: Final = b"carousel: reasoning items"
_MAC_BYTES: Final = 32
_decoder: msgspec.json.Decoder[ThinkingBlock | RedactedThinkingBlock] = msgspec.json.Decoder(
    ThinkingBlock | RedactedThinkingBlock
)


class SealBroken(ValueError):
    """No seal of ours, or one that was changed."""


class Seal:
    """Seals thinking blocks and opens them again.

    Args:
        secret_key: at least 16 bytes; whoever has the same one opens the same seals.
    """

    __slots__ = ("_key",)

    def __init__(self, secret_key: bytes) -> None:
        self._key = hmac.digest(secret_key, _PURPOSE, "sha256")

    def close(self, block: ThinkingBlock | RedactedThinkingBlock) -> str:
        """The block as text for a client; the same block gives the same text."""
        return _text(self._mac(payload := msgspec.json.encode(block)) + payload)

    def open(self, text: str) -> ThinkingBlock | RedactedThinkingBlock:
        """The block again. Raises SealBroken."""
        if not text.startswith(_PREFIX) or not text.isascii():
            raise SealBroken
        try:
            sealed = urlsafe_b64decode(text.removeprefix(_PREFIX) + "===")
        except ValueError:
            raise SealBroken from None
        payload = sealed[_MAC_BYTES:]
        # the second comparison refuses what decodes to the same bytes and is not what we wrote
        if not hmac.compare_digest(sealed[:_MAC_BYTES], self._mac(payload)) or _text(sealed) != text:
            raise SealBroken
        return _decoder.decode(payload)

    def _mac(self, payload: bytes) -> bytes:
        return hmac.new(self._key, payload, sha256).digest()


def _text(sealed: bytes) -> str:
    return _PREFIX + urlsafe_b64encode(sealed).decode().rstrip("=")
