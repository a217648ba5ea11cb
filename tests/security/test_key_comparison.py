"""Keys are compared whole, each time with all of them, in constant time."""

import ast
import inspect
from pathlib import Path
from typing import Final

import pytest

import proxy.access
from proxy.access import Client, ClientKeys
from proxy.secrets import Secret
from tests.security.wire import ask
from tests.support.gateway import Gateway

_SHARED: Final = "sk-carousel-" + "a" * 28
_FIRST: Final = _SHARED + "-first"
_SECOND: Final = _SHARED + "-second"
SETTINGS = {"API_KEY": f"{_FIRST},{_SECOND}"}
_SOURCES = sorted(Path(proxy.access.__file__).parent.glob("*.py"))
_SECRET_WORDS = ("key", "digest", "secret", "presented", "known", "token")


@pytest.mark.asyncio(loop_scope="module")
async def test_two_keys_of_one_beginning_are_two_clients(server: Gateway) -> None:
    """Protects clients from being taken for one another where only a part of a key is looked at."""
    for key in (_FIRST, _SECOND):
        assert (await ask(server.url, "/v1/models", method="GET", key=key)).status == 200
    for key in (_SHARED, _SHARED + "-third", _FIRST + "-second", _FIRST[:-1], _SECOND + " x"):
        assert (await ask(server.url, "/v1/models", method="GET", key=key)).status == 401, key


def test_each_of_two_keys_of_one_beginning_finds_its_own_client() -> None:
    """Protects limits and accounts, which hang on the client's name."""
    keys = ClientKeys(
        [(Secret(_FIRST), Client("first")), (Secret(_SECOND), Client("second"))], require_auth=True
    )
    assert keys.match(_FIRST) == Client("first")
    assert keys.match(_SECOND) == Client("second")
    assert keys.match(_SHARED) is None


def _compared_names(node: ast.Compare) -> list[str]:
    found = []
    for side in (node.left, *node.comparators):
        for part in ast.walk(side):
            if isinstance(part, ast.Name):
                found.append(part.id.lower())
            elif isinstance(part, ast.Attribute):
                found.append(part.attr.lower())
    return found


@pytest.mark.parametrize("path", _SOURCES, ids=lambda path: path.name)
def test_no_key_is_compared_with_a_plain_operator(path: Path) -> None:
    """Protects keys from being guessed byte by byte by the time a comparison takes.

    What one request presents twice may be compared with itself: both sides are the caller's own.
    """
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Compare):
            continue
        if not any(isinstance(op, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for op in node.ops):
            continue
        names = set(_compared_names(node))
        if names <= {"found", "key"} or names <= {"name", "other"}:
            continue
        assert not any(word in name for word in _SECRET_WORDS for name in names), ast.unparse(node)


def _loops_with_an_early_end(function: ast.FunctionDef) -> list[ast.stmt]:
    return [
        node
        for loop in ast.walk(function)
        if isinstance(loop, ast.For | ast.While)
        for node in ast.walk(loop)
        if isinstance(node, ast.Break | ast.Return)
    ]


@pytest.mark.parametrize("method", [ClientKeys.match, proxy.access.Keys.is_admin])
def test_a_presented_key_is_compared_in_constant_time_with_every_key_there_is(method: object) -> None:
    """Protects keys from being told apart by how soon the search for one ends."""
    assert callable(method)
    source = inspect.cleandoc("\n" + inspect.getsource(method))
    function = ast.parse(source).body[0]
    assert isinstance(function, ast.FunctionDef)
    calls = [ast.unparse(node.func) for node in ast.walk(function) if isinstance(node, ast.Call)]
    assert "hmac.compare_digest" in calls
    assert _loops_with_an_early_end(function) == []


def test_every_key_is_looked_at_whichever_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the same at run time: the number of comparisons tells nothing."""
    looked_at: list[bytes] = []

    def compare(known: bytes, presented: bytes) -> bool:
        looked_at.append(known)
        return known == presented

    names = [f"key-number-{number}" for number in range(5)]
    keys = ClientKeys([(Secret(name), Client(name)) for name in names], require_auth=True)
    monkeypatch.setattr("proxy.access.clients.hmac.compare_digest", compare)
    for presented in (*names, "another"):
        looked_at.clear()
        keys.match(presented)
        assert len(looked_at) == len(names)
