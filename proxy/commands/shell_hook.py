"""``shell-hook``: one line in the profiles of a person's shells, which reads the file with the active key."""

import argparse
import os
import shlex
import shutil
from pathlib import Path
from secrets import token_hex
from typing import Final

from proxy.commands.output import say
from proxy.settings import ConfigurationError, load_settings

PROFILES: Final = (".bashrc", ".bash_profile", ".zshrc")
BACKUP: Final = ".before-carousel"
_MARK: Final = b"# carousel shell-hook"


def add_shell_hook_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``shell-hook`` and what it can do to the command line."""
    parser = commands.add_parser("shell-hook", help="have shells read the active Claude Code key")
    parser.add_argument(
        "--env-file", metavar="FILE", type=Path, help="read settings from FILE instead of .env"
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser(
        "install", help="add one line to the profiles there are, each kept as it was beside it"
    )
    actions.add_parser("remove", help="take that line out again")


def shell_hook(options: argparse.Namespace) -> int:
    """Do what the command line asks for. Returns the exit code: 0, or 1 where it could not be done."""
    home = Path.home()
    profiles = [home / name for name in PROFILES if (home / name).is_file()]
    try:
        line: bytes | None = None
        if options.action == "install":
            settings = load_settings({}, os.environ, Path.cwd(), env_file=options.env_file)
            if (file := settings.claude_code.shell_file) is None:
                say("Set SHELL_ENV_FILE first: the file the server writes the active key to.")
                return 1
            if not profiles:
                say(f"There is no {', '.join(PROFILES)} in {home}.")
                return 1
            line = hook_line(file)
        for profile in profiles:
            changed = edit(profile, line)
            say(f"{profile}: {'changed' if changed else 'nothing to change'}")
    except (ConfigurationError, OSError) as error:
        say(str(error))
        return 1
    return 0


def hook_line(file: Path) -> bytes:
    """The line a profile gets; it does nothing where the file cannot be read, and holds no key."""
    quoted = shlex.quote(str(file))
    return os.fsencode(f"if [ -r {quoted} ]; then . {quoted}; fi  ") + _MARK


def edit(profile: Path, line: bytes | None) -> bool:
    """Have `line`, or with None no line of ours, in a profile. Returns whether that changed it. Raises OSError.

    The first change keeps the profile as it was, beside it. Links stay links.
    """
    file = Path(os.path.realpath(profile))
    before = file.read_bytes()
    lines = before.splitlines(keepends=True)
    kept = [one for one in lines if not one.rstrip().endswith(_MARK)]
    if line is not None:
        if kept and not kept[-1].endswith(b"\n"):
            kept[-1] += b"\n"
        kept.append(line + b"\n")
    after = b"".join(kept)
    if after == before:
        return False
    backup = profile.with_name(profile.name + BACKUP)
    if not backup.exists():
        shutil.copy2(file, backup)
    temporary = file.with_name(f".{file.name}.{token_hex(6)}")
    try:
        shutil.copy2(file, temporary)
        temporary.write_bytes(after)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
    return True
