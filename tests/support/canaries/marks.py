"""What makes the secrets and the prompts of the tests recognisable, wherever they turn up.

A secret is made by `secret`, or is a literal that holds `MARK`; a test of the architecture looks for those that do
neither. The simulated Claude of the tests goes on calling keys by their plain names; see `plain`.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Final

MARK: Final = "canary"
PROMPT: Final = "prompt-nightingale-7f3a"
"""A word of every prompt that the tests' own clients send without being told what to say."""
GREETING: Final = f"Hello! {PROMPT}"
_UPSTREAM_KEYS: Final = re.compile(r"ANTHROPIC_API_KEYS?|FALLBACK_API_KEY_\d")
_NAMES: Final = re.compile(r"[a-z0-9-]+(,[a-z0-9-]+)*")
_PLACEHOLDERS: Final = frozenset({"replace-me"})
_TOKEN: Final = re.compile(rf"[A-Za-z0-9._~+-]*{MARK}[A-Za-z0-9._~+-]*")
_MADE: Final = re.compile(rf"(?P<name>.+)-{MARK}-(?P<proof>[0-9a-z]{{20}})")


def secret(name: str) -> str:
    """A secret that is called so: the same each time, of at least 28 characters, none of which anybody would guess."""
    proof = hashlib.blake2b(name.encode(), digest_size=20, person=b"canaries").hexdigest()
    # letters and digits beyond those of ids in hexadecimal, or pieces of it might be pieces of those
    return f"{name}-{MARK}-{proof.translate(_BEYOND_HEXADECIMAL)[:20]}"


def marked(name: str) -> str:
    """A secret of this name; what is marked already, and a reference to a variable, as it is."""
    return name if MARK in name or name.startswith("$") or not name else secret(name)


def marked_settings(settings: Mapping[str, str]) -> dict[str, str]:
    """Settings whose upstream keys are marked, where they are names that could be keys."""
    return {
        name: ",".join(map(marked, value.split(",")))
        if _UPSTREAM_KEYS.fullmatch(name) and _NAMES.fullmatch(value) and value not in _PLACEHOLDERS
        else value
        for name, value in settings.items()
    }


def plain(key: str) -> str:
    """The name that `secret` was given; any other key as it is."""
    found = _MADE.fullmatch(key)
    return found["name"] if found is not None and secret(found["name"]) == key else key


def proof(key: str) -> str:
    """The end of a key that `secret` made, which no other has; of any other key, nothing."""
    found = _MADE.fullmatch(key)
    return found["proof"] if found is not None else ""


def marked_words(text: str) -> list[str]:
    """The words of a text that hold the mark: what a file or a variable has of secrets."""
    return _TOKEN.findall(text)


_BEYOND_HEXADECIMAL: Final = str.maketrans("0123456789abcdef", "ghjkmnpqrstuvwxy")
