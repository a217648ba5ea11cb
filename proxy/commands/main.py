"""Which command was asked for, and with which flags."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from proxy import __version__
from proxy.commands.keys import add_keys_parser, keys
from proxy.commands.serve import serve
from proxy.commands.shell_hook import add_shell_hook_parser, shell_hook

_FLAGS: Final = {
    "address": "ADDRESS",
    "sessions": "SESSIONS_FILE",
    "log_level": "LOG_LEVEL",
    "workers": "WORKERS",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Returns the exit code: 0 after a clean end, 1 after a failure, 2 for a wrong call."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or (words[0].startswith("-") and words[0] not in {"-h", "--help", "--version"}):
        words.insert(0, "serve")
    options = _parser().parse_args(words)
    if options.command == "keys":
        return keys(options)
    if options.command == "shell-hook":
        return shell_hook(options)
    flags = {name: value for flag, name in _FLAGS.items() if (value := getattr(options, flag)) is not None}
    return serve(
        flags,
        env_file=options.env_file,
        demo=options.demo,
        demo_if_unconfigured=options.demo_if_unconfigured,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="carousel", description="One endpoint in front of all the Claude access a person or team has."
    )
    parser.add_argument("--version", action="version", version=f"carousel {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    command = commands.add_parser("serve", help="run the server (the default)")
    command.add_argument("--address", metavar="HOST:PORT", help="where to listen")
    command.add_argument("--sessions", metavar="FILE", help="the file of credentials")
    command.add_argument(
        "--env-file", metavar="FILE", type=Path, help="read settings from FILE instead of .env"
    )
    command.add_argument("--log-level", metavar="LEVEL", help="debug, info, warning or error")
    command.add_argument("--workers", metavar="N", help="number of processes")
    command.add_argument("--demo", action="store_true", help="answer from a built-in simulated Claude")
    command.add_argument("--demo-if-unconfigured", action="store_true", help=argparse.SUPPRESS)
    add_keys_parser(commands)
    add_shell_hook_parser(commands)
    return parser
