"""Which images and documents that are only named in a request this machine gets for it: by URL, and by path."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxy.settings import values
from proxy.settings.problems import InvalidValueError
from proxy.settings.setting import Group, Setting

_STANDARD_PORTS: Final = frozenset({80, 443})
_ENTRY: Final = re.compile(r"(\*\.)?(?P<name>[a-z0-9-]+(\.[a-z0-9-]+)*)(:(?P<port>[0-9]{1,5}))?")
_OFF: Final = frozenset({"off", "false", "0", "no"})
_ON: Final = frozenset({"on", "true", "1", "yes"})
_NO_FILES_OF_THEIRS: Final = tuple(map(Path, ("/proc", "/sys", "/dev")))


@dataclass(frozen=True, slots=True)
class FetchRule:
    """``IMAGE_FETCH``.

    Attributes:
        enabled: whether anything is fetched at all.
        hosts: host names, ``*.name`` for all below a name, each with its port if one was given; empty for every host.
    """

    enabled: bool = False
    hosts: tuple[tuple[str, int | None], ...] = ()

    def allows(self, host: str, port: int) -> bool:
        """Whether this host, in lower case, may be asked on this port: 80 and 443, or the one named with it."""
        if not self.enabled:
            return False
        if not self.hosts:
            return port in _STANDARD_PORTS
        return any(
            (host.endswith(name[1:]) if name.startswith("*.") else host == name)
            and (port in _STANDARD_PORTS if own_port is None else port == own_port)
            for name, own_port in self.hosts
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaSettings:
    """What is got for a request that names images and documents instead of holding them.

    Attributes:
        fetch: which URLs are fetched where the upstream does not do it.
        roots: the directories below which files may be named by their path, absolute; empty for none.
    """

    fetch: FetchRule = FetchRule()
    roots: tuple[Path, ...] = ()


def fetch_rule(text: str) -> FetchRule:
    """``off``, ``on``, or hosts with commas between: ``name``, ``name:port`` or ``*.name``."""
    entries = [entry.lower() for entry in values.words(text)]
    if len(entries) == 1 and entries[0] in _OFF | _ON:
        return FetchRule(enabled=entries[0] in _ON)
    hosts: list[tuple[str, int | None]] = []
    for entry in entries:
        found = _ENTRY.fullmatch(entry)
        port = int(found["port"]) if found and found["port"] else None
        if found is None or entry in _OFF | _ON or port == 0 or (port or 0) > 65535:
            raise InvalidValueError(
                "expected on, off, or hosts (name, name:port, *.name) with commas between"
            )
        hosts.append((entry.partition(":")[0], port))
    return FetchRule(enabled=bool(hosts), hosts=tuple(hosts))


def directories(text: str) -> tuple[str, ...]:
    """``none``, or paths of directories with commas between, or a JSON list of them."""
    if text.lower() == "none":
        return ()
    return tuple(values.plain(path) for path in values.words(text))


def by_the_letter(path: Path) -> Path:
    """An absolute path without ``..`` and doubled slashes, whatever links stand on the way."""
    return Path("/" + os.path.normpath(path).lstrip("/"))


def too_wide(root: Path) -> bool:
    """Whether a directory is the whole file system, or what a system shows of itself as files."""
    return root == Path("/") or any(root.is_relative_to(own) for own in _NO_FILES_OF_THEIRS)


IMAGE_FETCH: Final = Setting(
    name="IMAGE_FETCH",
    parse=fetch_rule,
    default=FetchRule(),
    shown_default="off",
    text="on, or the hosts images and PDFs are fetched from for upstreams that do not fetch them.",
    group=Group.REQUESTS,
)
CLAUDE_CODE_ROOTS: Final[Setting[tuple[str, ...]]] = Setting(
    name="CLAUDE_CODE_ROOTS",
    parse=directories,
    default=(),
    shown_default="none",
    text="Directories below which requests may name files by absolute path, and Claude Code may work.",
    group=Group.CODE,
)
ADDITIONAL_DIRS: Final[Setting[tuple[str, ...]]] = Setting(
    name="CLAUDE_CODE__FILE_ACCESS__ADDITIONAL_DIRS",
    parse=directories,
    default=(),
    shown_default="none",
    text="Further such directories, beside CLAUDE_CODE_ROOTS.",
    group=Group.CODE,
)

MEDIA_SETTINGS: Final[tuple[Setting[object], ...]] = (IMAGE_FETCH, CLAUDE_CODE_ROOTS, ADDITIONAL_DIRS)
