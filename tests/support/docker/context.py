"""What of a folder gets into a build: all that its ``.dockerignore`` does not keep out."""

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SPECIAL: Final = re.compile(r"\*\*/|\*\*|\*|\?|[^*?]+")


@dataclass(frozen=True, slots=True)
class _Pattern:
    matches: re.Pattern[str]
    lets_in: bool


class Context:
    """The folder of a build."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        file = folder / ".dockerignore"
        lines = file.read_text().splitlines() if file.exists() else []
        self._patterns = [
            _pattern(line) for line in map(str.strip, lines) if line and not line.startswith("#")
        ]

    def holds(self, path: str) -> bool:
        """Whether a path below the folder gets in; the last pattern that fits it or a folder above it decides."""
        parts = path.split("/")
        above = ["/".join(parts[:length]) for length in range(1, len(parts) + 1)]
        kept = True
        for pattern in self._patterns:
            if any(pattern.matches.fullmatch(each) for each in above):
                kept = pattern.lets_in
        return kept

    def copy(self, source: str, target: Path) -> int:
        """Copy a file, or what is in a folder, and return how many files that were.

        Raises FileNotFoundError where nothing gets in.
        """
        start = self._folder / source
        files = sorted(start.rglob("*")) if start.is_dir() else [start]
        count = 0
        for file in files:
            relative = os.path.relpath(file, self._folder)
            if not file.is_file() or not self.holds(relative):
                continue
            place = target / file.relative_to(start) if start.is_dir() else target
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, place)
            count += 1
        if not count:
            raise FileNotFoundError(f"nothing of {source} gets into the build")
        return count


def _pattern(line: str) -> _Pattern:
    """A line of the file. Source: the .dockerignore section of Docker's documentation on build contexts."""
    lets_in = line.startswith("!")
    text = line.removeprefix("!").strip("/")
    regex = "".join(_translated(piece) for piece in _SPECIAL.findall(text))
    return _Pattern(re.compile(regex), lets_in)


def _translated(piece: str) -> str:
    match piece:
        case "**/":
            return "(?:.*/)?"
        case "**":
            return ".*"
        case "*":
            return "[^/]*"
        case "?":
            return "[^/]"
        case _:
            return re.escape(piece)
