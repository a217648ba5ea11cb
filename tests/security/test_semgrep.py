"""Each rule of ``.semgrep.yml`` finds what it is there for, and lets pass what is done instead."""

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import pytest

from tests.support.lacking import lacks
from tests.support.program import ROOT

_RULES: Final = ROOT / ".semgrep.yml"
_SEMGREP: Final = ROOT / ".semgrep/bin/semgrep"
_CHILD: Final = "asyncio.create_subprocess_exec"


@dataclass(frozen=True, slots=True)
class Snippets:
    """What a rule has to find, and what it has to leave alone, one statement a line.

    Attributes:
        bad: each of these lines is found.
        good: none of these is.
        place: the directory of the file that holds them, below the root of the project.
        suffix: of that file.
    """

    bad: tuple[str, ...]
    good: tuple[str, ...] = ()
    place: str = "proxy/pool"
    suffix: str = ".py"


SNIPPETS: Final[Mapping[str, Snippets]] = {
    "secret-in-a-log-line": Snippets(
        ('_log.info("asked", key=secret.reveal())', '_log.warning(f"asked with {key.reveal()}")'),
        ('_log.info("asked", credential=credential.name)', "self._send(secret.reveal())"),
    ),
    "secret-in-an-error": Snippets(
        (
            'raise ValueError(f"no such key: {key.reveal()}")',
            "raise Refused(secret.reveal()) from error",
            "raise Refused(why=secret.reveal())",
        ),
        ("raise ValueError(credential.name)",),
    ),
    "secret-as-an-argument-of-a-program": Snippets(
        (
            f'{_CHILD}("claude", "--key", key.reveal(), env=allowed)',
            'subprocess.run(["claude", key.reveal()], env=allowed)',
        ),
        (f'{_CHILD}("claude", env={{"KEY": key.reveal()}})',),
    ),
    "whole-environment-for-a-program": Snippets(
        (
            f'{_CHILD}("claude", env=os.environ)',
            f'{_CHILD}("claude", env={{**os.environ, "A": "b"}})',
            f'{_CHILD}("claude", env=os.environ | more)',
            f'{_CHILD}("claude")',
            'subprocess.run(["claude"])',
            'subprocess.run(["claude"], env=os.environ)',
        ),
        (f'{_CHILD}("claude", env=environment)', 'subprocess.run(["claude"], env={"PATH": path})'),
    ),
    "shell": Snippets(
        (
            "asyncio.create_subprocess_shell(command)",
            "subprocess.run(command, shell=True, env=few)",
            "os.system(command)",
            "os.popen(command)",
        ),
        ('subprocess.run(["ls"], env=few)',),
    ),
    "code-out-of-data": Snippets(
        (
            "eval(text)",
            "exec(text)",
            "pickle.loads(data)",
            "marshal.loads(data)",
            "yaml.load(text)",
        ),
        ("msgspec.json.decode(data, type=Order)",),
    ),
    "key-compared-with-an-operator": Snippets(
        (
            "matches = secret.reveal() == presented",
            "differs = secret.digest() != presented",
            "matches = digest_of(presented) == known",
            'matches = hmac.digest(key, text, "sha256") == presented',
        ),
        ("matches = hmac.compare_digest(secret.digest(), digest_of(presented))",),
    ),
    "part-of-a-key-as-a-name": Snippets(
        ("name = secret.reveal()[:20]", "name = secret.reveal()[-4:]", "name = secret.reveal()[2:6]"),
        ('name = secret.fingerprint(key, "pool")',),
    ),
    "signature-without-a-key": Snippets(
        ('mac = hmac.new(b"", text, "sha256")', 'mac = hmac.digest(b"", text, "sha256")'),
        ('mac = hmac.new(key, text, "sha256")',),
    ),
    "guessable-random-value": Snippets(
        ("import random", "from random import choice", "name = uuid.uuid1()"),
        ("import secrets", "name = uuid.uuid4()"),
        place="proxy/access",
    ),
    "weak-digest": Snippets(
        ("name = hashlib.md5(data)", "name = hashlib.sha1(data)"),
        ("name = hashlib.sha256(data)", "name = hashlib.sha1(data, usedforsecurity=False)"),
    ),
    "host-believed": Snippets(
        (
            "here = request.host",
            "secure = request.scheme",
            "base = request.url",
            'caller = request.headers["X-Forwarded-For"]',
            'path = request.headers.get("x-original-url")',
        ),
        ("path = request.path", 'kind = request.headers.get("content-type")'),
        place="proxy/server",
    ),
    "redirect-followed": Snippets(
        ("session.get(url)", "self._session.post(url, data=body)", 'self._session.request("GET", url)'),
        ("session.get(url, allow_redirects=False)", "cache.get(name)"),
        place="proxy/upstreams",
    ),
    "session-of-the-surroundings": Snippets(
        (
            "found = aiohttp.ClientSession()",
            "found = aiohttp.ClientSession(trust_env=False)",
            "found = aiohttp.ClientSession(cookie_jar=jar, trust_env=True)",
        ),
        ("found = aiohttp.ClientSession(cookie_jar=jar, trust_env=False)",),
    ),
    "certificate-unchecked": Snippets(
        (
            "connect(url, ssl=False)",
            "context = ssl._create_unverified_context()",
            "context.check_hostname = False",
            "context.verify_mode = ssl.CERT_NONE",
        ),
        ("connect(url, ssl=context)", "context = ssl.create_default_context()"),
    ),
    "statement-made-of-values": Snippets(
        (
            "database.execute(f\"SELECT * FROM keys WHERE name = '{name}'\")",
            'database.execute("DELETE FROM keys WHERE name = " + name)',
            'database.executemany("DELETE FROM %s" % table, rows)',
        ),
        ('database.execute("SELECT * FROM keys WHERE name = ?", (name,))',),
    ),
    "clients-header-given-back": Snippets(
        (
            'answer.headers["x-id"] = request.headers["x-id"]',
            'answer.headers["x-id"] = request.headers.get("x-id", "")',
            'answer = web.Response(headers={"x-model": request.match_info["model"]})',
        ),
        ('answer.headers["x-id"] = request_id',),
        place="proxy/server",
    ),
    "traceback-shown": Snippets(
        (
            "traceback.print_exc()",
            "text = traceback.format_exc()",
            '_log.exception("failed")',
            '_log.error("failed", exc_info=True)',
        ),
        ('_log.error("failed", error=type(error).__name__)',),
    ),
    "environment-read-elsewhere": Snippets(
        ('found = os.environ["API_KEY"]', 'found = os.getenv("API_KEY")'),
        ("found = settings.access",),
    ),
    "markup-made-of-text": Snippets(
        (
            "element.innerHTML = text;",
            "element.outerHTML = text;",
            'element.insertAdjacentHTML("beforeend", text);',
            "document.write(text);",
            "eval(text);",
        ),
        ("element.textContent = text;",),
        place="proxy/server/dashboard/static",
        suffix=".js",
    ),
}


