"""The client keys an operator has made: kept as digests, shared with other processes of the same folder.

Whoever makes or revokes a key writes it to the store. A key this process does not know is looked for there before
it is refused, and once a second this process looks whether somebody else has written.
"""

import asyncio
from typing import Final

import msgspec

from proxy.access.clients import Client, ClientKeys, digest_of, reserved
from proxy.access.rules import Rules, in_force
from proxy.clock import Clock
from proxy.log import get_logger
from proxy.secrets import Secret
from proxy.settings import LimitSettings
from proxy.store.access import AccessStore, KeyRow
from proxy.store.base import StoreError

_log = get_logger("keys")
_LOOK_EVERY_S: Final = 1.0
_UNKNOWN_S: Final = 1.0
_UNKNOWN_MAX: Final = 10_000


class NameTaken(Exception):
    """A client of this name is, was, or may become another's. The text says so."""


class KeyView(msgspec.Struct, frozen=True, kw_only=True):
    """A client key as an operator sees it; the key itself is known to nobody.

    Attributes:
        name: of the client.
        state: ``active``, ``expired`` or ``revoked``.
        rules: what it may.
        created_unix_ms: when it was made.
        revoked_unix_ms: when it was revoked, or None.
    """

    name: str
    state: str
    rules: Rules
    created_unix_ms: int
    revoked_unix_ms: int | None


class StoredKeys:
    """Makes, revokes and finds client keys; `clients.book` always holds those that are good, as far as known."""

    def __init__(self, store: AccessStore, clients: ClientKeys, clock: Clock, limits: LimitSettings) -> None:
        self._store = store
        self._clients = clients
        self._clock = clock
        self._limits = limits
        self._revoked: frozenset[bytes] = frozenset()
        self._writes: int | None = None
        self._looking = asyncio.Lock()
        self._looks = 0
        self._unknown: dict[bytes, float] = {}

    async def load(self) -> None:
        """Read all keys, if anybody else has written since the last time. Raises StoreError."""
        writes = await self._store.foreign_writes()
        if writes == self._writes:
            return
        self._take(await self._store.load_keys())
        self._writes = writes

    async def find(self, presented: str) -> Client | None:
        """The client of a key that is not in the book, should it have been made in the meantime.

        However many ask at the same time, the store is asked once; what it does not know is not asked again for a
        second. A store that cannot answer knows of no further key.
        """
        digest = digest_of(presented)
        now_s = self._clock.monotonic_s()
        if self._unknown.get(digest, 0.0) > now_s:
            return None
        try:
            await self._look()
        except StoreError as error:
            _log.error("keys not looked up", problem=str(error))
            return None
        found = self._clients.book.get(digest)
        if found is None:
            if len(self._unknown) >= _UNKNOWN_MAX:
                self._unknown.clear()
            self._unknown[digest] = now_s + _UNKNOWN_S
        return found

    def was_revoked(self, presented: str) -> bool:
        """Whether this was a good key once."""
        return not self._revoked.isdisjoint((digest_of(presented),))

    async def watch(self) -> None:
        """Look for what others have written, once a second, for ever."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            try:
                await self._look()
            except StoreError as error:
                _log.error("keys not looked up", problem=str(error))

    async def add(self, name: str, rules: Rules, made: Secret) -> None:
        """Keep a new key's digest; it works from now on. Raises NameTaken and StoreError."""
        if reserved(name):
            raise NameTaken(f"{name} is a name of the program's own.")
        row = KeyRow(
            name=name,
            digest=made.digest().hex(),
            rules=msgspec.json.encode(rules).decode(),
            created_unix_ms=self._clock.unix_ms(),
        )
        if not await self._store.add_key(row):
            raise NameTaken(
                f"A client key was called {name} before. A name is used once, because what a client owns hangs on it."
            )
        self._clients.book[made.digest()] = Client(name, in_force(rules, self._limits))
        self._unknown.pop(made.digest(), None)

    async def revoke(self, name: str) -> bool:
        """End a key, at once in this process. False if there is none of this name that is good. Raises StoreError."""
        try:
            revoked = await self._store.revoke_key(name, self._clock.unix_ms())
        except StoreError:
            # it may have been revoked in part: the next look is to see it
            self._writes = None
            raise
        if revoked:
            self._take(await self._store.load_keys())
        return revoked

    async def views(self) -> tuple[KeyView, ...]:
        """All keys there are and were, ordered by name. Raises StoreError."""
        now_ms = self._clock.unix_ms()
        return tuple(_view(row, now_ms) for row in await self._store.load_keys())

    async def _look(self) -> None:
        # whoever waits for a look that began before they came needs the next one, and all of them the same
        needed = self._looks + (2 if self._looking.locked() else 1)
        async with self._looking:
            if self._looks < needed:
                try:
                    await self.load()
                finally:
                    # those who wait for a store that fails do not each wait for it to fail
                    self._looks += 1

    def _take(self, rows: tuple[KeyRow, ...]) -> None:
        good = {
            bytes.fromhex(row.digest): Client(row.name, in_force(_rules(row), self._limits))
            for row in rows
            if row.revoked_unix_ms is None
        }
        self._revoked = frozenset(
            bytes.fromhex(row.digest) for row in rows if row.revoked_unix_ms is not None
        )
        # in place, and never empty in between: requests look into it at any time
        self._clients.book.update(good)
        for gone in [each for each in self._clients.book if good.get(each) is None]:
            del self._clients.book[gone]


def _rules(row: KeyRow) -> Rules:
    return msgspec.json.decode(row.rules, type=Rules)


def _view(row: KeyRow, now_unix_ms: int) -> KeyView:
    rules = _rules(row)
    state = "revoked" if row.revoked_unix_ms is not None else "active"
    if state == "active" and rules.expired(now_unix_ms):
        state = "expired"
    return KeyView(
        name=row.name,
        state=state,
        rules=rules,
        created_unix_ms=row.created_unix_ms,
        revoked_unix_ms=row.revoked_unix_ms,
    )
