"""Where credentials come from, read at the start and again whenever their file changes.

These methods block; they are for the start and for threads, one call at a time.
"""

import os
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Final

from proxy.credentials.loading import Credentials, load_credentials
from proxy.settings import ConfigurationError, Problem, Settings

_ABSENT: Final = "absent"
_UNREAD: Final = "unread"
_LOOKS_AT_A_CHANGE: Final = 2
_LOOKS_AT_NOTHING: Final = 3
_LOOKS_AT_MOST: Final = 4

_Signature = tuple[int, ...] | str
"""What tells two states of a file apart, or why it cannot be looked at."""


class Look(Enum):
    """What a look at the file has shown. ``SETTLING``: it is other than it was, and perhaps being written."""

    SAME = "same"
    SETTLING = "settling"
    CHANGED = "changed"


class CredentialSource:
    """The settings and the file credentials come from.

    A file is looked at by its size, times and number, through whatever links lead to it, so that one that was
    written to, replaced, or reached by another link is seen. It is taken for changed when two looks in a row agree
    on what it is now, or after four that do not; for gone when three in a row miss it, because some editors take a
    file away before they put the new one there.
    """

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        """`environ` is where ``$NAME`` references are looked up before ``.env``."""
        self._settings = settings
        self._environ = environ
        self._path = settings.sources.sessions_file
        self._read = self._seen = _signature(self._path)
        self._looks = 0
        self._alike = 0
        self._loaded = Credentials(())

    @property
    def loaded(self) -> Credentials:
        """What was read last without a mistake."""
        return self._loaded

    @property
    def file(self) -> Path:
        """The file, whether it is there or not."""
        return self._path

    def load(self) -> Credentials:
        """Read everything. Raises ConfigurationError with every mistake there is; none of them shows a value."""
        before = _signature(self._path)
        vanished = before == _ABSENT and self._seen != _ABSENT
        self._read, self._looks, self._alike = (_UNREAD if vanished else before), 0, 0
        found = load_credentials(self._settings, self._environ)
        if vanished or (before != _ABSENT and _signature(self._path) == _ABSENT):
            raise ConfigurationError([Problem(self._path.name, "has vanished while it was looked at")])
        self._loaded = found
        return found

    def look(self) -> Look:
        """Whether the file is other than it was when it was last read."""
        found = _signature(self._path)
        self._alike = self._alike + 1 if found == self._seen and self._looks else 1
        self._seen = found
        if found == self._read:
            self._looks = 0
            return Look.SAME
        self._looks += 1
        if found == _ABSENT:
            return Look.CHANGED if self._alike >= _LOOKS_AT_NOTHING else Look.SETTLING
        enough = self._alike >= _LOOKS_AT_A_CHANGE or self._looks >= _LOOKS_AT_MOST
        return Look.CHANGED if enough else Look.SETTLING


def _signature(path: Path) -> _Signature:
    try:
        found = os.stat(path)  # noqa: PTH116 - the same, without a path object each time
    except FileNotFoundError:
        return _ABSENT
    except (OSError, ValueError) as error:
        return f"unreadable: {error.errno if isinstance(error, OSError) else None}"
    return (found.st_dev, found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
