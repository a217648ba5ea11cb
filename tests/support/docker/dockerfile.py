"""Dockerfiles as far as ours go: an instruction that is not known here is an error. Source: Dockerfile reference."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

_VARIABLE: Final = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_FLAG: Final = re.compile(r"--([a-z-]+)=(\S+)\s+")
_KNOWN: Final = frozenset(
    {"ARG", "ENV", "COPY", "RUN", "USER", "WORKDIR", "VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "CMD"}
)


class DockerfileError(ValueError):
    """A Dockerfile that cannot be read here."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction.

    Attributes:
        word: in capitals.
        text: what follows, without flags; variables as they stand.
        flags: such as ``from``.
    """

    word: str
    text: str
    flags: Mapping[str, str]

    @property
    def words(self) -> list[str]:
        """The exec form's words, or the text's own."""
        if self.text.startswith("["):
            return msgspec.json.decode(self.text, type=list[str])
        return shlex.split(self.text)


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage.

    Attributes:
        name: after ``AS``; empty where there is none.
        base: the image it begins with.
        instructions: in order.
    """

    name: str
    base: str
    instructions: tuple[Instruction, ...]


def parse(text: str) -> tuple[Stage, ...]:
    """The stages of a Dockerfile. Raises DockerfileError."""
    arguments: dict[str, str] = {}
    stages: list[tuple[str, str, list[Instruction]]] = []
    for line in _lines(text):
        word, _, rest = line.partition(" ")
        word, rest = word.upper(), rest.strip()
        if word == "FROM":
            base, _, name = expanded(rest, arguments).partition(" AS ")
            stages.append((name, base, []))
        elif word not in _KNOWN:
            raise DockerfileError(f"{word} is not known here")
        elif stages:
            stages[-1][2].append(_instruction(word, rest))
        elif word == "ARG":
            name, _, value = rest.partition("=")
            arguments[name] = value
        else:
            raise DockerfileError(f"{word} comes before FROM")
    return tuple(Stage(name, base, tuple(instructions)) for name, base, instructions in stages)


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """A text with its variables put in; one that is not set is nothing."""
    return _VARIABLE.sub(lambda found: variables.get(found[1] or found[2], ""), text)


def _instruction(word: str, rest: str) -> Instruction:
    flags: dict[str, str] = {}
    while (found := _FLAG.match(rest)) is not None:
        flags[found[1]] = found[2]
        rest = rest[found.end() :]
    return Instruction(word, rest, flags)


def _lines(text: str) -> list[str]:
    """The logical lines, without comments."""
    if text.count("\n# syntax=") or "<<" in text:
        raise DockerfileError("directives belong to the first line, and here-documents are not known here")
    kept = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(kept))
    return [line.strip() for line in joined.splitlines() if line.strip()]
