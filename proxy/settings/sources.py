"""The five places a setting can come from, read into layers of plain text.

Flags beat the environment, which beats ``.env``, which beats the TOML file, which beats the defaults.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Final

import msgspec
from dotenv.parser import parse_stream

from proxy.settings.problems import Problem

DEFAULT_CONFIG_FILE: Final = Path("config/local.toml")
SECTION_PREFIX: Final = "CLAUDE_CODE__"
_MAX_BYTES: Final = 1024 * 1024
_READABLE_BY_OTHERS: Final = 0o044


@dataclass(slots=True)
class Findings:
    """What has been found wrong or worth a line so far.

    Attributes:
        problems: they stop the start.
        warnings: they do not.
    """

    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def wrong(self, setting: str, reason: str) -> None:
        """Remember a mistake."""
        self.problems.append(Problem(setting, reason))

    def warn(self, sentence: str) -> None:
        """Remember a warning, once."""
        if sentence not in self.warnings:
            self.warnings.append(sentence)


@dataclass(frozen=True, slots=True)
class Layer:
    """One place's texts.

    Attributes:
        file: the file they were read from; None for flags and the environment.
        texts: by the name that was written; empty texts are kept.
    """

    file: Path | None
    texts: Mapping[str, str] = field(repr=False)


def read_layers(
    flags: Mapping[str, str],
    environ: Mapping[str, str],
    working_dir: Path,
    env_file: Path | None,
    findings: Findings,
) -> tuple[Layer, ...]:
    """All places, the strongest first."""
    dotenv = _dotenv_layer(working_dir / (env_file or ".env"), findings, required=env_file is not None)
    layers = (Layer(None, flags), Layer(None, environ), dotenv)
    config = next((text for layer in layers if (text := layer.texts.get("CONFIG_FILE", "").strip())), None)
    path = working_dir / (config or DEFAULT_CONFIG_FILE)
    return (*layers, _toml_layer(path, findings, required=config is not None))


def read_text(path: Path, setting: str, findings: Findings, *, required: bool) -> str | None:
    """A file the operator gave, at most 1 MiB of UTF-8; None if it cannot be read, which may be a problem."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        if required:
            findings.wrong(setting, "names a file that does not exist")
        return None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        findings.wrong(setting, f"cannot be read: {reason or 'no such path'}")
        return None
    if len(data) > _MAX_BYTES:
        findings.wrong(setting, f"is a file of more than {_MAX_BYTES} bytes")
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        findings.wrong(setting, "is a file that is not UTF-8")
        return None


def warn_if_readable(path: Path, findings: Findings) -> None:
    """Say so if a file that holds secrets can be read by other users of the machine."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return
    if mode & _READABLE_BY_OTHERS:
        findings.warn(f"{path} holds secrets and can be read by other users; chmod 600 keeps it private.")


def _dotenv_layer(path: Path, findings: Findings, *, required: bool) -> Layer:
    text = read_text(path, path.name, findings, required=required)
    texts: dict[str, str] = {}
    # Values are taken as they stand: a "$" inside a password is no reference.
    for binding in parse_stream(StringIO(text or "")):
        if binding.error:
            findings.wrong(path.name, f"line {binding.original.line} cannot be read")
        elif binding.key is not None and binding.value is not None:
            texts[binding.key] = binding.value
    return Layer(path, texts)


def _toml_layer(path: Path, findings: Findings, *, required: bool) -> Layer:
    text = read_text(path, path.name if not required else "CONFIG_FILE", findings, required=required)
    try:
        document = tomllib.loads(text or "")
    except tomllib.TOMLDecodeError as error:
        # The parser's own text quotes what it found.
        where = re.search(r"line \d+, column \d+", str(error))
        findings.wrong(path.name, f"is no TOML{f': see {where[0]}' if where else ''}")
        return Layer(path, {})
    texts: dict[str, str] = {}
    for section, table in document.items():
        if isinstance(table, dict):
            _add_section(texts, section, table.items(), path.name, findings)
        else:
            findings.warn(f"{path.name} has a key outside any section, which is ignored.")
    return Layer(path, texts)


def _add_section(
    texts: dict[str, str], section: str, pairs: Iterable[tuple[str, object]], place: str, findings: Findings
) -> None:
    for key, value in pairs:
        name = f"{SECTION_PREFIX}{section}__{key}".upper()
        match value:
            case str():
                texts[name] = value
            case bool() | int() | float() | list():
                texts[name] = msgspec.json.encode(value).decode()
            case _:
                findings.wrong(f"{place} [{section}] {key}", "expected a text, number, truth value or list")
