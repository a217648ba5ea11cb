"""Secrets that lie about where something is built: in the environment, and in files of the working folder."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tests.support.canaries.spellings import CANARIES, found

ENVIRONMENT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "API_KEY": CANARIES["client key"],
        "ADMIN_KEY": CANARIES["admin key"],
        "SECRET_KEY": CANARIES["secret key"],
        "ANTHROPIC_API_KEY": CANARIES["upstream key 1"],
        "CLAUDE_CODE_OAUTH_TOKEN": CANARIES["Claude Code token"],
        "SESSIONS": CANARIES["claude.ai cookie"],
        "FALLBACK_API_KEY_1": CANARIES["fallback key"],
    }
)
_FILES: Final = {
    ".env": f"API_KEY={CANARIES['client key']}",
    "sessions.json": f'{{"sessions": ["{CANARIES["claude.ai cookie"]}"]}}',
    "data/client.key": CANARIES["second client key"],
    "data/carousel.db": CANARIES["password of Redis"],
    "notes.txt": CANARIES["upstream key 2"],
    "tests/left.py": f"KEY = '{CANARIES['upstream key 3']}'",
}


def plant(folder: Path) -> None:
    """Have them lie about in a folder."""
    for name, text in _FILES.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def swept(folder: Path) -> Iterator[tuple[str, str]]:
    """Each file below a folder that holds one of them, or is named like one, with the secret's name."""
    for file in sorted(folder.rglob("*")):
        name = str(file.relative_to(folder))
        data = file.read_bytes() if file.is_file() and not file.is_symlink() else b""
        yield from ((name, secret) for secret in found(name.encode() + b"\n" + data))
