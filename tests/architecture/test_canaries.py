"""The watch over all tests finds what leaks, and the secrets of the tests are such that it can."""

import ast
import re
import sqlite3
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from tests.support.canaries import files
from tests.support.canaries.marks import MARK, PROMPT, marked, marked_settings, plain, secret
from tests.support.canaries.spellings import PIECE_CHARACTERS, Flock, telling
from tests.support.canaries.watch import Place, Watch
from tests.support.program import ROOT

_KEY: Final = secret("of-the-tests")
_ENCODINGS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "as it is": bytes,
    "in capitals": bytes.upper,
    "in a URL": lambda raw: quote(raw, safe="").encode(),
    "in hexadecimal": lambda raw: raw.hex().encode(),
    "in base64": b64encode,
}
_LIKE_A_KEY: Final = re.compile(
    r"sk-ant-[a-z]{3}\d\d-[A-Za-z0-9_.{}-]*|sessionKey=[\w.{}-]+|[\w-]*(?:client|admin|secret|upstream)-key-\d{6,}[\w-]*"
)
_OTHER_MARKS: Final = (MARK, "c4n4ry", "CANARY", "{")
"""What a literal holds that is marked: the mark, that of the fire drill's faults, or what becomes one."""
_FORMS: Final = {
    r"sk-ant-[a-z]{3}\d\d-(x*|y*|[a-z]{3,5})": "stands for the form of a key, and is too short to be one",
    r"sk-ant-(sid01-abc_DEF-1|sid01-AbCd_EfGh-|api03-AbCdEfGh|api03-no-session)": "tries the parser of the form",
    r"sessionKey=(sk|abcdefghijklmnop)": "tries the parser of the form",
    r"(client|admin)-key-0123456789": "a good key beside a bad one, where no server starts",
}
"""Literals that need no mark, and why."""
_LEAKS: Final = """
import base64, logging, os, subprocess, sys
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from proxy.secrets import Secret
from proxy.server.context import SERVICES
from tests.support.canaries.marks import GREETING, secret
from tests.support.canaries.taps import ROOT

KEY = secret("planted")
OURS = [sys.executable, "-c", "import os; print(os.environ.get('SHOWN', ''))", str(ROOT / "app.py")]

@pytest.fixture(autouse=True)
def known():
    Secret(KEY)

async def served(path, text):
    app = web.Application()
    app[SERVICES] = None
    async def answer(request): return web.Response(text=text)
    app.router.add_get(path, answer)
    async with TestClient(TestServer(app)) as client:
        await (await client.get(path)).read()

def test_log(): logging.getLogger("a").warning("it is %s", KEY)
def test_printed(): print(KEY[-12:])
def test_encoded(): print(base64.b64encode(b"x:" + KEY.encode()))
def test_taken(capsys): print(KEY); capsys.readouterr()
def test_written(tmp_path): (tmp_path / "a").write_text(KEY)
def test_child(): subprocess.run(OURS, env={"SHOWN": KEY}, capture_output=True)
def test_command(): subprocess.run([*OURS, KEY], env={}, capture_output=True)
async def test_answer(): await served("/v1/a", KEY)
async def test_page(): await served("/admin/a", GREETING)
def test_prompt(): print(GREETING)

async def test_nothing(tmp_path):
    (tmp_path / "sessions.json").write_text(KEY)
    subprocess.run(OURS, env={"TAKEN": KEY}, capture_output=True)
    await served("/v1/a", GREETING)
    print("nothing")
"""
_WATCHED: Final = """
from tests.support.canaries.plugin import Watcher

def pytest_configure(config):
    watcher = Watcher(deep=True)
    watcher.begin()
    config.pluginmanager.register(watcher)
    config.add_cleanup(watcher.end)
"""


