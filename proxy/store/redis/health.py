"""The health of credentials in Redis: one hash, in which each change is accepted or refused by one rule.

A change says which version of its row its author had seen. It is taken when that is the newest one, and so nobody else
has said anything since; otherwise the longer rest wins, and disabling wins over everything.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from proxy.log import get_logger
from proxy.store.base import HealthRow, NotShared
from proxy.store.redis.line import Word
from proxy.store.redis.link import PREFIX, RedisLink, Script
from proxy.tasks import detach

_log = get_logger("shared health")
HEALTH_KEY: Final = f"{PREFIX}health"
HEALTH_COUNTER: Final = f"{PREFIX}health:changes"
CHANNEL: Final = f"{PREFIX}changed"
_DISABLED: Final = "disabled"
_READY: Final = "ready"

_PUT: Final = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local answers, changed = {}, false
for i = 1, #ARGV, 5 do
  local field, base, state, ends, row = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2], tonumber(ARGV[i + 3]), ARGV[i + 4]
  local kept = redis.call('HGET', KEYS[1], field)
  local version, kept_state, kept_ends, kept_row = 0, '', 0, ''
  if kept then
    version, kept_state, kept_ends, kept_row = string.match(kept, '^(%d+) (%a+) (%d+) (.*)$')
    version, kept_ends = tonumber(version), tonumber(kept_ends)
  end
  local longer = state == 'cooling' and (kept_state == 'ready' or (kept_state == 'cooling' and ends > kept_ends))
  local wins = not kept or base >= version or state == 'disabled' or longer
  if wins and kept_row ~= row then
    kept = string.format('%.0f %s %.0f ', math.max(now, version + 1), state, ends) .. row
    redis.call('HSET', KEYS[1], field, kept)
    changed = true
  end
  answers[#answers + 1] = kept
end
if changed then
  redis.call('INCR', KEYS[2])
  redis.call('PUBLISH', KEYS[3], '')
end
return answers
""")

Slot = tuple[str, str, str, bool]


def slot_of(row: HealthRow) -> Slot:
    """What a row is about."""
    return row.fingerprint, row.limit_class, row.model, row.way_out


class _Known(msgspec.Struct, frozen=True):
    """A row as Redis had it."""

    version: int
    row: HealthRow


class RedisHealth:
    """See `SharedHealth`."""

    def __init__(
        self, link: RedisLink, stored: Sequence[HealthRow], adopt: Callable[[Sequence[HealthRow]], None]
    ) -> None:
        """`stored` is what this process knew from before its start; `adopt` takes what others have found out."""
        self._link = link
        self._stored: Sequence[HealthRow] | None = stored
        self._adopt = adopt
        self._known: dict[Slot, _Known] = {}
        self._waiting: dict[Slot, HealthRow] = {}
        self._talking = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<RedisHealth {len(self._known)} known, {len(self._waiting)} to be told>"

    @property
    def rows(self) -> tuple[HealthRow, ...]:
        """See `SharedHealth.rows`."""
        return tuple(known.row for known in self._known.values())

    def put(self, row: HealthRow) -> None:
        """See `SharedHealth.put`."""
        if not self._link.degraded:
            detach(self._tell_soon(), name="tell the others of health")
        self._waiting[slot_of(row)] = row

    async def flush(self) -> None:
        """See `SharedHealth.flush`."""
        async with self._talking:
            await self._tell()

    async def tell_waiting(self) -> None:
        """Tell again what could not be told. Raises NotShared."""
        if self._waiting:
            await self.flush()

    async def sync(self) -> None:
        """Take over what others have said, and put back what Redis has lost. Raises NotShared."""
        async with self._talking:
            found = _read(await self._link.call("HGETALL", HEALTH_KEY))
            news: list[HealthRow] = []
            for slot, known in found.items():
                before = self._known.get(slot)
                if before is not None and before.version >= known.version:
                    continue
                # what is still to be told here is weighed against it by Redis itself
                if slot in self._waiting:
                    continue
                self._known[slot] = known
                if before is None or before.row != known.row:
                    news.append(known.row)
            self._put_back(found)
            if kept := [row for row in news if slot_of(row) not in self._waiting]:
                self._adopt(kept)
            await self._tell()

    def _put_back(self, found: dict[Slot, _Known]) -> None:
        """Have told again what Redis does not know, be it that it has forgotten or was never told."""
        for slot, known in self._known.items():
            if slot not in found and known.row.state != _READY:
                self._waiting.setdefault(slot, known.row)
        for row in self._stored or ():
            kept = found.get(slot_of(row))
            if row.state == _READY and kept is None:
                continue
            if kept is None or (
                # nobody can have said anything after it and have known of it
                row.state == _DISABLED != kept.row.state and row.since_unix_ms > kept.row.since_unix_ms
            ):
                self._waiting.setdefault(slot_of(row), row)
        self._stored = None

    async def _tell_soon(self) -> None:
        try:
            await self.flush()
        except NotShared as error:
            _log.info("health not told", problem=str(error))

    async def _tell(self) -> None:
        while telling := self._waiting:
            self._waiting = {}
            words: list[Word] = []
            for slot, row in telling.items():
                known = self._known.get(slot)
                words += [_field(slot), 0 if known is None else known.version, row.state]
                words += [row.until_unix_ms or 0, msgspec.json.encode(row)]
            try:
                answer = await self._link.run(_PUT, (HEALTH_KEY, HEALTH_COUNTER, CHANNEL), *words)
            except BaseException:
                self._waiting = telling | self._waiting
                raise
            self._told(telling, answer)

    def _told(self, telling: dict[Slot, HealthRow], answer: object) -> None:
        """Take over what stands in place of what was told."""
        others: list[HealthRow] = []
        for (slot, row), kept in zip(telling.items(), msgspec.convert(answer, list[bytes]), strict=True):
            known = _kept(kept)
            if known is None:
                continue
            self._known[slot] = known
            if known.row != row and slot not in self._waiting:
                others.append(known.row)
        if others:
            self._adopt(others)


def _field(slot: Slot) -> bytes:
    return msgspec.json.encode(slot)


def _read(answer: object) -> dict[Slot, _Known]:
    pairs = msgspec.convert(answer, dict[bytes, bytes])
    found = (known for value in pairs.values() if (known := _kept(value)) is not None)
    return {slot_of(known.row): known for known in found}


def _kept(value: bytes) -> _Known | None:
    """A row as it is kept; None for one nobody here can read, as of a newer version."""
    version, _, _, row = value.split(b" ", 3)
    try:
        return _Known(int(version), msgspec.json.decode(row, type=HealthRow))
    except msgspec.ValidationError:
        return None
