-- The sessions of the index KEYS[1] that are really the owner's; entries of others are dropped. ARGV: the fields
-- to answer.
local refusal = demoted()
if refusal then return refusal end
local prefix, owner = indexed()
local found = {}
for _, member in ipairs(redis.call('ZRANGE', key, 0, -1)) do
  local session = prefix .. '{' .. member .. '}'
  if hash(redis.call('HGET', session, '__owner')) == owner then
    found[#found + 1] = member
    found[#found + 1] = redis.call('HMGET', session, unpack(ARGV))
  else
    -- A replica, or a server that takes no writes for now, leaves that to another time.
    redis.pcall('ZREM', key, member)
  end
end
return found
