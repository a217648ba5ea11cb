"""Limits over all processes, by the clock of Redis: all of a request in one script, its settlement in another.

Of each client, and of the server under an empty name, Redis keeps

- ``counts:NAME``: seven numbers and a text in one string, read and written whole: the minute its tokens were counted
  in, those of it and of the one before; how many requests are held, and what they have reserved; when the first of
  them may end by itself; what was spent in the period that the text names;
- ``window:NAME``: a list of when each request of the last minute began, in microseconds;
- ``running:NAME``: a sorted set of the requests under way, with what each reserved, by the second it ends in by itself; a
  member that never does keeps the key;
- ``spent:NAME:PERIOD``: a hash of what each database knows to have been spent.

The sums in the first are of what the last two hold. They are taken anew each minute, and whenever the first is gone.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

import msgspec

from proxy.clock import Clock
from proxy.store.redis.link import PREFIX, RedisLink, Script, Word
from proxy.store.shared import BucketCount, Counted, Refusal, Taken, WindowCount

_RENEW_EVERY_S: Final = 20.0
_NOT_LIMITED: Final = -1
_AT_ONCE: Final = 500
_PATIENCE_S: Final = 0.002
_ROOM: Final = 10
_SECOND_US: Final = 1_000_000
_MINUTE_US: Final = 60 * _SECOND_US
_REFUSALS: Final = tuple(Refusal)

_COUNTS: Final = """
local MINUTE = 60000000
local NUMBER, CURRENT, PREVIOUS, HELD, RESERVED, ENDS, SPENT, PERIOD = 1, 2, 3, 4, 5, 6, 7, 8
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local bucket = math.floor(now / MINUTE)
local function read(key)
  local kept = redis.call('GET', key)
  if not kept then return { bucket, 0, 0, 0, 0, 0, 0, '' } end
  local counts = { struct.unpack('<ddddddd', kept) }
  counts[PERIOD] = string.sub(kept, 57)
  if counts[NUMBER] ~= bucket then
    counts[PREVIOUS] = counts[NUMBER] == bucket - 1 and counts[CURRENT] or 0
    counts[NUMBER], counts[CURRENT] = bucket, 0
  end
  return counts
end
local function write(key, counts)
  redis.call('SET', key, struct.pack('<ddddddd', unpack(counts, 1, 7)) .. counts[PERIOD], 'EX', 180)
end
-- what has ended stands in ARGV from some place on: the minute it was counted in, by how much more it took in all, and
-- where it took more at all, what it had reserved, what was spent by which database in which period, what it held
local function settle_own(counts, at)
  local ended, spent = #ARGV - at - 6, tonumber(ARGV[at + 4])
  if ended > 0 then
    if redis.call('ZREM', KEYS[1], unpack(ARGV, at + 7)) == ended then
      counts[HELD], counts[RESERVED] = counts[HELD] - ended, counts[RESERVED] - ARGV[at + 3]
    else
      counts[ENDS] = 0
    end
  end
  if spent >= 0 then
    local origin = ARGV[at + 5]
    local known = redis.call('HGET', KEYS[2], origin)
    if not known or tonumber(known) < spent then
      redis.call('HSET', KEYS[2], origin, ARGV[at + 4])
      if counts[PERIOD] == ARGV[at + 6] then counts[SPENT] = counts[SPENT] + spent - (known or 0) end
    end
    if not known or ended == 0 then redis.call('EXPIRE', KEYS[2], 3456000) end
  end
end
local function settle_tokens(counts, at)
  local settled = tonumber(ARGV[at])
  if settled == bucket then
    counts[CURRENT] = counts[CURRENT] + ARGV[at + 1]
  elseif settled == bucket - 1 then
    counts[PREVIOUS] = counts[PREVIOUS] + ARGV[at + 1]
  else
    counts[CURRENT] = counts[CURRENT] + ARGV[at + 2]
  end
end
"""

# What a request holds ends by itself a minute after its process has stopped to renew it.
_TAKE: Final = Script(
    _COUNTS
    + """