class _Start(msgspec.Struct):
    line: int


class _Finding(msgspec.Struct):
    check_id: str
    path: str
    start: _Start


class _Report(msgspec.Struct):
    results: list[_Finding]
    errors: list[msgspec.Raw]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, set[int]]:
    """The lines each rule found in the file of its own snippets, from 1; all files are looked through at once."""
    if not _SEMGREP.exists():
        lacks("semgrep is not installed here: make security installs it")
    folder = tmp_path_factory.mktemp("snippets")
    for rule, snippets in SNIPPETS.items():
        file = folder / snippets.place / f"{rule}{snippets.suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{line}\n" for line in (*snippets.bad, *snippets.good)))
    lines: dict[str, set[int]] = {rule: set() for rule in SNIPPETS}
    for finding in _scanned(folder):
        rule = finding.check_id.rpartition(".")[2]
        if Path(finding.path).stem == rule:
            lines[rule].add(finding.start.line)
    return lines


def _scanned(folder: Path) -> list[_Finding]:
    command = (
        *(_SEMGREP, "scan", "--config", _RULES, "--metrics", "off", "--disable-version-check"),
        *("--no-git-ignore", "--json", "--quiet", "."),
    )
    done = subprocess.run(  # noqa: S603 - a program of ours, and no shell
        command,
        cwd=folder,
        env={"PATH": f"{_SEMGREP.parent}:{os.environ['PATH']}", "HOME": str(folder)},
        capture_output=True,
        check=False,
    )
    report = msgspec.json.decode(done.stdout, type=_Report)
    assert report.errors == []
    return report.results


@pytest.mark.parametrize("rule", SNIPPETS)
def test_a_rule_finds_what_it_is_there_for_and_nothing_else(found: Mapping[str, set[int]], rule: str) -> None:
    """Protects against a rule that is never broken because it matches nothing."""
    assert found[rule] == set(range(1, len(SNIPPETS[rule].bad) + 1))


def test_every_rule_has_its_snippets() -> None:
    """Protects against a rule nobody has seen at work."""
    named = re.findall(r"^  - id: (\S+)$", _RULES.read_text(), re.MULTILINE)
    assert named == list(SNIPPETS)
