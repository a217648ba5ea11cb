"""Secrets that are found again wherever they appear, in whatever spelling."""

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import quote

_VISIBLE_CHARACTERS: Final = 12
CANARIES: Final = {
    "client key": "Cq7+client/Lx82mWvRt5=Yb3Kd9",
    "second client key": "Dw4+second/Nz61pXuHs8=Jc5Fg2",
    "admin key": "Er9+admin/Pv37qTyBn4=Mh6Zk8",
    "secret key": "Ft2+signing/Qx95rUwCm7=Lj4Vb3",
    "upstream key 1": "Gy5+upstream1/Rz48sVxDn9=Kk2Wc6",
    "upstream key 2": "Hu8+upstream2/Sb73tWzEp2=Xl5Td9",
    "upstream key 3": "Ji3+upstream3/Tc16uXyFq5=Zm8Ue4",
    "key from a variable": "Kp6+variable/Ud84vYaGr8=An3Vf7",
    "claude.ai cookie": "Ls9+cookie/Ve57wZbHs3=Bp6Wg2",
    "Claude Code token": "Md2+token/Wf29xAcIt6=Cq9Xh5",
    "fallback key": "Nf5+fallback/Xg62yBdJu9=Dr2Yj8",
    "password of the proxy": "Pg8proxyYh35zCeKv2Es5Zk3",
    "password of Redis": "Qh3redisZj98aDfLw5Ft8Am6",
}


def spellings(secret: str) -> Iterator[bytes]:
    """The secret, its telling beginning, and every usual encoding of either, wherever it may stand in a text."""
    for text in (secret, secret[:_VISIBLE_CHARACTERS]):
        raw = text.encode()
        yield raw
        yield quote(text, safe="").encode()
        yield quote(text).encode()
        yield raw.hex().encode()
        for shift in range(3):
            # Inside a longer text base64 looks different for each of three places; the outermost characters
            # depend on the neighbours.
            for encode in (b64encode, urlsafe_b64encode):
                encoded = encode(b"\0" * shift + raw).rstrip(b"=")
                yield encoded[4 if shift else 0 : -1]


def found(data: bytes, secrets: Mapping[str, str] = CANARIES) -> list[str]:
    """Names of the secrets that are in `data` in any spelling."""
    lowered = data.lower()
    return [
        name
        for name, secret in secrets.items()
        if any(spelling in data or spelling.lower() in lowered for spelling in spellings(secret))
    ]
