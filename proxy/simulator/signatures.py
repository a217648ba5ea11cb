"""The signatures of thinking blocks: each proves a text, and names the conversation it was thought in.

Source: the extended thinking page of Anthropic's documentation. A block whose text is not shown is proven by its
signature alone: whatever stands in its text is ignored.
"""

import base64
import hmac

SIGNATURE_PREFIX = "sim."

_DIGEST_BYTES = 16
_MAC_BYTES = 32
_SHOWN, _HIDDEN = b"\1", b"\0"


def sign(digest: bytes, text: str, seed: int) -> str:
    """The signature of a block of this text, empty where none is shown, made in the conversation of this digest."""
    bound = (_SHOWN if text else _HIDDEN) + digest
    return SIGNATURE_PREFIX + base64.b64encode(bound + _mac(bound, text, seed)).decode()


def is_signature(signature: str) -> bool:
    """Whether a signature has the form `sign` gives."""
    return len(_raw(signature)) == 1 + _DIGEST_BYTES + _MAC_BYTES


def conversation_of(signature: str, text: str, seed: int) -> bytes | None:
    """The digest of the conversation a block was made in; None where the signature does not prove the text."""
    raw = _raw(signature)
    bound, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
    hidden = bound.startswith(_HIDDEN)
    return bound[1:] if hmac.compare_digest(mac, _mac(bound, "" if hidden else text, seed)) else None


def _raw(signature: str) -> bytes:
    if not signature.startswith(SIGNATURE_PREFIX):
        return b""
    try:
        return base64.b64decode(signature.removeprefix(SIGNATURE_PREFIX), validate=True)
    except ValueError:
        return b""


def _mac(bound: bytes, text: str, seed: int) -> bytes:
    return hmac.digest(f"signature {seed}".encode(), bound + text.encode("utf-8", "surrogatepass"), "sha256")
