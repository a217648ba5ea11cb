"""Limits over all processes, by the clock of Redis: all of a request in one script, its settlement in another."""

from typing import Final, TypeAlias

import msgspec

from proxy.clock import Clock
from proxy.log import get_logger
from proxy.store.base import NotShared
from proxy.store.redis.link import PREFIX, RedisLink, Script, Word
from proxy.store.shared import Counted, Taken
from proxy.tasks import detach

_log = get_logger("shared limits")
_HELD_S: Final = 60
_RENEW_EVERY_S: Final = 20.0
_PERIOD_KEPT_S: Final = 40 * 86_400
_TOGETHER_MAX: Final = 500
"""Settlements in one script: Redis does nothing else meanwhile, and Lua takes no endless list of arguments."""

_Place: TypeAlias = tuple[str, tuple[tuple[str, int], ...], int]
"""What settlements have to have in common to be made together: client, limits of tokens, bucket."""

# What a request holds ends by itself a minute after its process has stopped to renew it. Tokens are kept until the end
# of the minute after theirs, by a time that is set when their minute begins.
_TAKE: Final = Script("""
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local requests, tokens = tonumber(ARGV[1]), tonumber(ARGV[2])
local asked, nonce, most, budget, member = tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]
local held, spending = KEYS[requests + tokens + 1], KEYS[requests + tokens + 2]
local bucket = math.floor(now / 60)
local fraction = now / 60 - bucket
local refusal, position, left = 'none', 0, 0
local function refuse(why, where)
  if refusal == 'none' then refusal, position = why, where end
end

if most >= 0 or budget >= 0 then redis.call('ZREMRANGEBYSCORE', held, '-inf', now) end
if most >= 0 and redis.call('ZCARD', held) >= most then refuse('concurrency', 0) end
if budget >= 0 then
  local spent, reserved = 0, 0
  for _, each in ipairs(redis.call('HVALS', spending)) do spent = spent + tonumber(each) end
  for _, each in ipairs(redis.call('ZRANGE', held, 0, -1)) do
    reserved = reserved + tonumber(string.match(each, '(%d+)$'))
  end
  left = math.max(budget - spent - reserved, 0)
  if asked > 0 and left == 0 then refuse(spent < budget and 'reserved' or 'budget', 0) end
end

local buckets = {}
for i = 1, tokens do
  local key, limit = KEYS[requests + i], tonumber(ARGV[7 + requests + i])
  local number, current, previous = unpack(redis.call('HMGET', key, 'n', 'c', 'p'))
  number, current, previous = tonumber(number) or 0, tonumber(current) or 0, tonumber(previous) or 0
  if number ~= bucket then
    previous = number == bucket - 1 and current or 0
    current = 0
  end
  local used = math.max(current + previous * (1 - fraction), 0)
  if asked > 0 and used + asked > limit and used >= 1 then
    refuse(asked > limit and 'too_large' or 'tokens', i - 1)
  end
  buckets[i] = { current, previous, number }
end

local windows = {}
for i = 1, requests do
  local key, limit = KEYS[i], tonumber(ARGV[7 + i])
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now - 60)
  local count = redis.call('ZCARD', key)
  local oldest = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]
  if count >= limit then refuse('requests', i - 1) end
  windows[i] = { count, oldest and now - tonumber(oldest) or 0 }
end

if refusal == 'none' then
  for i = 1, requests do
    redis.call('ZADD', KEYS[i], now, nonce)
    redis.call('EXPIRE', KEYS[i], 61)
    windows[i][1] = windows[i][1] + 1
  end
  for i = 1, tokens do
    buckets[i][1] = buckets[i][1] + asked
    redis.call('HSET', KEYS[requests + i], 'n', bucket, 'c', buckets[i][1], 'p', buckets[i][2])
    if buckets[i][3] ~= bucket then redis.call('EXPIRE', KEYS[requests + i], 121) end
  end
  if most >= 0 or budget >= 0 then
    redis.call('ZADD', held, now + 60, member)
    redis.call('EXPIRE', held, 61)
  end
end

local function listed(items)
  local texts = {}
  for i, item in ipairs(items) do texts[i] = string.format('[%.0f,%.6f]', item[1], item[2]) end
  return '[' .. table.concat(texts, ',') .. ']'
end
local function whole(items)
  local texts = {}
  for i, item in ipairs(items) do texts[i] = string.format('[%.0f,%.0f]', item[1], item[2]) end
  return '[' .. table.concat(texts, ',') .. ']'
end
return string.format('["%s",%d,%s,%s,%.0f,%.6f,%.0f]',
  refusal, position, listed(windows), whole(buckets), bucket, fraction, left)
""")

_SETTLE: Final = Script("""
local time = redis.call('TIME')
local bucket = math.floor((tonumber(time[1]) + tonumber(time[2]) / 1000000) / 60)
local then_, more, added = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('ZREM', KEYS[1], unpack(ARGV, 4))
if more == 0 and added == 0 then return end
for i = 2, #KEYS do
  local number, current, previous = unpack(redis.call('HMGET', KEYS[i], 'n', 'c', 'p'))
  number, current, previous = tonumber(number) or 0, tonumber(current) or 0, tonumber(previous) or 0
  local turned = number ~= bucket
  if turned then
    previous = number == bucket - 1 and current or 0
    current = 0
  end
  if then_ == bucket then
    current = current + more
  elseif then_ == bucket - 1 then
    previous = previous + more
  else
    current = current + added
  end
  redis.call('HSET', KEYS[i], 'n', bucket, 'c', string.format('%.0f', current), 'p', string.format('%.0f', previous))
  if turned then redis.call('EXPIRE', KEYS[i], 121) end
end
""")

