"""The last line of defence against secrets in output: no rendered line leaves without passing through here."""

import re
from base64 import b64encode
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

from proxy.secrets import Secret

_MASK: Final = b"[redacted]"
_SHORTEST_SECRET = 6
_PATTERNS: Final = (
    rb"sk-ant-[A-Za-z0-9_-]{8,}",
    rb"sk-carousel-[A-Za-z0-9_-]{8,}",
    rb"(?i:bearer|sessionkey=)\s*[A-Za-z0-9._~+/=-]{16,}",
    rb"://[^/\s:@\"']+:[^/\s@\"']+@",
)


class Redactor:
    """Masks every known secret, and whatever looks like one, in rendered bytes."""

    def __init__(self) -> None:
        self._known: set[bytes] = set()
        self._pattern = self._compile()

    def learn(self, secrets: Iterable[Secret]) -> None:
        """Mask these too: as they are, URL-encoded, and in base64."""
        for secret in secrets:
            value = secret.reveal()
            if len(value) < _SHORTEST_SECRET:
                continue
            raw = value.encode()
            self._known.update((raw, quote(value, safe="").encode(), b64encode(raw).rstrip(b"=")))
        self._pattern = self._compile()

    def clean(self, line: bytes) -> bytes:
        """The line without secrets."""
        return self._pattern.sub(_MASK, line)

    def _compile(self) -> re.Pattern[bytes]:
        exact = (re.escape(value) for value in sorted(self._known, key=len, reverse=True))
        return re.compile(b"|".join((*exact, *_PATTERNS)))


REDACTOR: Final = Redactor()
