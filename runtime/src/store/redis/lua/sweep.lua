-- Deletes those of KEYS that are past a deadline. ARGV: now, whether indexes are here, how many at most.
local now, here, limit = tonumber(take()), take_here(), tonumber(take())
local swept = 0
for _, session in ipairs(KEYS) do
  local fields = swept < limit and header(session)
  if fields and now >= ends(fields) then
    swept = swept + drop(session, here)
  end
end
return swept
