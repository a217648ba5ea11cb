"""All keys of ours, and the one a request presents.

Keys that nobody set are made at the first start and kept in files of our own.
"""

import hmac
import secrets
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from multidict import MultiMapping, istr

from proxy.access.clients import CONFIGURED_PREFIX, GENERATED, Client, ClientKeys, digest_of
from proxy.access.rules import Rules, in_force
from proxy.errors import Unauthorized
from proxy.secrets import Secret
from proxy.settings import InvalidValueError, Settings, values
from proxy.store.base import StoreError
from proxy.store.files import ensure_private_dir, read_private, write_private

CLIENT_KEY_FILE: Final = "client.key"
ADMIN_KEY_FILE: Final = "admin.key"
SECRET_KEY_FILE: Final = "secret.key"  # noqa: S105 - a file's name
KEY_PREFIX: Final = "sk-carousel-"
_RANDOM_BYTES: Final = 32

_AUTHORIZATION: Final = istr("Authorization")
_PLAIN: Final = (istr("x-api-key"), istr("api-key"))
_BEARER: Final = "bearer "
_NONE: Final[tuple[str, ...]] = ()


def random_key() -> Secret:
    """A new client key: ``sk-carousel-`` and 43 characters, 256 random bits."""
    return Secret(KEY_PREFIX + secrets.token_urlsafe(_RANDOM_BYTES))


def presented_key(headers: MultiMapping[str]) -> str | None:
    """The key of ``Authorization: Bearer``, ``x-api-key`` or ``api-key``; None if there is none.

    Headers of another authorization scheme and empty ones are no key. The same key may be sent more than once.

    Args:
        headers: a request's, whose names match in any case.

    Raises:
        Unauthorized: two different keys were sent; taking either would let an intermediary decide who is calling.
    """
    key: str | None = None
    source = ""
    for value in headers.getall(_AUTHORIZATION, _NONE):
        if value[:7].lower() == _BEARER and (found := value[7:].strip()):
            if key is not None and found != key:
                raise _two_keys(_AUTHORIZATION, source)
            key, source = found, _AUTHORIZATION
    for name in _PLAIN:
        for value in headers.getall(name, _NONE):
            if found := value.strip():
                if key is not None and found != key:
                    raise _two_keys(name, source)
                key, source = found, name
    return key


@dataclass(frozen=True, slots=True)
class OwnKey:
    """A client key or the administrator's key, and where it came from.

    Attributes:
        purpose: ``client key`` or ``admin key``.
        key: the key.
        path: the file it is kept in; None if it was configured.
        made: whether this start made it.
    """

    purpose: str
    key: Secret
    path: Path | None = None
    made: bool = False


