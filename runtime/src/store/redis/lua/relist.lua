-- Puts a session of the owner's back into the index KEYS[1], if it has lost its entry. ARGV: its name, how long the entry lasts.
local member, lasts = take(), take()
for _, entry in ipairs(redis.call('ZRANGE', key, 0, -1)) do
  if string.sub(entry, 1, #member) == member then return 0 end
end
list(key, member .. ':' .. redis.call('TIME')[1], lasts)
return 1
