"""Values of more than one part: an address, a web session, the model aliases."""

import re
from dataclasses import dataclass, field
from typing import Final

from proxy.secrets import Secret
from proxy.settings.problems import InvalidValueError
from proxy.settings.values import model_id, secret

_ORGANIZATION: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
_HOST: Final = re.compile(r"[A-Za-z0-9._%:-]{1,255}")


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server listens.

    Attributes:
        host: a name or an IP address, IPv6 without brackets.
        port: 0 to 65535; 0 lets the system choose.
    """

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in {"localhost", "::1"} or self.host.startswith("127.")

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class WebSession:
    """One entry of ``SESSIONS``: the cookie, and the organization if it was named."""

    session_key: Secret
    organization: str | None = None


@dataclass(frozen=True, slots=True)
class ModelAliases:
    """``MODEL_ALIASES``.

    Attributes:
        enabled: whether family names and retired ids are mapped at all.
        added: the operator's own pairs in their order, from pattern to model.
    """

    enabled: bool = True
    added: tuple[tuple[str, str], ...] = field(default=())


def host(text: str) -> str:
    """A host name or an IP address; IPv6 with or without brackets."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if not _HOST.fullmatch(bare):
        raise InvalidValueError("expected a host name or an IP address")
    return bare


def port(text: str) -> int:
    """A TCP port, or 0."""
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > 65535:
        raise InvalidValueError("expected a port from 0 to 65535")
    return int(text)


def address(text: str) -> Address:
    """``host:port``; IPv6 in brackets."""
    name, colon, number = text.rpartition(":")
    if not colon or not name or (":" in name and not name.startswith("[")):
        raise InvalidValueError("expected host:port, such as 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080")
    return Address(host(name), port(number))


def sessions(text: str) -> tuple[WebSession, ...]:
    """``cookie`` or ``cookie:organization``, with commas between."""
    found: list[WebSession] = []
    for position, part in enumerate(text.split(","), 1):
        cookie, colon, organization = part.strip().partition(":")
        try:
            key = secret(cookie)
        except InvalidValueError as mistake:
            raise InvalidValueError(f"item {position} {mistake}") from None
        if colon and not _ORGANIZATION.fullmatch(organization):
            raise InvalidValueError(f"item {position} names no organization after its colon")
        found.append(WebSession(key, organization or None))
    return tuple(found)


def model_fallbacks(text: str) -> tuple[tuple[str, str], ...]:
    """``none``, or pairs ``old=new`` with commas between: a pattern of models, and one model to ask instead."""
    if text.lower() == "none":
        return ()
    pairs: list[tuple[str, str]] = []
    for part in text.split(","):
        old, equals, new = (piece.strip() for piece in part.partition("="))
        if not equals or "=" in new or any(mark in new for mark in "*?["):
            raise InvalidValueError("expected pairs old=new with commas between, and no pattern after the =")
        pairs.append((model_id(old), model_id(new)))
    return tuple(dict.fromkeys(pairs))


def model_aliases(text: str) -> ModelAliases:
    """``on``, ``off``, or pairs ``old=new`` with commas between, which are added to the built-in ones."""
    if text.lower() in {"off", "false", "0", "no"}:
        return ModelAliases(enabled=False)
    pairs: dict[str, str] = {}
    for part in (piece.strip() for piece in text.split(",")):
        if part.lower() in {"on", "true", "1", "yes"}:
            continue
        old, equals, new = part.partition("=")
        if not equals or "=" in new:
            raise InvalidValueError("expected on, off, or pairs old=new with commas between")
        if pairs.setdefault(model_id(old.strip()), model_id(new.strip())) != new.strip():
            raise InvalidValueError("gives one model two targets")
    return ModelAliases(added=tuple(pairs.items()))
