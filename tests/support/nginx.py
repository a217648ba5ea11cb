"""The real nginx, with the configuration that is shipped; only addresses and paths are put in."""

import asyncio
import re
import socket
from asyncio.subprocess import DEVNULL
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.program import ROOT

SHIPPED: Final = ROOT / "deploy" / "nginx.conf"
SHIPPED_MAIN: Final = ROOT / "deploy" / "nginx.main.conf"
_HOST: Final = "127.0.0.1"
_START_S: Final = 20.0
_SERVER: Final = re.compile(r"^( +server )[0-9.:]+( .*;)$", re.MULTILINE)
_LISTEN: Final = re.compile(r"^( +listen )\d+( .*;)$", re.MULTILINE)
_LOGS: Final = """\
    log_format seen "$request_uri";
    log_format asked "$upstream_addr";
    access_log {folder}/access.log seen;
    access_log {folder}/asked.log asked;
"""


@dataclass(frozen=True, slots=True)
class Nginx:
    """A running nginx.

    Attributes:
        url: its address, without a slash at the end.
        folder: where its files are.
    """

    url: str
    folder: Path

    @property
    def errors(self) -> str:
        """What it has written to its log of errors."""
        return (self.folder / "error.log").read_text()

    @property
    def seen(self) -> list[str]:
        """The targets of the requests it has taken for such."""
        return (self.folder / "access.log").read_text().splitlines()

    @property
    def asked(self) -> Counter[str]:
        """Which replicas it has asked, as ``host:port``, with how often; several at once where one was tried first."""
        return Counter((self.folder / "asked.log").read_text().splitlines())


def configured(port: int, replicas: Sequence[str]) -> str:
    """The shipped configuration with other addresses; `replicas` are ``host:port``."""
    text = SHIPPED.read_text()
    servers = list(_SERVER.finditer(text))
    first, last = servers[0], servers[-1]
    lines = "\n".join(f"{first[1]}{replica}{first[2]}" for replica in replicas)
    text = text[: first.start()] + lines + text[last.end() :]
    return _LISTEN.sub(rf"\g<1>{_HOST}:{port}\g<2>", text)


@asynccontextmanager
async def nginx(
    folder: Path, replicas: Sequence[str], shortened: Mapping[str, str] | None = None
) -> AsyncIterator[Nginx]:
    """Run it in front of these replicas until the end.

    Args:
        folder: for its files.
        replicas: as ``host:port``.
        shortened: directives of the shipped file and what stands in their place, for tests that cannot wait as long.

    Raises RuntimeError when it does not start, and ValueError for a directive that is not in the file.
    """
    port = free_port()
    text = configured(port, replicas)
    for directive, instead in (shortened or {}).items():
        if directive not in text:
            raise ValueError(f"the shipped configuration has no {directive}")
        text = text.replace(directive, instead)
    _write(folder, text)
    log = str(folder / "error.log")
    process = await asyncio.create_subprocess_exec(
        "nginx",
        "-p",
        str(folder),
        "-e",
        log,
        "-c",
        str(folder / "nginx.conf"),
        stdout=DEVNULL,
        stderr=DEVNULL,
    )
    front = Nginx(f"http://{_HOST}:{port}", folder)
    try:
        async with asyncio.timeout(_START_S):
            while not await _listens(port):
                if process.returncode is not None:
                    raise RuntimeError(front.errors)
                await asyncio.sleep(0.01)
        yield front
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


def _write(folder: Path, shipped: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "carousel.conf").write_text(shipped)
    main = SHIPPED_MAIN.read_text().replace("/tmp/", f"{folder}/")  # noqa: S108 - the container's
    main = main.replace("/dev/stderr", f"{folder}/error.log")
    main = main.replace("    access_log /dev/stdout;\n", _LOGS.format(folder=folder))
    main = main.replace("/etc/nginx/conf.d/*.conf", f"{folder}/carousel.conf")
    # one process, which a signal reaches
    (folder / "nginx.conf").write_text(f"daemon off;\nmaster_process off;\n{main}")


def free_port() -> int:
    """A port of the loopback address that nobody uses at the moment."""
    with socket.create_server((_HOST, 0)) as free:
        return int(free.getsockname()[1])


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(_HOST, port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True
