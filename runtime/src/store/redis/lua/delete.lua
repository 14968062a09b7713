-- Deletes a session. ARGV: whether indexes are here; the owner it must have, or ''.
local here, owner = take_here(), take()
if owner ~= '' and hash(redis.call('HGET', key, '__owner')) ~= owner then return demoted() or 0 end
return drop(key, here)
