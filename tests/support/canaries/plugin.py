"""Fails each test in which a secret, or a prompt, has shown up where it may not.

Every run listens to this process and to what programs of ours write. ``CANARIES=1`` (``make canaries``) has all of them
log at level debug, listens to each program of ours from within, asks each server for all its pages before it ends, and
looks through the files that tests leave.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest
from _pytest.capture import CaptureFixture
from aiohttp import web
from aiohttp.test_utils import BaseTestServer

from proxy.server.context import SERVICES
from proxy.simulator import connection
from proxy.simulator.api import key_of
from tests.support.canaries import files
from tests.support.canaries.deep import LISTENERS
from tests.support.canaries.marks import plain
from tests.support.canaries.pages import PAGES, visit
from tests.support.canaries.taps import Tapes, listening
from tests.support.canaries.watch import Place, Watch

_COUNTS: Final = "canaries"


class Watcher:
    """The plugin of one process that runs tests.

    Attributes:
        watch: what was told so far.
        hits: tests in which something was found.
        tests: that were looked through.
    """

    def __init__(self, *, deep: bool) -> None:
        self.watch = Watch()
        self.hits = 0
        self.tests = 0
        self._deep = deep
        self._folders: list[Path] = []
        self._open = ExitStack()
        self._tapes = Tapes() if deep else None

    def begin(self) -> None:
        """Listen from now on."""
        self._open.enter_context(listening(self.watch, self._tapes))
        patch = self._open.enter_context(pytest.MonkeyPatch.context())
        _call_keys_by_their_names(patch)
        _hear_captured(patch, self.watch)
        if self._deep:
            LISTENERS.append(lambda data: self.watch.hear(Place.REDIS, "before its end", data))
            _visit_before_the_end(patch)
            _note_folders(patch, self._folders)

    def end(self) -> None:
        """Listen no longer."""
        self._open.close()
        LISTENERS.clear()
        if self._tapes is not None:
            self._tapes.close()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
        """Look through everything after a test and its fixtures have ended."""
        yield
        for when, kind, text in item._report_sections:
            self.watch.hear(Place.LOG, f"of this process, {kind} at {when}", text.encode(errors="replace"))
        if self._tapes is not None:
            self._tapes.play(self.watch)
        for folder in self._left(item, nextitem):
            for place, name, data in files.read(folder):
                self.watch.hear(place, f"{folder.name}/{name}", data)
        self.tests += 1
        if found := self.watch.look():
            self.hits += 1
            pytest.fail("told where it may not be: " + "; ".join(found), pytrace=False)

    def _left(self, item: pytest.Item, nextitem: pytest.Item | None) -> list[Path]:
        """Folders that nothing will be written into any more: a test's own, and those of the others after the last."""
        if nextitem is None or nextitem.path != item.path:
            left = list(self._folders)
        else:
            left = [
                folder for folder in self._folders if folder == getattr(item, "funcargs", {}).get("tmp_path")
            ]
        self._folders[:] = [folder for folder in self._folders if folder not in left]
        return left

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Hand the counts to the process that tells them."""
        counts = {str(place): count for place, count in self.watch.looked_bytes.items()}
        told = {"tests": self.tests, "hits": self.hits, "secrets": len(self.watch.flock), **counts}
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[_COUNTS] = told
        else:
            session.config.stash.setdefault(COUNTS, []).append(told)


COUNTS: Final = pytest.StashKey[list[dict[str, int]]]()


class Teller:
    """Tells at the end what was looked through, by this process and by others that ran tests for it."""

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: object) -> None:
        """Take the counts of another process."""
        told = getattr(node, "workeroutput", {}).get(_COUNTS)
        if told is not None:
            node.config.stash.setdefault(COUNTS, []).append(told)  # type: ignore[attr-defined]  # a node of xdist's

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter, config: pytest.Config
    ) -> None:
        """One line."""
        counts: Counter[str] = Counter()
        for told in config.stash.get(COUNTS, []):
            counts.update(told)
        heard = ", ".join(f"{counts[place] / 1e6:.1f} MB of {place}" for place in Place if counts[place])
        line = f"canaries: {counts['hits']} hits in {counts['tests']} tests, {counts['secrets']} secrets"
        terminalreporter.write_line(f"{line}; {heard}")


def _call_keys_by_their_names(patch: pytest.MonkeyPatch) -> None:
    """Have the simulated Claude know a key by the name it was made from, which is what tests call it."""
    patch.setattr(connection, "key_of", lambda headers: plain(key_of(headers)))


def _hear_captured(patch: pytest.MonkeyPatch, watch: Watch) -> None:
    """Hear also what a test takes out of the capture to look at it."""
    read = CaptureFixture.readouterr

    def readouterr(self: "CaptureFixture[Any]") -> object:
        told = read(self)
        for stream, text in zip(("out", "err"), told, strict=True):
            data = text.encode(errors="replace") if isinstance(text, str) else text
            watch.hear(Place.LOG, f"of this process, {stream}", data)
        return told

    patch.setattr(CaptureFixture, "readouterr", readouterr)


def _visit_before_the_end(patch: pytest.MonkeyPatch) -> None:
    """Have the pages of servers of this process looked at before they end."""
    close = BaseTestServer.close

    async def closed(self: BaseTestServer) -> None:
        app = getattr(self, "app", None)
        if self.started and isinstance(app, web.Application) and SERVICES in app and _has_pages(app):
            await visit(str(self.make_url("")).rstrip("/"), app[SERVICES].keys._admin.key.reveal())
        await close(self)

    patch.setattr(BaseTestServer, "close", closed)


def _has_pages(app: web.Application) -> bool:
    return any(resource.canonical == PAGES[0] for resource in app.router.resources())


def _note_folders(patch: pytest.MonkeyPatch, folders: list[Path]) -> None:
    make = pytest.TempPathFactory.mktemp

    def mktemp(self: pytest.TempPathFactory, basename: str, numbered: bool = True) -> Path:
        folders.append(made := make(self, basename, numbered))
        return made

    patch.setattr(pytest.TempPathFactory, "mktemp", mktemp)
