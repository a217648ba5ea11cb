"""How Redis counts: what it keeps for limits, and the scripts that read and change it.

Of each client, and of the server under an empty name, Redis keeps

- ``counts:NAME``: seven numbers and a text in one string, read and written whole: the minute its tokens were counted
  in, those of it and of the one before; how many requests are held, and what they have reserved; when the first of
  them may end by itself; what was spent in the period that the text names;
- ``window:NAME``: a list of when each request of the last minute began, in microseconds;
- ``running:NAME``: a sorted set of the requests under way, with what each reserved, by the second it ends in by itself;
  a member that never does keeps the key;
- ``spent:NAME:PERIOD``: a hash of what each database knows to have been spent.

The sums in the first are of what the last two hold. They are taken anew each minute, and whenever the first is gone.
"""

from typing import Final

from proxy.store.redis.link import Script

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
TAKE: Final = Script(
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
SETTLE: Final = Script(
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

RENEW: Final = Script("""
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
