"""Which command was asked for, and with which flags."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from proxy import __version__
from proxy.commands.keys import add_keys_parser, keys
from proxy.commands.output import hold_standard_streams
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
    hold_standard_streams()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or (words[0].startswith("-") and words[0] not in {"-h", "--help", "--version"}):
        words.insert(0, "serve")
    options = _parser().parse_args(words)
    if options.command == "keys":
        return keys(options)
    if options.command == "shell-hook":
        return shell_hook(options)
    flags = {
        name: value for flag, name in _FLAGS.items() if (value := getattr(options, flag, None)) is not None
    }
    if options.command == "check":
        from proxy.commands.check import check  # noqa: PLC0415 - what it prints with is nothing a server needs

        return check(flags, env_file=options.env_file)
    if options.command == "drill":
        from proxy.commands.drill import drill  # noqa: PLC0415 - as above

        return drill(flags, env_file=options.env_file, only=options.only, report=options.html)
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
    _add_sources(command)
    command.add_argument("--log-level", metavar="LEVEL", help="debug, info, warning or error")
    command.add_argument("--workers", metavar="N", help="number of processes")
    command.add_argument("--demo", action="store_true", help="answer from a built-in simulated Claude")
    command.add_argument("--demo-if-unconfigured", action="store_true", help=argparse.SUPPRESS)
    _add_check_parser(commands)
    _add_drill_parser(commands)
    add_keys_parser(commands)
    add_shell_hook_parser(commands)
    return parser


def _add_check_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    check = commands.add_parser(
        "check",
        help="read the configuration, name its mistakes, and ask each credential whether it works",
        description="Reads the configuration, names every mistake in it, and asks each credential a question that "
        "costs nothing. Nothing is changed. Exit code: 0 where a credential can answer, 1 where none can or the "
        "configuration is wrong, 2 for a wrong call.",
    )
    _add_sources(check)


def _add_drill_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    drill = commands.add_parser(
        "drill",
        help="show what clients would see of every fault of an upstream",
        description="Replays every fault of an upstream against the present configuration, on a simulated Claude on "
        "this machine, with stand-ins for all credentials. Nothing else is connected to, and no secret is used. "
        "Exit code: 0 where every client saw a whole answer or a proper error, 1 where one did not or the "
        "configuration cannot be drilled, 2 for a wrong call.",
    )
    _add_sources(drill)
    drill.add_argument("--only", metavar="TEXT", default="", help="only faults with TEXT in their names")
    drill.add_argument("--html", metavar="FILE", type=Path, help="write a report to FILE as well")


def _add_sources(command: argparse.ArgumentParser) -> None:
    command.add_argument("--sessions", metavar="FILE", help="the file of credentials")
    command.add_argument(
        "--env-file", metavar="FILE", type=Path, help="read settings from FILE instead of .env"
    )
