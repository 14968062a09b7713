-- Drops entries of the index KEYS[1] whose sessions are gone or another owner's. ARGV: their names.
-- An entry whose commit may still be under way stays: that commit may be about to make the session the owner's.
local now = tonumber(redis.call('TIME')[1]) * 1000
for _, member in ipairs(ARGV) do
  if tonumber(redis.call('ZSCORE', key, MARK .. member) or 0) < now then redis.call('ZREM', key, member) end
end
return 1
