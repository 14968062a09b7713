-- Answers a session as it is; then notes that it was used, if whoever asks may do that.
-- ARGV: secret, now, grace, whether indexes are here; idle, absolute and the new idle deadline for a cookie of the browser session, the
-- same for a persistent one; the on-demand cells to answer.
local presented, now, grace, here = take(), take(), take(), take_here()
local instant = tonumber(now)
local lifetimes = {}
for i = 1, 2 do lifetimes[i] = { idle = take(), absolute = take(), rolled = take() } end

local found, fields = redis.call('HGETALL', key), {}
for i = 1, #found, 2 do fields[found[i]] = found[i + 1] end
if fields.__on_demand then
  local wanted = {}
  for i = at + 1, #ARGV do wanted[ARGV[i]] = true end
  found = {}
  for field, value in pairs(fields) do
    if string.sub(field, 1, 1) ~= '~' or wanted[field] then
      found[#found + 1] = field
      found[#found + 1] = value
    end
  end
end

local session = readable(fields)
if not session then return demoted() or found end

local lifetime = lifetimes[session.__persistent and 2 or 1]
local begun = math.max(tonumber(session.__created), tonumber(session.__proven or session.__created))
local open = instant < math.min(ends(session), session.__seen + lifetime.idle, begun + lifetime.absolute)
if not open then return demoted() or found end

local current = secret(session) == presented
local previous = session.__previous and string.sub(session.__previous, 1, 32) == presented
  and (session.__phase == 'pending' or session.__phase == 'superseded' and instant < session.__since + grace)
if not current and not previous then return demoted() or found end

local changes = {}
if instant > tonumber(session.__seen) then
  changes = { '__seen', now }
end
if tonumber(lifetime.rolled) > tonumber(session.__idle) then
  session.__idle = lifetime.rolled
  changes[#changes + 1] = '__idle'
  changes[#changes + 1] = lifetime.rolled
end
if current and session.__phase == 'pending' then
  for _, value in ipairs({ '__phase', 'superseded', '__since', now }) do changes[#changes + 1] = value end
end
if #changes > 0 then
  local touched = redis.pcall('HSET', key, unpack(changes))
  if type(touched) == 'table' and touched.err then
    -- A full memory or disk stops no reader. But a replica may know of a session that its primary has ended.
    return string.find(touched.err, 'READONLY') and touched or found
  end
  redis.call('PEXPIRE', key, lasting(ends(session), instant))
  local owner = here and hash(session.__owner)
  -- An eviction may have taken the index alone: whoever is used is listed again.
  if owner and not redis.call('ZSCORE', index(key, owner), name(key)) then
    list(index(key, owner), name(key), lasting(tonumber(session.__absolute), instant))
  end
end
return found
