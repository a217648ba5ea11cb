"""What Redis does at once for conversations.

A conversation is a hash: its row, its line in a list, how many messages it ever had, and when it was last used by the
clock of whoever told it. An owner's index has the moment each of its conversations ends, by the clock of Redis. What is
lent has a place in an order by that moment, and its size; the sum of all sizes stands under ``all``.
"""

from typing import Final

from proxy.store.redis.link import Script

_NOW: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""
_TAKEN_BACK: Final = """
local function taken_back(lent, sizes, member)
  local size = redis.call('HGET', sizes, member)
  redis.call('ZREM', lent, member)
  if size then
    redis.call('HDEL', sizes, member)
    redis.call('HINCRBY', sizes, 'all', -size)
  end
end
"""

# keys: row, deletion, index, lent, sizes
# arguments: row, line, count, used, lives, id, member, size or 0, most lent bytes, longest life, prefix of rows, again
PUT: Final = Script(f"""{_NOW}{_TAKEN_BACK}
if redis.call('EXISTS', KEYS[2]) == 1 then return 'deleted' end
local kept = redis.call('HMGET', KEYS[1], 'count', 'used')
if kept[1] then
  local count, used = tonumber(kept[1]), tonumber(kept[2])
  local my_count, my_used = tonumber(ARGV[3]), tonumber(ARGV[4])
  if count > my_count then return 'newer' end
  if count == my_count and (used > my_used or (used < my_used and ARGV[12] == '0')) then return 'newer' end
end
redis.call('HSET', KEYS[1], 'row', ARGV[1], 'line', ARGV[2], 'count', ARGV[3], 'used', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
redis.call('ZADD', KEYS[3], now + ARGV[5], ARGV[6])
redis.call('PEXPIRE', KEYS[3], ARGV[10])
taken_back(KEYS[4], KEYS[5], ARGV[7])
if ARGV[8] == '0' then return 'kept' end
for _, old in ipairs(redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', now, 'LIMIT', 0, 1000)) do
  taken_back(KEYS[4], KEYS[5], old)
end
redis.call('ZADD', KEYS[4], now + ARGV[5], ARGV[7])
redis.call('HSET', KEYS[5], ARGV[7], ARGV[8])
local all = redis.call('HINCRBY', KEYS[5], 'all', ARGV[8])
redis.call('PEXPIRE', KEYS[4], ARGV[10])
redis.call('PEXPIRE', KEYS[5], ARGV[10])
while all > tonumber(ARGV[9]) do
  local oldest = redis.call('ZRANGE', KEYS[4], 0, 0)[1]
  if not oldest then break end
  taken_back(KEYS[4], KEYS[5], oldest)
  redis.call('DEL', ARGV[11] .. oldest)
  all = tonumber(redis.call('HGET', KEYS[5], 'all'))
end
return 'kept'
""")

# keys: row, deletion; arguments: count and used of what the caller has
GET: Final = Script("""
if redis.call('EXISTS', KEYS[2]) == 1 then return { 1, '', 0 } end
local kept = redis.call('HMGET', KEYS[1], 'count', 'used')
if not kept[1] then return { 0, '', 0 } end
local count, used = tonumber(kept[1]), tonumber(kept[2])
local my_count, my_used = tonumber(ARGV[1]), tonumber(ARGV[2])
if count < my_count or (count == my_count and used <= my_used) then return { 0, '', 0 } end
return { 0, redis.call('HGET', KEYS[1], 'row'), redis.call('PTTL', KEYS[1]) }
""")

# keys: row, deletion, index, lent, sizes; arguments: how long it is known, id, member
DELETE: Final = Script(f"""{_TAKEN_BACK}
redis.call('SET', KEYS[2], 1, 'PX', ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[2])
taken_back(KEYS[4], KEYS[5], ARGV[3])
return redis.call('DEL', KEYS[1])
""")

# keys: index, lent, sizes; arguments: most, prefix of rows, prefix of the owner's members
CROP: Final = Script(f"""{_TAKEN_BACK}
for _, id in ipairs(redis.call('ZREVRANGE', KEYS[1], ARGV[1], -1)) do
  redis.call('ZREM', KEYS[1], id)
  taken_back(KEYS[2], KEYS[3], ARGV[3] .. id)
  redis.call('DEL', ARGV[2] .. ARGV[3] .. id)
end
""")

# the one key is the index
COUNT: Final = Script(f"{_NOW} return redis.call('ZCOUNT', KEYS[1], now, '+inf')")

# the same
LIST: Final = Script(f"""{_NOW}
local ids, left = {{}}, {{}}
local found = redis.call('ZRANGEBYSCORE', KEYS[1], now, '+inf', 'WITHSCORES')
for i = 1, #found, 2 do
  ids[#ids + 1] = found[i]
  left[#left + 1] = found[i + 1] - now
end
return {{ ids, left }}
""")

# keys: prefix of an owner's rows; arguments: ids
LINES: Final = Script("""
local lines = {}
for i, id in ipairs(ARGV) do lines[i] = redis.call('HGET', KEYS[1] .. id, 'line') or '' end
return lines
""")

# keys: prefixes of rows, deletions and indexes, sizes
# arguments: most of an owner, most lent bytes, and of each owner, id, count, used, and size or 0
COMPARE: Final = Script("""
local all = tonumber(redis.call('HGET', KEYS[4], 'all') or '0')
local told = {}
for i = 3, #ARGV, 5 do
  local member = ARGV[i] .. ':' .. ARGV[i + 1]
  local word = 'known'
  if redis.call('EXISTS', KEYS[2] .. member) == 1 then
    word = 'deleted'
  else
    local kept = redis.call('HMGET', KEYS[1] .. member, 'count', 'used')
    if not kept[1] then
      local crowded = redis.call('ZCARD', KEYS[3] .. ARGV[i]) >= tonumber(ARGV[1])
      local size = tonumber(ARGV[i + 4])
      if not crowded and (size == 0 or all + size <= tonumber(ARGV[2])) then
        word = 'missing'
        all = all + size
      end
    else
      local count, used = tonumber(kept[1]), tonumber(kept[2])
      local my_count, my_used = tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
      if count > my_count or (count == my_count and used > my_used) then
        word = 'newer'
      elseif count < my_count or used < my_used then
        word = 'missing'
      end
    end
  end
  told[#told + 1] = word
end
return told
""")