def test_each_way_of_telling_a_secret_fails_its_test_and_no_other(tmp_path: Path) -> None:
    """Protects the watch from being deaf somewhere: a test that leaks is failed, wherever it does."""
    (tmp_path / "conftest.py").write_text(_WATCHED)
    (tmp_path / "test_leaks.py").write_text(_LEAKS)
    words = [sys.executable, "-m", "pytest", "-q", "-rE", "-p", "no:cacheprovider", "--asyncio-mode=auto"]
    options = [
        "--rootdir",
        str(tmp_path),
        "-c",
        "/dev/null",
        "-W",
        "ignore",
        "--basetemp",
        str(tmp_path / "t"),
    ]
    done = subprocess.run(  # noqa: S603 - a program of ours
        [*words, *options, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    told = dict(
        re.findall(r"ERROR at teardown of test_(\w+) _+\ntold where it may not be: (.*)", done.stdout)
    )
    assert {name: text.partition(" in ")[2].partition(" (")[0] for name, text in told.items()} == {
        **dict.fromkeys(("log", "printed", "encoded", "taken", "prompt"), Place.LOG),
        "written": Place.FILE,
        "child": Place.OUTPUT,
        "command": Place.COMMAND,
        "answer": Place.ANSWER,
        "page": Place.PAGE,
    }, done.stdout
    assert secret("planted")[-PIECE_CHARACTERS:] not in "".join(told.values())


@given(
    encoding=st.sampled_from(sorted(_ENCODINGS)),
    start=st.integers(0, 6),
    around=st.tuples(st.binary(max_size=40), st.binary(max_size=40)),
)
def test_a_secret_is_found_in_any_spelling_wherever_it_stands(
    encoding: str, start: int, around: tuple[bytes, bytes]
) -> None:
    """Protects the search: every encoding, every beginning, whatever stands before and after."""
    flock = Flock({"one": _KEY})
    part = telling(_KEY)[start:].encode()
    before, after = around
    assert flock.found(before + b" " + _ENCODINGS[encoding](part) + b" " + after) == ["one"]


@given(start=st.integers(0, len(telling(_KEY)) - PIECE_CHARACTERS))
def test_twelve_characters_in_a_row_are_enough(start: int) -> None:
    """Protects against a secret that is told shortened; fewer may be by chance."""
    flock = Flock({"one": _KEY})
    piece = telling(_KEY)[start : start + PIECE_CHARACTERS].encode()
    assert flock.found(b"key=" + piece + b"...") == ["one"]
    assert flock.found(b"key=" + piece[:-2] + b"...") == []


@given(st.binary(max_size=200))
def test_what_holds_no_secret_is_let_alone(data: bytes) -> None:
    """Protects tests from being failed for nothing."""
    assert Flock({"one": _KEY, "two": secret("two")}).found(data) == []


def test_what_comes_in_pieces_is_looked_at_as_a_whole() -> None:
    """Protects against a secret that falls between two reads, small ones or large ones."""
    for filling in (b"", b"x " * 2**19):
        watch = Watch()
        watch.learn(_KEY, "a test")
        watch.hear(Place.OUTPUT, "a", filling + _KEY[:20].encode())
        watch.hear(Place.OUTPUT, "b", b"something else")
        watch.hear(Place.OUTPUT, "a", _KEY[20:].encode() + filling)
        assert watch.look() == [f"a secret of a test in {Place.OUTPUT} (a)"]
        assert watch.look() == []


def test_of_a_database_only_the_tables_of_conversations_may_hold_words(tmp_path: Path) -> None:
    """Protects prompts: kept where they are asked to be kept, and nowhere else in the file."""
    folder = tmp_path / "planted"
    folder.mkdir()
    for table, found in (
        ("responses", []),
        ("conversations", []),
        ("audit", [f"a prompt in {Place.FILE} (a.db)"]),
    ):
        file = folder / "a.db"
        file.unlink(missing_ok=True)
        with closing(sqlite3.connect(file, isolation_level=None)) as database:
            database.execute(f"CREATE TABLE {table} (text)")
            database.execute(f"INSERT INTO {table} VALUES ('{PROMPT}')")  # noqa: S608 - constants
        watch = Watch()
        for place, name, data in files.read(folder):
            watch.hear(place, name, data)
        assert watch.look() == found


def test_a_marked_key_is_called_by_its_name() -> None:
    """Protects tests, which go on saying ``k1`` where the wire has a key that can be found again."""
    assert plain(marked("k1")) == "k1"
    assert marked(marked("k1")) == marked("k1") == secret("k1") != secret("k2")
    assert plain(f"k2{secret('k1')[2:]}") != "k2"
    assert marked_settings({"ANTHROPIC_API_KEYS": "k1,k2", "PORT": "80", "FALLBACK_API_KEY_1": "a b"}) == {
        "ANTHROPIC_API_KEYS": f"{secret('k1')},{secret('k2')}",
        "PORT": "80",
        "FALLBACK_API_KEY_1": "a b",
    }


def _like_keys() -> Iterator[tuple[str, str]]:
    for file in sorted((ROOT / "tests").rglob("*.py")):
        if file == Path(__file__) or file.is_relative_to(ROOT / "tests/bench"):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
                text = node.value if isinstance(node.value, str) else node.value.decode("latin-1")
                for found in _LIKE_A_KEY.findall(text):
                    yield str(file.relative_to(ROOT)), found


def test_what_looks_like_a_key_can_be_found_again() -> None:
    """Protects the watch from keys it does not know; the measurements keep their own, and log nothing."""
    unmarked = {
        (file, text)
        for file, text in _like_keys()
        if not any(mark in text for mark in _OTHER_MARKS)
        and not any(re.fullmatch(form, text) for form in _FORMS)
    }
    assert unmarked == set()


def test_every_form_without_a_mark_is_in_use() -> None:
    """Protects the list of exceptions from outliving them."""
    texts = {text for _, text in _like_keys()}
    for form in _FORMS:
        assert any(re.fullmatch(form, text) for text in texts), form
