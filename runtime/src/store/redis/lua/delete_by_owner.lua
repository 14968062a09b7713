-- Deletes some sessions of the index KEYS[1] that are really the owner's. ARGV: where to go on in the index, how many entries to look
-- at, the name of one to spare, or ''. Answers where to go on, and how many it deleted.
local refusal = demoted()
if refusal then return refusal end
local prefix, owner = indexed()
local following, names = page(take(), take())
local spared = take()
local deleted = 0
for _, member in ipairs(names) do
  local session = prefix .. '{' .. member .. '}'
  local theirs = hash(redis.call('HGET', session, '__owner')) == owner
  if not theirs or member ~= spared then
    redis.call('ZREM', key, member)
    if theirs then deleted = deleted + redis.call('DEL', session) end
  end
end
return { following, deleted }