_RENEW: Final = Script("""
local now = tonumber(redis.call('TIME')[1])
for i = 1, #KEYS do
  redis.call('ZADD', KEYS[i], now + 60, ARGV[i])
  redis.call('EXPIRE', KEYS[i], 61)
end
""")

_SPENT: Final = Script("""
if (tonumber(redis.call('HGET', KEYS[1], ARGV[1])) or 0) < tonumber(ARGV[2]) then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
redis.call('EXPIRE', KEYS[1], ARGV[3])
""")


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
        self._ended: dict[_Place, list[tuple[Counted, int]]] = {}
        self._spent: dict[tuple[str, str], int] = {}
        self._renew_at_s = clock.monotonic_s()

    async def take(self, counted: Counted) -> Taken:
        """See `SharedCounters.take`."""
        keys = [
            *(f"{PREFIX}requests:{name}" for name, _ in counted.requests),
            *(f"{PREFIX}tokens:{name}" for name, _ in counted.tokens),
            _held_key(counted.client),
            _spent_key(counted.client, counted.period),
        ]
        words: list[Word] = [
            len(counted.requests),
            len(counted.tokens),
            counted.asked_tokens,
            counted.nonce,
            -1 if counted.concurrency is None else counted.concurrency,
            -1 if counted.budget_micro_usd is None else counted.budget_micro_usd,
            _member(counted),
            *(limit for _, limit in counted.requests),
            *(limit for _, limit in counted.tokens),
        ]
        answer = await self._link.run(_TAKE, keys, *words)
        taken = msgspec.json.decode(msgspec.convert(answer, bytes), type=Taken)
        if counted.held and taken.refusal == "none":
            self._held[counted.nonce] = counted
        return taken

    def settle(self, counted: Counted, bucket: int, more_tokens: int) -> None:
        """See `SharedCounters.settle`."""
        held = self._held.pop(counted.nonce, None)
        if held is None and not (counted.tokens and more_tokens):
            return
        place = counted.client, counted.tokens, bucket
        ended = self._ended.get(place)
        if ended is None:
            self._ended[place] = [(counted, more_tokens)]
            detach(self._settle(place), name="settle shared limits")
        else:
            ended.append((counted, more_tokens))

    def spent(self, client: str, period: str, micro_usd: int) -> None:
        """See `SharedCounters.spent`."""
        self._spent = {key: sum_ for key, sum_ in self._spent.items() if key[0] != client or key[1] == period}
        self._spent[client, period] = micro_usd
        detach(self._tell_spent(client, period, micro_usd), name="tell the others of spending")

    async def renew(self) -> None:
        """Keep what requests under way hold. Raises NotShared."""
        now_s = self._clock.monotonic_s()
        if self._held and now_s >= self._renew_at_s:
            held = tuple(self._held.values())
            await self._link.run(
                _RENEW, [_held_key(each.client) for each in held], *(_member(each) for each in held)
            )
            self._renew_at_s = now_s + _RENEW_EVERY_S

    async def sync(self) -> None:
        """Put back what was spent. Raises NotShared."""
        for (client, period), micro_usd in tuple(self._spent.items()):
            await self._put_spent(client, period, micro_usd)

    async def _settle(self, place: _Place) -> None:
        """Settle together what has ended since this was asked for, which the loop's next turn does.

        It waits for no earlier settlement: what a client hears of an answer's end is not to be older than its place.
        """
        client, tokens, bucket = place
        ended = self._ended.pop(place)
        keys = (_held_key(client), *(f"{PREFIX}tokens:{name}" for name, _ in tokens))
        for begin in range(0, len(ended), _TOGETHER_MAX):
            some = ended[begin : begin + _TOGETHER_MAX]
            more = sum(more_tokens for _, more_tokens in some)
            added = sum(more_tokens for _, more_tokens in some if more_tokens > 0)
            members = (_member(counted) for counted, _ in some)
            try:
                await self._link.run(_SETTLE, keys, bucket, more, added, *members)
            except NotShared:
                # what was held ends by itself, and tokens are forgotten after two minutes
                continue

    async def _tell_spent(self, client: str, period: str, micro_usd: int) -> None:
        try:
            await self._put_spent(client, period, micro_usd)
        except NotShared:
            # it is put there with everything else that is missing
            return

    async def _put_spent(self, client: str, period: str, micro_usd: int) -> None:
        await self._link.run(_SPENT, (_spent_key(client, period),), self._origin, micro_usd, _PERIOD_KEPT_S)


def _held_key(client: str) -> str:
    return f"{PREFIX}held:{client}"


def _spent_key(client: str, period: str) -> str:
    return f"{PREFIX}spent:{client}:{period}"


def _member(counted: Counted) -> str:
    return f"{counted.nonce}:{counted.reserved_micro_usd}"