local asked, most, budget = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local holds = most >= 0 or budget >= 0
local owners, passed = (#KEYS - 2) / 2, now - bucket * MINUTE
local refusal, position, left = 0, 0, 0
local at = 7 + 2 * owners
local ending = #ARGV > at
local changed = ending
local known = {}
local function refuse(why, where)
  if refusal == 0 then refusal, position = why, where end
end
local function sum_held(counts)
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', time[1])
  redis.call('ZADD', KEYS[1], 'inf', '')
  redis.call('EXPIRE', KEYS[1], 300)
  local found = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(inf', 'WITHSCORES')
  counts[HELD], counts[RESERVED], counts[ENDS] = #found / 2, 0, tonumber(found[2]) or time[1] + 61
  for i = 1, #found, 2 do counts[RESERVED] = counts[RESERVED] + string.match(found[i], '%d+$') end
  changed = true
end
local function sum_spent(counts)
  counts[PERIOD], counts[SPENT] = ARGV[6], 0
  for _, each in ipairs(redis.call('HVALS', KEYS[2])) do counts[SPENT] = counts[SPENT] + each end
  changed = true
end
local function past(entry) return math.abs(now - entry) >= MINUTE end
-- tells the oldest of the rest
local function forget_past(key, first)
  local low, high = 0, 1
  local entry = redis.call('LINDEX', key, high)
  while entry and past(entry) do
    low, high = high, high * 2
    entry = redis.call('LINDEX', key, high)
  end
  while high - low > 1 do
    local middle = math.floor((low + high) / 2)
    local found = redis.call('LINDEX', key, middle)
    if found and past(found) then low = middle else high, entry = middle, found end
  end
  redis.call('LTRIM', key, high, -1)
  -- the first of those kept is of another half minute at least once in 90 s, and none counts for longer than 60
  if entry and math.floor(first / 30000000) ~= math.floor(entry / 30000000) then redis.call('EXPIRE', key, 180) end
  return entry
end

if holds then
  local counts = read(KEYS[3])
  known[1] = counts
  if ending then settle_own(counts, at) end
  if tonumber(time[1]) >= counts[ENDS] then sum_held(counts) end
  if most >= 0 and counts[HELD] >= most then refuse(1, 0) end
  if budget >= 0 then
    if counts[PERIOD] ~= ARGV[6] then sum_spent(counts) end
    left = math.max(budget - counts[SPENT] - counts[RESERVED], 0)
    if asked > 0 and left == 0 then refuse(counts[SPENT] < budget and 2 or 3, 0) end
  end
end

local number = 0
for i = 1, owners do
  local limit = tonumber(ARGV[6 + 2 * i])
  if limit >= 0 then
    local counts = known[i] or read(KEYS[1 + 2 * i])
    known[i] = counts
    if ending then settle_tokens(counts, at) end
    local used = math.max(counts[CURRENT] + counts[PREVIOUS] * (1 - passed / MINUTE), 0)
    if asked > 0 and used + asked > limit and used >= 1 then refuse(asked > limit and 4 or 5, number) end
    number = number + 1
  end
end

local answer, last, pushed = { 0, 0, 0, bucket, passed, left }, 6, {}
for i = 1, owners do
  local limit = tonumber(ARGV[5 + 2 * i])
  if limit >= 0 then
    local key = KEYS[2 + 2 * i]
    local oldest, count = redis.call('LINDEX', key, 0), nil
    if oldest and past(oldest) then oldest = forget_past(key, oldest) end
    if refusal == 0 then
      count = redis.call('RPUSH', key, now)
      if count == 1 then redis.call('EXPIRE', key, 180) end
      if count > limit then refuse(6, (last - 6) / 2) end
      pushed[last + 1] = key
    else
      count = redis.call('LLEN', key)
    end
    answer[last + 1], answer[last + 2] = count, oldest and now - oldest or 0
    last = last + 2
  end
end

if refusal == 0 then
  if holds then
    local counts = known[1]
    counts[HELD], counts[RESERVED] = counts[HELD] + 1, counts[RESERVED] + ARGV[4]
    redis.call('ZADD', KEYS[1], time[1] + 61, ARGV[5])
  end
else
  for place, key in pairs(pushed) do
    redis.call('RPOP', key)
    answer[place] = answer[place] - 1
  end
  asked = 0
end
for i = 1, owners do
  local counts = known[i]
  if counts then
    if tonumber(ARGV[6 + 2 * i]) >= 0 then
      counts[CURRENT] = counts[CURRENT] + asked
      answer[last + 1], answer[last + 2] = counts[CURRENT], counts[PREVIOUS]
      last = last + 2
    end
    if refusal == 0 or changed then write(KEYS[1 + 2 * i], counts) end
  end
end
answer[1], answer[2], answer[3] = known[1] and known[1][HELD] or 0, refusal, position
return answer
"""
)

# What a client has spent comes with what has ended: at no moment neither what was reserved nor what it cost is counted.
_SETTLE: Final = Script(
    _COUNTS
    + """
local first = tonumber(ARGV[1])
for i = 3, #KEYS do
  local counts = read(KEYS[i])
  if i == 3 then settle_own(counts, 2) end
  if i >= first then settle_tokens(counts, 2) end
  write(KEYS[i], counts)
end
"""
)

_RENEW: Final = Script("""
local now, next_ = tonumber(redis.call('TIME')[1]), 1
for i = 1, #KEYS, 2 do
  local missing = 0
  for j = next_ + 1, next_ + ARGV[next_] do missing = missing + redis.call('ZADD', KEYS[i], now + 61, ARGV[j]) end
  next_ = next_ + 1 + ARGV[next_]
  redis.call('EXPIRE', KEYS[i], 300)
  -- have what is held summed anew
  if missing > 0 and redis.call('EXISTS', KEYS[i + 1]) == 1 then
    redis.call('SETRANGE', KEYS[i + 1], 40, struct.pack('<d', 0))
  end
end
""")

_Place: TypeAlias = tuple[str, tuple[tuple[str, int], ...], int]
"""What settlements have to have in common to be made together: client, limits of tokens, minute."""


class _Ended(NamedTuple):
    """A request that has ended: what it held, if anything, and how many more tokens it took than were reserved."""

    held: Counted | None
    more_tokens: int


class RedisCounters:
    """See `SharedCounters`.

    Attributes:
        share: how many processes lived when that was last known.
    """

    def __init__(self, link: RedisLink, clock: Clock, *, origin: str) -> None:
        """`origin` names the database of this process, which others may use too."""
        self.share = 1
        self._link = link
        self._clock = clock
        self._origin = origin
        self._held: dict[str, Counted] = {}
        self._ended: dict[_Place, list[_Ended]] = {}
        self._spent: dict[str, tuple[str, int]] = {}
        self._untold: dict[str, tuple[str, int]] = {}
        self._roomy: set[str] = set()
        self._telling: asyncio.Handle | None = None
        self._renew_at_s = clock.monotonic_s()

    async def take(self, counted: Counted) -> Taken:
        """See `SharedCounters.take`."""
        ended = self._joining(counted) if self._telling is not None else []
        keys = [_held_key(counted.client), _spent_key(counted.client, counted.period)]
        words: list[Word] = [
            counted.asked_tokens,
            _NOT_LIMITED if counted.concurrency is None else counted.concurrency,
            _NOT_LIMITED if counted.budget_micro_usd is None else counted.budget_micro_usd,
            counted.reserved_micro_usd,
            _member(counted),
            counted.period,
        ]
        requests, tokens = dict(counted.requests), dict(counted.tokens)
        for name in {counted.client: 0, **requests, **tokens}:
            keys += _counts_key(name), f"{PREFIX}window:{name}"
            words += requests.get(name, _NOT_LIMITED), tokens.get(name, _NOT_LIMITED)
        words += ended
        held, *numbers = msgspec.convert(await self._link.run(_TAKE, keys, *words), list[int])
        taken = _taken(counted, numbers)
        if counted.held and taken.refusal is Refusal.NONE:
            self._held[counted.nonce] = counted
        if _has_room(counted, taken, held):
            self._roomy.add(counted.client)
        else:
            self._roomy.discard(counted.client)
        return taken

    def settle(self, counted: Counted, bucket: int, more_tokens: int) -> None:
        """See `SharedCounters.settle`."""
        held = self._held.pop(counted.nonce, None)
        more = more_tokens if counted.tokens else 0
        if held is not None or more:
            self._tell_soon(counted.client)
            place = counted.client, counted.tokens, bucket
            self._ended.setdefault(place, []).append(_Ended(held, more))

    def spent(self, client: str, period: str, micro_usd: int) -> None:
        """See `SharedCounters.spent`."""
        told = period, micro_usd
        if self._spent.get(client) != told:
            self._tell_soon(client)
            self._spent[client] = self._untold[client] = told

    async def renew(self) -> None:
        """Keep what requests under way hold. Raises NotShared."""
        now_s = self._clock.monotonic_s()
        if self._held and now_s >= self._renew_at_s:
            members: dict[str, list[Word]] = {}
            for each in self._held.values():
                members.setdefault(each.client, []).append(_member(each))
            keys = [key for client in members for key in (_held_key(client), _counts_key(client))]
            words = [word for held in members.values() for word in (len(held), *held)]
            await self._link.run(_RENEW, keys, *words)
            self._renew_at_s = now_s + _RENEW_EVERY_S

    async def sync(self) -> None:
        """Put back what was spent. Raises NotShared."""
        for client, told in tuple(self._spent.items()):
            keys, words = self._settlement((client, (), 0), (), told)
            await self._link.run(_SETTLE, keys, *words)

    def tell(self) -> None:
        """Tell what has ended and what was spent since it was last told, of each client and minute in one call."""
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        ended, self._ended = self._ended, {}
        untold, self._untold = self._untold, {}
        for place, found in ended.items():
            for begin in range(0, len(found), _AT_ONCE):
                told = untold.pop(place[0], None)
                keys, words = self._settlement(place, found[begin : begin + _AT_ONCE], told)
                self._link.tell_script(_SETTLE, keys, *words)
        for client, told in untold.items():
            keys, words = self._settlement((client, (), 0), (), told)
            self._link.tell_script(_SETTLE, keys, *words)

    def _tell_soon(self, client: str) -> None:
        """Have it told when this turn of the loop is over; where nobody can miss it so soon, with what comes next."""
        if client not in self._roomy:
            if self._telling is not None:
                self._telling.cancel()
            self._telling = asyncio.get_running_loop().call_soon(self.tell)
        elif self._telling is None:
            self._telling = asyncio.get_running_loop().call_later(_PATIENCE_S, self.tell)

    def _joining(self, counted: Counted) -> list[Word]:
        """What of the same client has ended, to be settled with the next request it makes; tells all the rest."""
        ended: list[Word] = []
        for place, found in self._ended.items():
            client, tokens, bucket = place
            told = self._untold.get(client)
            if (
                (client, tokens) == (counted.client, counted.tokens)
                and counted.held
                and len(found) <= _AT_ONCE
            ):
                if told is None or told[0] == counted.period:
                    ended = self._words(bucket, found, self._untold.pop(client, None))
                    del self._ended[place]
                break
        self.tell()
        return ended

    def _settlement(
        self, place: _Place, ended: Sequence[_Ended], told: tuple[str, int] | None
    ) -> tuple[list[str], list[Word]]:
        """Keys and words of the script that settles what has ended of one client and was counted in one minute."""
        client, tokens, bucket = place
        period = "" if told is None else told[0]
        keys = [_held_key(client), _spent_key(client, period)]
        names = [name for name, _ in tokens] if any(each.more_tokens for each in ended) else []
        first = len(keys) + 1
        own = told is not None or any(each.held for each in ended)
        if own and client not in names[:1]:
            names.insert(0, client)
            first += 1
        return keys + [_counts_key(name) for name in names], [first, *self._words(bucket, ended, told)]

    def _words(self, bucket: int, ended: Sequence[_Ended], told: tuple[str, int] | None) -> list[Word]:
        """What both scripts are told of what has ended."""
        held = [each.held for each in ended if each.held is not None]
        more = [each.more_tokens for each in ended]
        period, micro_usd = told or ("", _NOT_LIMITED)
        return [
            bucket,
            sum(more),
            sum(each for each in more if each > 0),
            sum(each.reserved_micro_usd for each in held),
            micro_usd,
            self._origin,
            period,
            *map(_member, held),
        ]


def _taken(counted: Counted, numbers: list[int]) -> Taken:
    """What the script has answered."""
    refusal, position, bucket, passed_us, left_micro_usd, *pairs = numbers
    requests = 2 * len(counted.requests)
    return Taken(
        _REFUSALS[refusal],
        position,
        tuple(WindowCount(pairs[at], pairs[at + 1] / _SECOND_US) for at in range(0, requests, 2)),
        tuple(BucketCount(pairs[at], pairs[at + 1]) for at in range(requests, len(pairs), 2)),
        bucket,
        passed_us / _MINUTE_US,
        left_micro_usd,
    )


def _has_room(counted: Counted, taken: Taken, held: int) -> bool:
    """Whether so little of each limit is taken that what ends may be counted for milliseconds longer."""
    concurrency, budget = counted.concurrency, counted.budget_micro_usd
    return (
        taken.refusal is Refusal.NONE
        and (concurrency is None or (2 * held <= concurrency and concurrency - held >= _ROOM))
        and (budget is None or 2 * taken.left_micro_usd >= budget)
        and all(
            2 * (bucket.current + bucket.previous) <= limit
            for (_, limit), bucket in zip(counted.tokens, taken.tokens, strict=True)
        )
    )


def _counts_key(name: str) -> str:
    return f"{PREFIX}counts:{name}"


def _held_key(client: str) -> str:
    return f"{PREFIX}running:{client}"


def _spent_key(client: str, period: str) -> str:
    return f"{PREFIX}spent:{client}:{period}"


def _member(counted: Counted) -> str:
    return f"{counted.nonce}:{counted.reserved_micro_usd}"
