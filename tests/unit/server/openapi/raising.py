"""Which statuses the code behind a handler can raise, as far as it can be read from the code itself.

A handler is followed through the names it uses: functions and classes of ours, those it was made with, and methods
of the rooms `ROOMS` by their names alone. What a status that is no number comes from is for other tests.
"""

import ast
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator
from functools import cache
from types import FunctionType, ModuleType
from typing import Final

import msgspec

import proxy.access
import proxy.server
from proxy.errors import GatewayError

ROOMS: Final = (proxy.server, proxy.access)
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_Body = ast.FunctionDef | ast.AsyncFunctionDef


def raised_by(handler: object) -> set[int]:
    """The statuses of all errors that are made somewhere behind a handler."""
    statuses: set[int] = set()
    seen: set[object] = set()
    ahead = [handler]
    while ahead:
        thing = ahead.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, FunctionType):
            statuses |= set(_made(thing))
            ahead += _used(thing)
        elif isinstance(thing, type) and not issubclass(thing, msgspec.Struct | BaseException):
            ahead += [each for kind in thing.__mro__ for each in vars(kind).values() if _is_ours(each)]
    return statuses


def _is_ours(thing: object) -> bool:
    if isinstance(thing, FunctionType | type):
        return thing.__module__.startswith("proxy.")
    return isinstance(thing, ModuleType) and thing.__name__.startswith("proxy.")


@cache
def _definitions(module: str) -> dict[str, _Body]:
    """The functions of a module by their qualified names."""
    found: dict[str, _Body] = {}

    def walk(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, _Definition):
                name = prefix + child.name
                if isinstance(child, _Body):
                    found[name] = child
                walk(child, f"{name}." if isinstance(child, ast.ClassDef) else f"{name}.<locals>.")
            else:
                walk(child, prefix)

    walk(ast.parse(inspect.getsource(sys.modules[module])), "")
    return found


def _body(function: FunctionType) -> Iterator[ast.AST]:
    definition = _definitions(function.__module__).get(function.__qualname__)
    return ast.walk(definition) if definition is not None else iter(())


def _made(function: FunctionType) -> Iterator[int]:
    """The statuses of the errors it makes; of classes of errors, those their constructors give them."""
    for node in _body(function):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        kind = function.__globals__.get(node.func.id)
        if not (isinstance(kind, type) and issubclass(kind, GatewayError)):
            continue
        if kind is GatewayError:
            yield from _number(node)
        elif isinstance(constructor := kind.__init__, FunctionType):
            for inner in _body(constructor):
                if isinstance(inner, ast.Call) and isinstance(inner.func, ast.Attribute):
                    yield from _number(inner)


def _number(call: ast.Call) -> Iterator[int]:
    first = call.args[0] if call.args else None
    if isinstance(first, ast.Constant) and isinstance(first.value, int):
        yield first.value


def _used(function: FunctionType) -> Iterator[object]:
    """The functions and classes of ours that it can get at."""
    for cell in function.__closure__ or ():
        if _is_ours(cell.cell_contents):
            yield cell.cell_contents
    for node in _body(function):
        if isinstance(node, ast.Name):
            thing = function.__globals__.get(node.id)
            if _is_ours(thing) and not isinstance(thing, ModuleType):
                yield thing
        elif isinstance(node, ast.Attribute):
            owner = function.__globals__.get(node.value.id) if isinstance(node.value, ast.Name) else None
            if isinstance(owner, ModuleType) and _is_ours(owner):
                yield getattr(owner, node.attr)
            elif not isinstance(owner, ModuleType) and node.attr != "__init__":
                # constructors of other classes are followed from where those are named
                yield from _methods().get(node.attr, ())


@cache
def _methods() -> dict[str, list[FunctionType]]:
    """The methods of the rooms, by their names."""
    found: dict[str, list[FunctionType]] = {}
    for room in ROOMS:
        for info in pkgutil.walk_packages(room.__path__, f"{room.__name__}."):
            module = importlib.import_module(info.name)
            for kind in vars(module).values():
                if isinstance(kind, type) and kind.__module__ == module.__name__:
                    for name, method in vars(kind).items():
                        if isinstance(method, FunctionType):
                            found.setdefault(name, []).append(method)
    return found
