"""A Dockerfile carried out without Docker: every COPY and RUN, into a root with nothing but the machine's programs.

What it is not: the base image. ``/usr`` is this machine's, read-only, and its Python stands where the base has its own.
Debian's packages are not installed either: a RUN that wants one ends well where this machine has it.
"""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.support.docker.context import Context
from tests.support.docker.dockerfile import DockerfileError, Instruction, Stage, expanded, parse

_PATH: Final = "/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin"
_DEVICES: Final = ("null", "zero", "full", "random", "urandom")
_FOLDERS: Final = ("usr", "etc", "proc", "dev", "root", "home", "var/tmp", "var/cache/ldconfig", "run", "tmp")
_LINKS: Final = ("bin", "sbin", "lib", "lib64")
_OF_ETC: Final = (
    *("ssl", "ca-certificates", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "login.defs", "default"),
    *("alternatives", "hosts", "nsswitch.conf", "resolv.conf", "pip.conf"),
)
_LOOPBACK_UP: Final = (
    "import fcntl, socket, struct;"
    "fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh22x', b'lo', 0x41))"  # SIOCSIFFLAGS: up, running
)
_APT_GET: Final = """#!/bin/sh
[ "$1" = install ] || exit 0
shift
for word; do
    case "$word" in
    -*) ;;
    *) [ -d "/usr/share/doc/$word" ] || { echo "not installed on this machine: $word" >&2; exit 1; } ;;
    esac
done
"""
_BUILD_S: Final = 400


@dataclass(slots=True)
class Image:
    """What a build has made.

    Attributes:
        root: its root folder, without what is the machine's.
        environment: of its processes.
        workdir: where they begin.
        user: their number, and their group's.
        command: the exec form of ``CMD``.
        health: the exec form of ``HEALTHCHECK CMD``; empty where there is none.
        volumes: folders that are mounted.
        port: the one that is exposed.
        stop_signal: its name.
    """

    root: Path
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": _PATH})
    workdir: str = "/"
    user: int = 0
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)
    port: int = 0
    stop_signal: str = "SIGTERM"

    def inside(self, path: str) -> Path:
        """A path of the image's as one of the machine's."""
        return self.root / os.path.normpath(os.path.join(self.workdir, path)).lstrip("/")  # noqa: PTH118 - no path of this machine

    @property
    def size_bytes(self) -> int:
        """What it adds to its base."""
        return sum(
            file.lstat().st_size for file in self.root.rglob("*") if not file.is_symlink() and file.is_file()
        )


class Build:
    """A build of one folder, with these arguments. Without `run` its RUN instructions are left out."""

    def __init__(
        self, context: Path, folder: Path, arguments: Mapping[str, str] | None = None, *, run: bool = True
    ) -> None:
        self._context = Context(context)
        self._dockerfile = (context / "Dockerfile").read_text()
        self._folder = folder
        self._arguments = dict(arguments or {})
        self._runs = run
        self._images: dict[str, Image] = {}

    def image(self) -> Image:
        """Carry out every stage; the last one's image. Raises subprocess.CalledProcessError and DockerfileError."""
        stages = parse(self._dockerfile)
        for number, stage in enumerate(stages):
            last = number == len(stages) - 1
            image = Image(self._folder / f"stage-{number}")
            lay_base(image.root)
            if self._runs:
                # the base's own libraries come before those of the machine
                _checked(image, ["/usr/sbin/ldconfig"], {}, online=False)
            self._images[stage.name] = image
            self._carry_out(stage, image, online=not last)
        return self._images[stages[-1].name]

    def _carry_out(self, stage: Stage, image: Image, *, online: bool) -> None:
        arguments: dict[str, str] = {}
        for each in stage.instructions:
            text = expanded(each.text, {**arguments, **image.environment})
            match each.word:
                case "ARG":
                    name, _, default = text.partition("=")
                    arguments[name] = self._arguments.get(name, default)
                case "ENV":
                    image.environment.update(_pair(pair) for pair in shlex.split(text))
                case "COPY":
                    self._copy(each, text, image)
                case "RUN" if self._runs:
                    command = ["/bin/sh", "-c", each.text]
                    _checked(image, command, arguments, online=online)
                case "RUN":
                    pass
                case "WORKDIR":
                    image.workdir = os.path.join(image.workdir, text)  # noqa: PTH118 - no path of this machine
                    image.inside(".").mkdir(parents=True, exist_ok=True)
                case _:
                    _describe(image, each, text)

    def _copy(self, each: Instruction, text: str, image: Image) -> None:
        *sources, target = shlex.split(text)
        into = target.endswith("/") or len(sources) > 1
        origin = self._images[each.flags["from"]] if "from" in each.flags else None
        for source in sources:
            place = image.inside(target)
            if origin is not None:
                if self._runs or origin.inside(source).exists():
                    shutil.copytree(origin.inside(source), place, symlinks=True, dirs_exist_ok=True)
                continue
            self._context.copy(source, place / Path(source).name if into else place)


def lay_base(root: Path) -> None:
    """Everything that is there before the first instruction."""
    for name in _FOLDERS:
        (root / name).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    for name in _LINKS:
        if Path("/", name).is_symlink():
            (root / name).symlink_to(Path("/", name).readlink())
    for name in _OF_ETC:
        source, target = Path("/etc", name), root / "etc" / name
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True)
        elif source.exists():
            shutil.copy(source, target)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    (root / "etc/shadow").write_text("root:*:20000:0:99999:7:::\n")
    (root / "etc/gshadow").write_text("root:*::\n")
    for name in _DEVICES:
        (root / "dev" / name).touch()
    (root / "run/apt-get").write_text(_APT_GET)
    (root / "run/apt-get").chmod(0o755)


