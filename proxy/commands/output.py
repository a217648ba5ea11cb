"""What commands say on standard output and error, whose disk may be full and whose reader may be gone."""

import os
import sys
from contextlib import suppress
from typing import Final, TextIO

_STANDARD_OUTPUTS: Final = {1: "stdout", 2: "stderr"}


def hold_standard_streams() -> None:
    """Have standard streams that are closed lead nowhere; to be called before anything is opened.

    Else the first files and sockets that are opened, the database among them, have the numbers of those streams, and
    get what is written there.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= max(_STANDARD_OUTPUTS):
        os.set_inheritable(number, True)
    os.close(number)
    for number, name in _STANDARD_OUTPUTS.items():
        if getattr(sys, name) is None:
            nowhere = open(number, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115 - it stays
            setattr(sys, name, nowhere)


def say(text: str, out: TextIO | None = None) -> None:
    """Print for a person, on standard error if not elsewhere. What cannot be written is lost, and stops nothing."""
    out = out or sys.stderr
    try:
        print(text, file=out, flush=True)
    except OSError:
        _give_up(out)


def finish_output() -> None:
    """Write what is left to be written before the process ends, or lose it.

    Else the interpreter tries once more at its end, and turns its failure into the exit code of the whole process.
    """
    for out in (sys.stdout, sys.stderr):
        try:
            out.flush()
        except OSError:
            _give_up(out)


def _give_up(out: TextIO) -> None:
    """Have what is still held back go nowhere. Source: "Note on SIGPIPE" in Python's documentation of signals."""
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(nowhere, out.fileno())
        os.close(nowhere)
