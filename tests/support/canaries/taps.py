"""Where the tests' own process, and the programs it starts, are listened to."""

import os
import subprocess
import sys
import tempfile
from asyncio.subprocess import SubprocessStreamProtocol
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

import pytest

from proxy.secrets import Secret
from proxy.telemetry import logs
from tests.support.canaries.edge import overhear
from tests.support.canaries.watch import Place, Watch

ROOT: Final = Path(__file__).parents[3]
_OURS: Final = (str(ROOT / "app.py"), "tests.support.apart", str(Path(sys.executable).with_name("carousel")))
LEVELS: Final = ("debug", "info", "warning", "error", "critical")
_INSIDE: Final = Path(__file__).with_name("inside")
_LARGEST_FILE_BYTES: Final = 2**20
_BY_SUFFIX: Final = {".answer": Place.ANSWER, ".page": Place.PAGE, ".command": Place.COMMAND}


class Tapes:
    """What programs of ours write down from within, read as far as it has come."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="canaries-")
        self._read: dict[str, int] = {}

    @property
    def folder(self) -> str:
        """Where they are."""
        return self._folder.name

    def play(self, watch: Watch) -> None:
        """Have the watch hear what is new."""
        for tape in Path(self.folder).iterdir():
            with tape.open("rb") as opened:
                opened.seek(self._read.get(tape.name, 0))
                data = opened.read()
                self._read[tape.name] = opened.tell()
            if data:
                watch.hear(_BY_SUFFIX[tape.suffix], f"process {tape.stem}", data)

    def close(self) -> None:
        """Forget them."""
        self._folder.cleanup()


class _HeardStream:
    """A stream of log lines that somebody listens to."""

    def __init__(self, stream: BinaryIO, watch: Watch) -> None:
        self._stream = stream
        self._watch = watch

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def write(self, data: bytes) -> int:
        self._watch.hear(Place.LOG, "of this process", data)
        return self._stream.write(data)


class Children:
    """Listens to the programs that are started, and learns the secrets they are given.

    Attributes:
        tapes: what those of ours tell from within; None where only what they write is listened to.
    """

    def __init__(self, watch: Watch, tapes: Tapes | None) -> None:
        self._watch = watch
        self.tapes = tapes
        self._ours: set[int] = set()

    def place(self, number: int) -> Place:
        """Whose words those of a process are."""
        return Place.OUTPUT if number in self._ours else Place.OTHERS

    def prepared(self, command: Sequence[str], environment: Mapping[str, str] | None) -> dict[str, str]:
        """What a program of ours is given: the same, and what listens from within."""
        given = dict(os.environ if environment is None else environment)
        self._watch.hear(Place.COMMAND, "of the program", "\0".join(command).encode(errors="replace"))
        for name, value in given.items():
            if value.startswith("/"):
                self._learn_file(value, name)
            else:
                self._watch.learn(value, name)
        if self.tapes is not None:
            given |= {"PYTHONPATH": str(_INSIDE), "CANARIES_TAPES": self.tapes.folder}
            # a wrong level, or one by another name, is what the test is about
            if given.get("LOG_LEVEL", "info") in LEVELS and "RUST_LOG" not in given:
                given["LOG_LEVEL"] = "debug"
        return given

    def began(self, number: int) -> None:
        """A program of ours has been started under this number."""
        self._ours.add(number)

    def _learn_file(self, value: str, name: str) -> None:
        with suppress(OSError):
            file = Path(value)
            if file.is_file() and file.stat().st_size <= _LARGEST_FILE_BYTES:
                self._watch.learn(file.read_text(errors="replace"), f"the file of {name}")


def is_ours(command: object) -> bool:
    """Whether a command starts a program of ours."""
    words = command if isinstance(command, list | tuple) else [command]
    return any(str(word) in _OURS for word in words)


@contextmanager
def listening(watch: Watch, tapes: Tapes | None) -> Iterator[None]:
    """Listen everywhere meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        _listen_to_secrets(patch, watch)
        _listen_to_children(patch, watch, Children(watch, tapes))
        _listen_to_logs(patch, watch)
        end = overhear(
            lambda is_page, data: watch.hear(Place.PAGE if is_page else Place.ANSWER, "here", data)
        )
        try:
            yield
        finally:
            end()


def _listen_to_secrets(patch: pytest.MonkeyPatch, watch: Watch) -> None:
    begin = Secret.__init__

    def __init__(self: Secret, value: str) -> None:  # noqa: N807 - it takes its place
        begin(self, value)
        watch.learn(value, "this process")

    patch.setattr(Secret, "__init__", __init__)


def _listen_to_logs(patch: pytest.MonkeyPatch, watch: Watch) -> None:
    begin = logs._Sink.__init__

    def __init__(self: logs._Sink, stream: BinaryIO, style: str) -> None:  # noqa: N807 - it takes its place
        begin(self, stream, style)
        self._stream = _HeardStream(stream, watch)  # type: ignore[assignment]  # it stands in for one

    patch.setattr(logs._Sink, "__init__", __init__)


def _listen_to_children(patch: pytest.MonkeyPatch, watch: Watch, children: Children) -> None:
    begin, tell = subprocess.Popen.__init__, subprocess.Popen.communicate
    receive = SubprocessStreamProtocol.pipe_data_received

    def __init__(self: "subprocess.Popen[Any]", args: Any, *rest: Any, **options: Any) -> None:  # noqa: N807 - it takes its place
        ours = is_ours(args)
        if ours:
            options["env"] = children.prepared([str(word) for word in args], options.get("env"))
        begin(self, args, *rest, **options)
        if ours:
            children.began(self.pid)

    def communicate(self: "subprocess.Popen[Any]", *given: Any, **options: Any) -> tuple[Any, Any]:
        told = tell(self, *given, **options)
        for part in told:
            if part:
                data = part.encode(errors="replace") if isinstance(part, str) else bytes(part)
                watch.hear(children.place(self.pid), _name(self.args), data)
        return told

    def pipe_data_received(self: SubprocessStreamProtocol, fd: int, data: bytes) -> None:
        transport = self._transport  # type: ignore[attr-defined]  # its own
        watch.hear(children.place(transport.get_pid()), f"process {transport.get_pid()}, stream {fd}", data)
        receive(self, fd, data)

    patch.setattr(subprocess.Popen, "__init__", __init__)
    patch.setattr(subprocess.Popen, "communicate", communicate)
    patch.setattr(SubprocessStreamProtocol, "pipe_data_received", pipe_data_received)


def _name(command: object) -> str:
    words = command if isinstance(command, list | tuple) else [command]
    return Path(str(words[0])).name
