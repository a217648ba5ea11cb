"""A type for values that must never be shown."""

import hashlib
import hmac
from typing import Final, NoReturn

_MASK: Final = "**********"


class Secret:
    """A string that masks itself wherever it might be printed.

    ``reveal()`` is the only way to its value, so every use can be found by that name. Two secrets are compared
    in constant time. Pickling is refused: a pickle is a file someone else may read.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself, for the one call that sends it where it belongs."""
        return self._value

    def digest(self) -> bytes:
        """SHA-256 of the whole value, 32 bytes."""
        return hashlib.sha256(self._value.encode()).digest()

    def fingerprint(self, key: bytes, purpose: str) -> str:
        """32 hex characters that name this secret for one purpose without telling anything about it."""
        return hmac.new(key, f"{purpose}\0{self._value}".encode(), hashlib.sha256).hexdigest()[:32]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self.digest())

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return f"Secret({_MASK!r})"

    def __str__(self) -> str:
        return _MASK

    def __format__(self, format_spec: str) -> str:
        return _MASK

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")