def started(
    image: Image, arguments: Sequence[str], data: Path, environment: Mapping[str, str]
) -> subprocess.Popen[str]:
    """Run the image's command with further arguments, as Docker would with a read-only root.

    It is process 1, of user 1000, without any capability or network, and can write to `data` (its volume) and ``/tmp``.
    The first process that is returned is the one around it; see `first_inside`.
    """
    binds = dict.fromkeys(image.volumes or ["/data"], data)
    command = _around(image, [*image.command, *arguments], environment, online=False, read_only=binds)
    return subprocess.Popen(  # noqa: S603 - our own Dockerfile
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def first_inside(around: "subprocess.Popen[str]") -> int:
    """The number of the image's process 1, as this machine counts."""
    children = Path(f"/proc/{around.pid}/task/{around.pid}/children").read_text().split()
    return int(children[0])


def beside(image: Image, process: int, command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """Run a command where a process of the image runs, as ``docker exec`` does."""
    enter = ["nsenter", f"--target={process}", "--mount", "--net", "--pid", f"--root=/proc/{process}/root"]
    inner = _as_user(image, command, {})
    return subprocess.run([*enter, *inner], capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 - the same


def _checked(image: Image, command: Sequence[str], arguments: Mapping[str, str], *, online: bool) -> None:
    """One RUN. The settings of this machine's pip reach it, because its packages come from where they say."""
    given = {name: value for name, value in os.environ.items() if name.startswith("PIP_")} if online else {}
    whole = _around(image, command, {**arguments, **given}, online=online)
    done = subprocess.run(whole, capture_output=True, text=True, timeout=_BUILD_S, check=False)  # noqa: S603 - the same
    if done.returncode:
        raise DockerfileError(f"RUN {command[-1]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def _around(
    image: Image,
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    online: bool,
    read_only: Mapping[str, Path] | None = None,
) -> list[str]:
    """The command in a view of the root of its own; with `read_only` nothing but those folders can be written to."""
    root = shlex.quote(str(image.root))
    lines = ["set -e", "mount --make-rprivate /", f"mount --bind {root} {root}"]
    lines += _bound(Path("/usr"), f"{root}/usr")
    if (prefix := Path(sys.base_prefix)) != Path("/usr"):
        lines += _bound(prefix, f"{root}/usr/local")
    lines += [f"mount --bind /dev/{name} {root}/dev/{name}" for name in _DEVICES]
    lines += [f"mount -t proc proc {root}/proc"]
    wheels = os.environ.get("PIP_FIND_LINKS", "")
    if online and Path(wheels).is_absolute() and Path(wheels).is_dir():
        lines += [f"mkdir -p {root}{wheels}", *_bound(Path(wheels), f"{root}{wheels}")]
    if not online:
        lines += [f"{shlex.quote(sys.executable)} -c {shlex.quote(_LOOPBACK_UP)}"]
    if read_only is None and Path("/usr/bin/apt-get").exists():
        lines += [f"mount --bind {root}/run/apt-get {root}/usr/bin/apt-get"]
    if read_only is not None:
        lines += [f"mount -o remount,bind,ro {root}", f"mount -t tmpfs -o mode=1777 tmpfs {root}/tmp"]  # noqa: S108 - the image's
        lines += [f"mount --bind {shlex.quote(str(data))} {root}{place}" for place, data in read_only.items()]
    lines += [f"exec chroot {root} {shlex.join(_as_user(image, command, environment))}"]
    apart = ["--mount", "--pid", "--fork", "--kill-child", *([] if online else ["--net"])]
    return ["unshare", *apart, "/bin/sh", "-c", "\n".join(lines)]


def _bound(source: Path, target: str) -> list[str]:
    return [
        f"mount --bind {shlex.quote(str(source))} {target}",
        f"mount -o remount,bind,ro {target}",
    ]


def _as_user(image: Image, command: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """The command as the image's user, with the image's environment, in its folder."""
    variables = {"HOME": _home(image), **image.environment, **environment}
    bare = ["/usr/bin/env", "-i", *(f"{name}={value}" for name, value in variables.items())]
    there = ["/bin/sh", "-c", 'cd "$0" && exec "$@"', image.workdir, *command]
    if image.user == 0:
        return [*bare, *there]
    user = f"{image.user}"
    drop = ["/usr/bin/setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs"]
    return [*drop, "--bounding-set=-all", "--inh-caps=-all", *bare, *there]


def _home(image: Image) -> str:
    for line in (image.root / "etc/passwd").read_text().splitlines():
        fields = line.split(":")
        if int(fields[2]) == image.user:
            return fields[5]
    raise DockerfileError(f"user {image.user} was never made")


def _describe(image: Image, each: Instruction, text: str) -> None:
    """The instructions that only say something about the image."""
    match each.word:
        case "USER":
            image.user = int(text)
        case "VOLUME":
            image.volumes.append(text)
        case "EXPOSE":
            image.port = int(text)
        case "STOPSIGNAL":
            image.stop_signal = text
        case "HEALTHCHECK":
            image.health = Instruction("CMD", text.removeprefix("CMD "), {}).words
        case "CMD":
            image.command = each.words
        case _:
            raise DockerfileError(f"{each.word} is not known here")


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value
