-- Deletes the sessions of the index KEYS[1] that are really the owner's. ARGV: the name of one to spare, or ''.
local refusal = demoted()
if refusal then return refusal end
local prefix, owner = indexed()
local spared = take()
local deleted = 0
for _, member in ipairs(redis.call('ZRANGE', key, 0, -1)) do
  local session = prefix .. '{' .. member .. '}'
  local theirs = hash(redis.call('HGET', session, '__owner')) == owner
  if not theirs or member ~= spared then
    redis.call('ZREM', key, member)
    if theirs then deleted = deleted + redis.call('DEL', session) end
  end
end
return deleted
