"""What a process shares with others, put together. Only imported where there is a Redis."""

import asyncio
import secrets
from pathlib import Path
from typing import Final

from proxy.clock import Clock
from proxy.dispatch.conversations import Conversations
from proxy.dispatch.homes import SharedHomes
from proxy.dispatch.journal import Journal
from proxy.dispatch.permission import Permission
from proxy.dispatch.places import Places
from proxy.dispatch.siblings import Siblings
from proxy.dispatch.turns import SharedTurns
from proxy.pool import Pool
from proxy.secrets import Secret
from proxy.settings import Settings
from proxy.store.access import AccessStore
from proxy.store.base import ObjectStore, Storage, StoreError
from proxy.store.conversation_memory import ConversationMemory
from proxy.store.files import ensure_private_dir, read_private, write_private
from proxy.store.redis.access import RedisAccess
from proxy.store.redis.conversations import CONVERSATIONS_KEY, RedisConversations
from proxy.store.redis.health import HEALTH_COUNTER, RedisHealth
from proxy.store.redis.homes import RedisHomes
from proxy.store.redis.limits import RedisCounters
from proxy.store.redis.link import RedisLink
from proxy.store.redis.objects import RedisObjects
from proxy.store.redis.permits import RedisPermits
from proxy.store.redis.projects import PROJECTS_KEY, RedisProjects
from proxy.store.redis.pulse import Pulse
from proxy.store.redis.responses import RedisResponses
from proxy.tasks import spawn

_ORIGIN_FILE: Final = "replica.id"
_ORIGIN_BYTES: Final = 12


class Sharing:
    """One process's part in what all share.

    Attributes:
        access: the client keys of all.
        objects: the owners of files and batches of all.
        responses: those of all that clients may read again and go on from.
        projects: the projects and sessions of all.
        conversations: those of all that clients go on with.
        counters: the limits of all.
    """

    def __init__(
        self, url: Secret, store: Storage, clock: Clock, *, secret_key: bytes, settings: Settings, origin: str
    ) -> None:
        """`origin` names the database, which other processes may have open too. Raises ValueError for a bad URL."""
        self._link = RedisLink(url)
        self._store = store
        self._clock = clock
        self._secret_key = secret_key
        self._policy = settings.policy
        self._permits = RedisPermits(self._link)
        self._id = secrets.token_hex(8)
        self._objects = RedisObjects(self._link, store.objects)
        self._pulse: Pulse | None = None
        self._health: RedisHealth | None = None
        self.access: Final[AccessStore] = RedisAccess(self._link, store.access)
        self.objects: Final[ObjectStore] = self._objects
        self.responses: Final = RedisResponses(self._link, store, clock, ttl_s=settings.responses_ttl_s)
        self.projects: Final = RedisProjects(
            self._link, store.projects, clock, origin=origin, root=settings.conversations.project_root
        )
        memory, timeout_s = ConversationMemory(), settings.conversations.timeout_s
        self._conversations = RedisConversations(
            self._link, store.conversations, memory, clock, timeout_s=timeout_s
        )
        self.conversations: Final = Conversations(
            store.conversations,
            clock,
            settings.conversations,
            memory=memory,
            shared=self._conversations,
            turns=SharedTurns(self._permits, holder=self._id),
        )
        self.counters: Final = RedisCounters(self._link, clock, origin=origin)

    @classmethod
    async def open(
        cls, url: Secret, settings: Settings, store: Storage, clock: Clock, secret_key: bytes
    ) -> "Sharing":
        """Make what is shared; a Redis that cannot be used now is no hindrance. Raises StoreError."""
        origin = await asyncio.to_thread(kept_origin, settings.data_dir)
        return cls(url, store, clock, secret_key=secret_key, settings=settings, origin=origin)

    def places_of(self, pool: Pool, journal: Journal) -> Places:
        """The places of a pool whose credentials others use too."""
        permission = Permission(
            self._permits, pool, journal, holder=self._id, wait_s=self._policy.queue_wait_s
        )
        homes = SharedHomes(RedisHomes(self._link), pool, journal, self._secret_key)
        return Places(pool, self._policy, journal, permission, homes)

    async def begin(self, pool: Pool, places: Places, journal: Journal) -> None:
        """Take over what others know of the credentials, and tell them from now on. Raises StoreError."""
        siblings = Siblings(pool, places, journal)
        health = RedisHealth(self._link, await self._store.load_health(), siblings.adopt)
        journal.share = self._health = health
        self._pulse = Pulse(
            self._link,
            self._clock,
            {
                HEALTH_COUNTER: health.sync,
                CONVERSATIONS_KEY: self._conversations.sync,
                PROJECTS_KEY: self.projects.sync,
            },
            put_back=(self.counters.sync,),
            tell=(
                self._objects.tell_waiting,
                self.responses.tell_waiting,
                self._conversations.tell_waiting,
                self.projects.tell_waiting,
            ),
            renew=self._renew,
            name=self._id,
        )
        await self._pulse.beat()

    @property
    def degraded(self) -> bool:
        """Whether this process goes on by itself, because Redis cannot be used."""
        return self._link.degraded

    def work(self) -> "list[asyncio.Task[None]]":
        """Start what runs beside the requests; `begin` has to come first."""
        if self._pulse is None:
            raise RuntimeError("nothing was begun")
        return [
            spawn(self._pulse.run(), name="say that this process lives"),
            spawn(self._pulse.listen(), name="listen to the others"),
        ]

    async def close(self) -> None:
        """Say that this process is gone, and close every connection."""
        self.counters.tell()
        if self._pulse is not None:
            await self._pulse.end()
        await self._link.close()

    async def _renew(self) -> None:
        if self._pulse is not None:
            self.counters.share = self._pulse.replicas
        if self._health is not None:
            await self._health.tell_waiting()
        await self._permits.renew()
        await self.counters.renew()


def kept_origin(data_dir: Path) -> str:
    """The random name of a folder's database, made at the first start. Blocks; raises StoreError."""
    ensure_private_dir(data_dir)
    path = data_dir / _ORIGIN_FILE
    kept = read_private(path)
    if kept is None:
        write_private(path, secrets.token_hex(_ORIGIN_BYTES).encode(), replace=False)
        kept = read_private(path)
    if not kept:
        raise StoreError(f"{path} holds nothing; remove it to have a new one made.")
    return kept.decode(errors="replace").strip()
