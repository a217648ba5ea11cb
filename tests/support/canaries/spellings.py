"""Secrets that are found again wherever they appear, in whatever spelling."""

import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping
from typing import Final
from urllib.parse import quote

from tests.support.canaries.marks import MARK, proof

PIECE_CHARACTERS: Final = 12
CANARIES: Final = {
    "client key": "Cq7+client/Lx82mWvRt5=Yb3Kd9",
    "second client key": "Dw4+second/Nz61pXuHs8=Jc5Fg2",
    "admin key": "Er9+admin/Pv37qTyBn4=Mh6Zk8",
    "secret key": "Ft2+signing/Qx95rUwCm7=Lj4Vb3",
    "upstream key 1": "Gy5+firstkey/Rz48sVxDn9=Kk2Wc6",
    "upstream key 2": "Hu8+another2/Sb73tWzEp2=Xl5Td9",
    "upstream key 3": "Ji3+numbered3/Tc16uXyFq5=Zm8Ue4",
    "key from a variable": "Kp6+variable/Ud84vYaGr8=An3Vf7",
    "claude.ai cookie": "Ls9+cookie/Ve57wZbHs3=Bp6Wg2",
    "Claude Code token": "Md2+token/Wf29xAcIt6=Cq9Xh5",
    "fallback key": "Nf5+fallback/Xg62yBdJu9=Dr2Yj8",
    "password of the proxy": "Pg8proxyYh35zCeKv2Es5Zk3",
    "password of Redis": "Qh3redisZj98aDfLw5Ft8Am6",
}
"""One for each kind of secret there is, with the characters that encodings change."""
_STEP: Final = PIECE_CHARACTERS // 2
_WORD: Final = re.compile(rb"[!#-&*+\--:=?@A-Z^_`a-z~]{12,}")
_HEXADECIMAL: Final = re.compile(rb"[0-9a-f]{24,}")
_COUNTED_UP: Final = re.compile(r"[-_]?(?:0123456789|123456789)(?:abcdef)?(?:0123456789)?(?:abcdef)?$")


def telling(secret: str) -> str:
    """The part that nobody else has.

    Of a secret that a test has spelled, that is from a little before the mark, and without the digits in order at its
    end. One that was made shares its mark, and what stands before that, with too many.
    """
    if own := proof(secret):
        return own
    start = max(secret.find(MARK), 0)
    return _COUNTED_UP.sub("", secret[max(start - _STEP, 0) :])


def spellings(secret: str) -> Iterator[bytes]:
    """The secret in every usual encoding but hexadecimal, wherever it may stand in a text."""
    raw = secret.encode()
    yield raw
    yield quote(secret, safe="").encode()
    yield quote(secret).encode()
    for shift in range(3):
        # Inside a longer text base64 looks different for each of three places; the outermost characters depend on
        # the neighbours.
        for encode in (b64encode, urlsafe_b64encode):
            encoded = encode(b"\0" * shift + raw).rstrip(b"=")
            yield encoded[4 if shift else 0 : -1]


class Flock:
    """Known secrets, of which any 12 characters in a row are found in any spelling, in capitals or not.

    A text is looked at in steps of half a piece: where a piece stands, one of those is inside it.
    """

    def __init__(self, secrets: Mapping[str, str] | None = None) -> None:
        """`secrets` are known from the start, by their names."""
        self._known: set[str] = set()
        self._pieces: dict[bytes, str] = {}
        self._halves: set[bytes] = set()
        for name, value in (secrets or {}).items():
            self.learn(value, name)

    def __len__(self) -> int:
        return len(self._known)

    def learn(self, secret: str, name: str) -> None:
        """Look for this one too, under a name that may be told; does nothing where it is known."""
        if secret in self._known:
            return
        self._known.add(secret)
        for spelling in spellings(telling(secret)):
            low = spelling.lower()
            for start in range(max(len(low) - PIECE_CHARACTERS + 1, 0)):
                piece = low[start : start + PIECE_CHARACTERS]
                self._pieces.setdefault(piece, name)
                self._halves.update(piece[half : half + _STEP] for half in range(_STEP + 1))

    def found(self, data: bytes) -> list[str]:
        """Names of the secrets of which a piece is in `data`, in order."""
        # the same words come again and again, and most are short
        words = b"\n".join(set(_WORD.findall(data))).lower()
        text = b"\n".join((words, *_unfolded(words)))
        halves, pieces = self._halves, self._pieces
        names: set[str] = set()
        for start in range(0, len(text) - _STEP + 1, _STEP):
            if text[start : start + _STEP] in halves:
                around = range(max(start - _STEP, 0), start + 1)
                names.update(_told(pieces, (text[at : at + PIECE_CHARACTERS] for at in around)))
        return sorted(names)


def _unfolded(text: bytes) -> Iterator[bytes]:
    """What is there in hexadecimal, whichever digit is the first of its byte."""
    for digits in _HEXADECIMAL.findall(text):
        for start in range(2):
            pairs = digits[start : start + (len(digits) - start) // 2 * 2]
            yield bytes.fromhex(pairs.decode()).lower()


def _told(pieces: Mapping[bytes, str], parts: Iterable[bytes]) -> Iterator[str]:
    for part in parts:
        if (name := pieces.get(part)) is not None:
            yield name


_ALL: Final = Flock(CANARIES)


def found(data: bytes, secrets: Mapping[str, str] = CANARIES) -> list[str]:
    """Names of the secrets of which a piece is in `data` in any spelling."""
    return (_ALL if secrets is CANARIES else Flock(secrets)).found(data)
