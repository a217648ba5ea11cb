"""The last line of defence against secrets in output: no rendered line leaves without passing through here.

It runs on every line of the log, so it looks before it searches: most lines hold none of the few words that a
secret of a known form begins with, and those are found ten times faster than a pattern is tried. Of those words, and
of the secrets that are known, most hold a byte that is in hardly any line: that one is found ten times faster still.
"""

import re
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from proxy.secrets import Secret

_MASK: Final = b"[redacted]"
_SHORTEST_SECRET: Final = 6
_USUAL: Final = frozenset(b'abcdefghijklmnopqrstuvwxyz0123456789TZ":,._-{}/ ')
"""Bytes that most lines hold: those of JSON, of names and of times."""


_Needle = tuple[int, bytes]
"""What is looked for, behind the byte of it that is in the fewest lines."""


@dataclass(frozen=True, slots=True)
class _Form:
    """What secrets of one form look like.

    Attributes:
        hints: one of these is in every line that holds such a secret.
        pattern: finds it.
    """

    hints: tuple[_Needle, ...]
    pattern: re.Pattern[bytes]


def _needle(wanted: bytes) -> _Needle:
    return next((byte for byte in wanted if byte not in _USUAL), wanted[0]), wanted


def _form(pattern: bytes, *hints: bytes) -> _Form:
    return _Form(tuple(map(_needle, hints)), re.compile(pattern))


_FORMS: Final = (
    _form(rb"sk-(?:ant|carousel)-[A-Za-z0-9_-]{8,}", b"sk-"),
    # the same in base64
    _form(rb"c2stY(?:W50L|2Fyb3VzZW)[A-Za-z0-9+/_-]{8,}=*", b"c2stY"),
    _form(rb"(?i:bearer)\s*[A-Za-z0-9._~+/=-]{16,}", b"earer", b"EARER"),
    _form(rb"(?i:sessionkey=)\s*[A-Za-z0-9._~+/=-]{16,}", b"essionKey=", b"essionkey="),
    _form(rb"://[^/\s:@\"']+:[^/\s@\"']+@", b"://"),
)


class Redactor:
    """Masks every known secret, and whatever looks like one, in rendered bytes."""

    def __init__(self) -> None:
        self._learned: dict[str, frozenset[bytes]] = {}
        self._known: tuple[_Needle, ...] = ()

    def learn(self, secrets: Iterable[Secret], *, topic: str = "") -> None:
        """Mask these too: as they are, URL-encoded, and in base64. Those of a form of their own are found by it."""
        self._learn(topic, self._learned.get(topic, frozenset()) | self._spellings(secrets))

    def keep(self, secrets: Iterable[Secret], *, topic: str) -> None:
        """Of all that was learned under `topic`, mask only these from now on; other topics stay as they are."""
        self._learn(topic, self._spellings(secrets))

    def _learn(self, topic: str, spellings: frozenset[bytes]) -> None:
        self._learned[topic] = spellings
        known = sorted(frozenset().union(*self._learned.values()), key=len, reverse=True)
        self._known = tuple(map(_needle, known))

    def _spellings(self, secrets: Iterable[Secret]) -> frozenset[bytes]:
        found: set[bytes] = set()
        for secret in secrets:
            value = secret.reveal()
            if len(value) < _SHORTEST_SECRET:
                continue
            raw = value.encode()
            written = (raw, quote(value, safe="").encode(), b64encode(raw).rstrip(b"="))
            found.update(form for form in written if self._masked_by_form(form) != _MASK)
        return frozenset(found)

    def clean(self, line: bytes) -> bytes:
        """The line without secrets."""
        for seldom, secret in self._known:
            # `in` takes what it is given for a number first, and finding out that bytes are none costs a search
            if seldom in line and line.find(secret) >= 0:
                line = line.replace(secret, _MASK)
        return self._masked_by_form(line)

    def _masked_by_form(self, line: bytes) -> bytes:
        for form in _FORMS:
            for seldom, hint in form.hints:
                if seldom in line and line.find(hint) >= 0:
                    line = form.pattern.sub(_MASK, line)
                    break
        return line


REDACTOR: Final = Redactor()
