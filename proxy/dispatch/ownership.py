"""Who owns which file or batch.

A client key sees its own alone, and calls about one go to the credential that holds it.
"""

import asyncio
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec

from proxy.clock import Clock
from proxy.dialects.files import NamedFile
from proxy.dispatch.journal import Journal
from proxy.errors import ErrorKind, GatewayError, InvalidRequest, NotFound
from proxy.exchange import Operation
from proxy.log import get_logger
from proxy.store.base import Cut, ObjectRow, ObjectStore, StoreError

_log = get_logger("ownership")
_LOOK_EVERY_S: Final = 1.0
_SHOWN_MAX: Final = 128
_UNPRINTABLE: Final = re.compile(r"[^!-~]")


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """An object that an upstream has just made.

    Attributes:
        id: its own.
        credential: alias of the credential that holds it.
        media_type: of a file's content; empty where it is not known.
        created_unix_ms: when it was made; None for now.
    """

    id: str
    credential: str
    media_type: str = ""
    created_unix_ms: int | None = None


class Held(msgspec.Struct, frozen=True):
    """An object of a client, and where it lies.

    Attributes:
        id: the upstream's.
        credential: alias of the credential that holds it; None when that one is configured no more.
        media_type: of a file's content; empty where it is not known.
        certain: whether it is the very key that made it; else another key has its alias now.
        usage_counted: whether what it used, where it is a batch, is in the books.
    """

    id: str
    credential: str | None
    media_type: str
    certain: bool
    usage_counted: bool = False


class Bound(msgspec.Struct, frozen=True):
    """Where the files of a request lie.

    Attributes:
        credential: alias of the one that holds them all.
        media_types: of their contents, by id; empty ones where they are not known.
    """

    credential: str
    media_types: Mapping[str, str]


class Ownership:
    """The map from object to owner. Clients are known by a digest of their key, so that no other key inherits.

    Attributes:
        some_files: whether any client has a file, so that requests have to be looked through for the files they name.
    """

    def __init__(self, store: ObjectStore, journal: Journal, clock: Clock) -> None:
        self._store = store
        self._journal = journal
        self._clock = clock
        self.some_files = False

    async def look_for_files(self) -> None:
        """Look until there is a file; another process with the same store may have taken the first one."""
        while True:
            if await self.found_files():
                return
            await asyncio.sleep(_LOOK_EVERY_S)

    async def found_files(self) -> bool:
        """Look once, unless a file is known of. A store that cannot tell counts as one that has some."""
        if not self.some_files:
            try:
                self.some_files = await self._store.any_files()
            except StoreError as error:
                _log.error("files not looked for", problem=str(error))
                self.some_files = True
        return self.some_files

    async def held(self, client: str, kind: Operation, ids: Collection[str]) -> dict[str, Held]:
        """Those of a client's objects that have one of these ids, by id. Raises GatewayError."""
        try:
            rows = await self._store.find(client, kind, ids)
        except StoreError as error:
            raise _unreadable(error) from None
        return {row.id: self._placed(row) for row in rows}

    async def page(self, client: str, kind: Operation, cut: Cut) -> list[Held] | None:
        """A part of a client's objects, newest first; None where what bounds it is none of them.

        Raises GatewayError.
        """
        try:
            rows = await self._store.list(client, kind, cut)
        except StoreError as error:
            raise _unreadable(error) from None
        return None if rows is None else [self._placed(row) for row in rows]

    async def holder(self, client: str, files: Sequence[NamedFile], *, known: str | None = None) -> Bound:
        """Who holds these files of a client, at least one.

        `known` is the credential that is asked in any case. Raises GatewayError naming the first file that is not the
        client's, that lies elsewhere than those before it, or whose credential is gone.
        """
        held = await self.held(client, Operation.FILES, {file.id for file in files})
        owner = known
        for file in files:
            field = shown(file.field)
            found = held.get(file.id)
            if found is None:
                raise NotFound(f"{field}: File not found: {shown(file.id)}", param=field)
            if found.credential is None:
                raise GatewayError(
                    503,
                    ErrorKind.API,
                    f"{field}: the credential that holds {file.id} is in use no more.",
                    param=field,
                    code="no_usable_credential",
                    should_retry=False,
                )
            if owner is not None and found.credential != owner:
                raise InvalidRequest(
                    f"{field}: {file.id} lies with another credential than what came before it, and no one "
                    "credential can read both. Upload it again, or ask in two requests.",
                    param=field,
                )
            owner = found.credential
        return Bound(owner or "", {one.id: one.media_type for one in held.values()})

    async def usual_holder(self, client: str) -> str | None:
        """Who holds the newest file of a client; None where it has none, or that credential is gone."""
        newest = await self.page(client, Operation.FILES, Cut(most=1))
        return newest[0].credential if newest else None

    async def remember(self, client: str, kind: Operation, made: Made) -> None:
        """Put an object down as a client's own. Raises StoreError."""
        now_ms = self._clock.unix_ms()
        self.some_files = self.some_files or kind is Operation.FILES
        row = ObjectRow(
            client=client,
            kind=kind,
            id=made.id,
            fingerprint=self._journal.fingerprints.get(made.credential, ""),
            alias=made.credential,
            media_type=made.media_type,
            created_unix_ms=now_ms if made.created_unix_ms is None else made.created_unix_ms,
        )
        await self._store.save(row)

    async def forget(self, client: str, kind: Operation, id: str) -> None:  # noqa: A002 - the wire's own word
        """The object is no more. A store that cannot write is reported: then the upstream itself says there is none."""
        try:
            await self._store.forget(client, kind, id, self._clock.unix_ms())
        except StoreError as error:
            _log.error("object not forgotten", problem=str(error))

    async def count_usage(self, client: str, kind: Operation, id: str) -> bool:  # noqa: A002 - the wire's own word
        """Whether what an object used is to be counted now, by the caller; a store that cannot tell is reported."""
        try:
            return await self._store.count_usage(client, kind, id)
        except StoreError as error:
            _log.error("usage of a batch not counted", problem=str(error))
            return False

    def _placed(self, row: ObjectRow) -> Held:
        known = self._journal.fingerprints
        alias = next((alias for alias, print_ in known.items() if print_ == row.fingerprint), None)
        if alias is not None:
            return Held(row.id, alias, row.media_type, certain=True, usage_counted=row.usage_counted)
        # a key that was replaced by another of the same workspace, as keys are from time to time
        present = row.alias if row.alias in known else None
        return Held(row.id, present, row.media_type, certain=False, usage_counted=row.usage_counted)


def _unreadable(error: StoreError) -> GatewayError:
    _log.error("objects not looked up", problem=str(error))
    return GatewayError(
        503,
        ErrorKind.API,
        "Whose object this is could not be looked up. Please try again.",
        retry_after_s=1.0,
    )


def shown(text: str) -> str:
    """A client's own words, fit for an error's text: 128 printable characters of them."""
    return _UNPRINTABLE.sub("?", text[:_SHOWN_MAX])
