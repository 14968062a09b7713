-- Some sessions of the index KEYS[1] that are really the owner's; entries of others are dropped. ARGV: where to go on in the index, how
-- many entries to look at, the fields to answer. Answers where to go on, and names with their fields.
local refusal = demoted()
if refusal then return refusal end
local prefix, owner = indexed()
local following, names = page(take(), take())
local wanted, found = { unpack(ARGV, at + 1) }, {}
for _, member in ipairs(names) do
  local session = prefix .. '{' .. member .. '}'
  if hash(redis.call('HGET', session, '__owner')) == owner then
    found[#found + 1] = member
    found[#found + 1] = redis.call('HMGET', session, unpack(wanted))
  else
    -- A replica, or a server that takes no writes for now, leaves that to another time.
    redis.pcall('ZREM', key, member)
  end
end
return { following, found }
