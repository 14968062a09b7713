-- Puts a session of the owner's back into the index KEYS[1], if it has lost its entry. ARGV: its name, how long the entry lasts.
local member, lasts = take(), take()
if not redis.call('ZSCORE', key, member) then list(key, member, lasts) end
return 1
