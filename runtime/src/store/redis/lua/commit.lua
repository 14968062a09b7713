-- Applies a patch, or says why not and writes nothing. ARGV: epoch, now, the instant that the idle deadline is checked against, whether indexes
-- are here, the owner in whose index the session stands already; then the patch, as verbs with their operands.
local epoch, now, used, here, listed = take(), take(), take(), take_here(), take()
local session = header(key)
if not session or session.__epoch ~= epoch
  or tonumber(used) >= tonumber(session.__idle) or tonumber(now) >= tonumber(session.__absolute) then
  return demoted() or { 'gone' }
end

-- Everything is gathered first and written at the end: nothing stops a script between two writes.
local owner, absolute = session.__owner, session.__absolute
local fields, drops = {}, {}
local guarded, hold = {}, true
local puts, kept
local rotated = 0

local function set(field, value)
  session[field] = value
  fields[#fields + 1] = field
  fields[#fields + 1] = value
end

local verbs = {
  guard = function()
    local field, stamp = take(), take()
    local cell = redis.call('HGET', key, field)
    if (cell and string.match(cell, '^(%d+):') or '0') ~= stamp then hold = false end
    if cell then
      guarded[#guarded + 1] = field
      guarded[#guarded + 1] = cell
    end
  end,
  wipe = function() kept = {} end,
  keep = function() kept[take()] = true end,
  put = function()
    puts = puts or {}
    puts[#puts + 1] = take()
    puts[#puts + 1] = take()
  end,
  set = function() set(take(), take()) end,
  drop = function()
    local field = take()
    session[field] = nil
    drops[#drops + 1] = field
  end,
  raise = function()
    local field, value = take(), take()
    if tonumber(value) > tonumber(session[field]) then set(field, value) end
  end,
  present = function()
    if secret(session) == take() and session.__phase == 'pending' then
      set('__phase', 'superseded')
      set('__since', now)
    end
  end,
  promote = function()
    set('__previous', secret(session))
    set('__phase', 'revoked')
    set('__since', now)
    set('__key', take())
    set('__epoch', take())
    rotated = 1
  end,
  renew = function()
    local from, to = take(), take()
    if secret(session) ~= from then return end
    -- While nobody has presented it, what the client holds is the one before.
    if session.__phase ~= 'pending' then set('__previous', session.__key) end
    set('__phase', 'pending')
    set('__since', now)
    set('__key', to)
    rotated = 1
  end,
}
while at < #ARGV do verbs[take()]() end
if not hold then return { 'conflict', guarded } end

-- Its owner must never miss a session that lives, so where one script cannot do both, the entry comes first.
local moved = session.__owner ~= owner or session.__absolute ~= absolute
local heir = hash(session.__owner)
if heir and moved and not here and heir ~= listed then return { 'list', heir } end

if puts or kept then
  -- One more, in decimal: the last digit that is no nine rises, the nines behind it become zeros.
  local head, digit, nines = string.match('0' .. session.__rev, '^(%d-)([0-8])(9*)$')
  local revision = string.gsub(head .. (digit + 1) .. string.rep('0', #nines), '^0+', '')
  set('__rev', revision)
  for i = 1, #(puts or {}), 2 do set(puts[i], revision .. ':' .. puts[i + 1]) end
end
-- What a full memory refuses comes first, and the entry before the session: so whatever is refused, nothing is done by halves.
if moved and here and heir then list(index(key, heir), name(key), lasting(tonumber(session.__absolute), now)) end
write(fields)
for _, field in ipairs(drops) do redis.call('HDEL', key, field) end
if kept then
  for i = 1, #(puts or {}), 2 do kept[puts[i]] = true end
  for _, field in ipairs(redis.call('HKEYS', key)) do
    if string.sub(field, 1, 2) ~= '__' and not kept[field] then redis.call('HDEL', key, field) end
  end
end
redis.call('PEXPIRE', key, lasting(ends(session), now))
if moved and here and owner and hash(owner) ~= heir then redis.call('ZREM', index(key, hash(owner)), name(key)) end
return { 'committed', session.__rev, rotated }
