-- Puts a session into the index KEYS[1], on another node than the session. ARGV: its name, how long the entry lasts, how long its commit
-- may be under way.
local member, lasts, under_way = take(), take(), take()
list(key, member, lasts)
local now = tonumber(redis.call('TIME')[1]) * 1000
redis.call('ZADD', key, string.format('%.0f', now + under_way), MARK .. member)
return 1