class Keys:
    """All keys of ours.

    Attributes:
        clients: the keys clients may use.
        secret_key: signs what the server hands out and names stored rows, at least 16 bytes.
    """

    __slots__ = ("_admin", "_admin_digest", "_client_keys", "_require_auth", "clients", "secret_key")

    def __init__(
        self,
        client_keys: Sequence[OwnKey],
        admin: OwnKey,
        secret_key: bytes,
        *,
        require_auth: bool,
        rules: Rules | None = None,
    ) -> None:
        """`rules` are those of every key that has none of its own."""
        names = (
            f"{CONFIGURED_PREFIX}{number}" if own.path is None else GENERATED
            for number, own in enumerate(client_keys, 1)
        )
        self.clients = ClientKeys(
            [(own.key, Client(name, rules)) for own, name in zip(client_keys, names, strict=True)],
            require_auth=require_auth,
            anonymous_rules=rules,
        )
        self.secret_key = secret_key
        self._client_keys = tuple(client_keys)
        self._admin = admin
        self._admin_digest = admin.key.digest()
        self._require_auth = require_auth

    def __repr__(self) -> str:
        return f"<Keys {self.clients!r}>"

    def is_admin(self, presented: str) -> bool:
        """Whether this is the administrator's key."""
        return hmac.compare_digest(self._admin_digest, digest_of(presented))

    def login_key(self) -> bytes:
        """What signs the logins of administrators: another one for another admin key."""
        return hmac.digest(self.secret_key, b"admin login\0" + self._admin_digest, "sha256")

    def secrets(self) -> tuple[Secret, ...]:
        """Every key there is, for the redaction of logs."""
        return (*(own.key for own in self._client_keys), self._admin.key, Secret(self.secret_key.decode()))

    def notices(self, *, show_made: bool) -> list[str]:
        """Lines for the operator about where the keys are.

        Args:
            show_made: whether keys of this start are shown; only ever for a terminal, never for a log.
        """
        lines = [_notice(own, own.path, show_made=show_made) for own in self._client_keys if own.path]
        if configured := sum(own.path is None for own in self._client_keys):
            lines.append(f"Client keys: {configured} from the configuration.")
        if not self._require_auth:
            lines.append("Clients need no key (REQUIRE_AUTH=false).")
        if self._admin.path is not None:
            lines.append(_notice(self._admin, self._admin.path, show_made=show_made))
        return lines

    @property
    def shell_expression(self) -> str:
        """What to write in a shell command, inside double quotes, in a client key's place."""
        paths = [own.path for own in self._client_keys if own.path is not None]
        if paths:
            return f"$(cat {shlex.quote(_short(paths[0]))})"
        return "$API_KEY" if self._client_keys else "none"


def load_or_make_keys(settings: Settings, data_dir: Path) -> Keys:
    """The configured keys, and for those not set the ones kept in `data_dir`, made if need be. Blocks.

    No client key is made where clients need none.

    Raises:
        StoreError: the folder or a file is not private, cannot be used, or holds no key.
    """
    ensure_private_dir(data_dir)
    access = settings.access
    client_keys = [OwnKey("client key", key) for key in access.client_keys]
    if access.require_auth and not client_keys:
        client_keys = [_kept_or_made("client key", data_dir / CLIENT_KEY_FILE, KEY_PREFIX)]
    if access.admin_key is not None:
        admin = OwnKey("admin key", access.admin_key)
    else:
        admin = _kept_or_made("admin key", data_dir / ADMIN_KEY_FILE, "sk-carousel-admin-")
    secret_key = access.secret_key or _kept_or_made("secret key", data_dir / SECRET_KEY_FILE, "").key
    return Keys(
        client_keys,
        admin,
        secret_key.reveal().encode(),
        require_auth=access.require_auth,
        rules=in_force(None, settings.limits),
    )


def _kept_or_made(purpose: str, path: Path, prefix: str) -> OwnKey:
    kept = _read(path)
    if kept is None:
        key = Secret(prefix + secrets.token_urlsafe(_RANDOM_BYTES))
        if write_private(path, f"{key.reveal()}\n".encode(), replace=False):
            return OwnKey(purpose, key, path, made=True)
        # Another process of the same folder was faster: its key counts.
        kept = _read(path)
    if kept is None:
        raise StoreError(f"{path} came and went while it was read; start again.")
    return OwnKey(purpose, kept, path)


def _read(path: Path) -> Secret | None:
    data = read_private(path)
    if data is None:
        return None
    try:
        return values.long_secret(data.decode("ascii"))
    except (InvalidValueError, UnicodeDecodeError):
        raise StoreError(f"{path} holds no key; remove it to have a new one made.") from None


def _notice(own: OwnKey, path: Path, *, show_made: bool) -> str:
    name = own.purpose.capitalize()
    if own.made and show_made:
        return f"{name}, shown this once: {own.key.reveal()} (kept in {_short(path)})"
    return f"{name}: in {_short(path)}"


def _short(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _two_keys(name: str, other: str) -> Unauthorized:
    if name == other:
        return Unauthorized(f"The {name} header was sent more than once, with different keys. Send one key.")
    return Unauthorized(f"The {other} and {name} headers hold different keys. Send one key.")
