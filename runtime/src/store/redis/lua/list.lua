-- Puts a session into the index KEYS[1], on another node than the session. ARGV: its name, how long the entry lasts.
-- The entry says when it was made: a young one may belong to a commit that is still under way.
local member, lasts = take(), take()
list(key, member .. ':' .. redis.call('TIME')[1], lasts)
return 1
