"""Parsers from a setting's text to its value.

Each raises `InvalidValueError` with a reason that never repeats the text.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Final, Literal, TypeVar
from urllib.parse import SplitResult, urlsplit

import msgspec

from proxy.secrets import Secret
from proxy.settings.problems import InvalidValueError

PROXY_SCHEMES: Final = frozenset({"http", "https", "socks4", "socks5", "socks5h"})
SECRET_MAX_CHARACTERS: Final = 4096
_PLACEHOLDER: Final = "replace-me"
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,15}(\.[0-9]{1,15})?")
_WORD: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MODEL: Final = re.compile(r"[\x21-\x7e]{1,128}")
_TRUTH: Final = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}
_LEVELS: Final[Mapping[str, "LogLevel"]] = {
    "trace": "debug",
    "debug": "debug",
    "info": "info",
    "warn": "warning",
    "warning": "warning",
    "error": "error",
    "critical": "critical",
    "fatal": "critical",
    "off": "critical",
}

LogLevel = Literal["debug", "info", "warning", "error", "critical"]
T = TypeVar("T")


def boolean(text: str) -> bool:
    """``true``, ``false`` and their usual spellings, in any case."""
    try:
        return _TRUTH[text.lower()]
    except KeyError:
        raise InvalidValueError("expected true or false") from None


def integer(low: int, high: int) -> Callable[[str], int]:
    """A whole number from `low` to `high`, both included."""

    def parse(text: str) -> int:
        if not _INTEGER.fullmatch(text) or not low <= int(text) <= high:
            raise InvalidValueError(f"expected a whole number from {low} to {high}")
        return int(text)

    return parse


def number(low: float, high: float) -> Callable[[str], float]:
    """A decimal number from `low` to `high`, both included; no exponent, no infinity."""

    def parse(text: str) -> float:
        if not _NUMBER.fullmatch(text) or not low <= float(text) <= high:
            raise InvalidValueError(f"expected a number from {low:g} to {high:g}")
        return float(text)

    return parse


def ladder(low: float, high: float) -> Callable[[str], tuple[float, ...]]:
    """One to sixteen numbers with commas between, none smaller than the one before it."""
    step = number(low, high)

    def parse(text: str) -> tuple[float, ...]:
        steps = tuple(step(part.strip()) for part in text.split(","))
        if len(steps) > 16 or list(steps) != sorted(steps):
            raise InvalidValueError("expected at most 16 numbers that never fall")
        return steps

    return parse


def one_of(*choices: T) -> Callable[[str], T]:
    """One of a few words, in any case. The choices are strings; the type keeps them literal."""
    by_word = {str(choice): choice for choice in choices}

    def parse(text: str) -> T:
        try:
            return by_word[text.lower()]
        except KeyError:
            raise InvalidValueError(f"expected one of: {', '.join(by_word)}") from None

    return parse


def optional(parse: Callable[[str], T]) -> Callable[[str], T | None]:
    """The same parser where the default is None."""
    return parse


def secret(text: str) -> Secret:
    """A key or password: visible ASCII without spaces, none of the placeholders of our example files.

    Whitespace around it is taken off: a key that ends in a newline is refused by HTTP libraries at each call.
    """
    value = text.strip()
    if not value:
        raise InvalidValueError("is empty")
    if not _VISIBLE.fullmatch(value):
        raise InvalidValueError("holds a space, a control character or a character outside ASCII")
    if len(value) > SECRET_MAX_CHARACTERS:
        raise InvalidValueError(f"is longer than {SECRET_MAX_CHARACTERS} characters")
    if _PLACEHOLDER in value.lower():
        raise InvalidValueError("is still the placeholder of the example file")
    return Secret(value)


def long_secret(text: str) -> Secret:
    """A secret that guards more than one request: at least 16 characters."""
    value = secret(text)
    if len(value.reveal()) < 16:
        raise InvalidValueError("is shorter than 16 characters")
    return value


def secrets(text: str) -> tuple[Secret, ...]:
    """Secrets with commas between; one given twice counts once."""
    found: dict[Secret, None] = {}
    parts = text.split(",")
    for position, part in enumerate(parts, 1):
        try:
            found[secret(part)] = None
        except InvalidValueError as mistake:
            raise (mistake if len(parts) == 1 else InvalidValueError(f"item {position} {mistake}")) from None
    return tuple(found)


def raw_secret(text: str) -> Secret:
    """Secret text of another shape (JSON) that is read where it is used."""
    return Secret(text)


def word(text: str) -> str:
    """A name: letters, digits, dot, underscore and hyphen, at most 64."""
    if not _WORD.fullmatch(text):
        raise InvalidValueError("expected 1 to 64 letters, digits, dots, underscores or hyphens")
    return text


def words(text: str) -> tuple[str, ...]:
    """Visible words with commas between, or a JSON list of strings."""
    if text.startswith("["):
        try:
            return msgspec.json.decode(text, type=tuple[str, ...])
        except (msgspec.DecodeError, UnicodeError):
            raise InvalidValueError(
                "expected a JSON list of strings, or values with commas between"
            ) from None
    return tuple(part for part in (piece.strip() for piece in text.split(",")) if part)


def networks(text: str) -> tuple[str, ...]:
    """IP addresses and networks (``10.0.0.0/8``) with commas between."""
    found = words(text)
    try:
        return tuple(str(ipaddress.ip_network(each)) for each in found)
    except ValueError:
        raise InvalidValueError(
            "expected IP addresses or networks such as 10.0.0.0/8, with commas between"
        ) from None


def model_id(text: str) -> str:
    """A model id or a pattern of ids: visible ASCII, at most 128 characters."""
    if not _MODEL.fullmatch(text):
        raise InvalidValueError("expected a model id of at most 128 visible ASCII characters")
    return text


def plain(text: str) -> str:
    """Any text without control characters."""
    if not text.isprintable():
        raise InvalidValueError("holds a control character")
    return text


def log_level(text: str) -> LogLevel:
    """A level's name, or a Rust program's filter (``info,hyper=warn``), whose general level counts."""
    directives = [part.strip().lower() for part in text.split(",") if part.strip()]
    general = [part for part in directives if "=" not in part] or [
        part.rpartition("=")[2] for part in directives
    ]
    if not general or general[0] not in _LEVELS:
        raise InvalidValueError("expected one of: debug, info, warning, error, critical")
    return _LEVELS[general[0]]


def split_url(text: str, schemes: frozenset[str]) -> SplitResult:
    """The parts of a URL with a host and one of `schemes`. Raises InvalidValueError."""
    try:
        parts = urlsplit(text)
        usable = bool(parts.hostname) and parts.port != 0 and parts.scheme in schemes
    except ValueError:
        usable, parts = False, urlsplit("")
    if not usable or not _VISIBLE.fullmatch(text) or "\\" in text:
        names = ", ".join(sorted(schemes))
        raise InvalidValueError(f"expected a URL with a host and one of these schemes: {names}")
    return parts


def base_url(text: str) -> str:
    """An ``http`` or ``https`` address without user, query and fragment; a slash at its end is taken off."""
    parts = split_url(text, frozenset({"http", "https"}))
    if "@" in parts.netloc or parts.username is not None:
        raise InvalidValueError("holds a user name or password; a key belongs into a setting of its own")
    if "?" in text or "#" in text:
        raise InvalidValueError("holds a query or a fragment")
    return text.rstrip("/")


def proxy_url(text: str) -> Secret:
    """A proxy's address, which may hold its user name and password."""
    value = secret(text)
    parts = split_url(value.reveal(), PROXY_SCHEMES)
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise InvalidValueError("holds more than scheme, user, host and port")
    return value


def redis_url(text: str) -> Secret:
    """``redis://`` or ``rediss://``, which may hold a password."""
    value = secret(text)
    split_url(value.reveal(), frozenset({"redis", "rediss"}))
    return value


def sqlite_path(text: str) -> str:
    """The path of ``sqlite:///path``: relative after three slashes, absolute after four."""
    path = text.removeprefix("sqlite:///")
    if path == text or not path or path == ":memory:" or "?" in path or not path.isprintable():
        raise InvalidValueError("expected sqlite:///path; no other database is supported")
    return path


def url_prefix(text: str) -> str:
    """A path that begins with a slash and does not end with one."""
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", text):
        raise InvalidValueError("expected a path such as /mirror")
    return text
