-- What the scripts share. KEYS[1] is the session, a hash: its header in fields that begin with '__', its cells as '<stamp>:<body>'.
-- Instants and revisions are decimal text. They are compared as numbers and stored as they came, so that none passes through a double.
local key = KEYS[1]
local at = 0

local function take()
  at = at + 1
  return ARGV[at]
end

-- Whether the indexes of owners lie on this node and may be written with the session: always, but in a cluster.
local function take_here()
  return take() == '1'
end

-- A key outlives its session by an hour, for clocks that differ. Redis refuses expiries in the very far future.
local SLACK, LONGEST = 3600000, 1e14

-- For how long the key of what ends at that instant is kept.
local function lasting(deadline, now)
  return string.format('%.0f', math.min(math.max(deadline - now, 0) + SLACK, LONGEST))
end

local NUMBERS = { '__rev', '__epoch', '__created', '__seen', '__idle', '__absolute' }
local NAMES = { '__rev', '__epoch', '__created', '__seen', '__idle', '__absolute', '__key', '__proven', '__since', '__phase',
  '__previous', '__persistent', '__owner' }

local function is_number(text)
  local number = tonumber(text)
  return number and number == number
end

-- The header among these fields, by their names; nothing where there is no session, or none that anybody can read.
local function readable(fields)
  for _, field in ipairs(NUMBERS) do
    if not is_number(fields[field]) then return nil end
  end
  if fields.__proven and not is_number(fields.__proven) or fields.__phase and not is_number(fields.__since) then return nil end
  return fields.__key and #fields.__key == 64 and fields or nil
end

local function header(session)
  local fields, found = {}, redis.call('HMGET', session, unpack(NAMES))
  for i, field in ipairs(NAMES) do fields[field] = found[i] or nil end
  return readable(fields)
end

-- What a server answers that takes no writes, if this is one: a replica may not know what its primary does, so nobody may believe its
-- silence. Elsewhere nothing happens, since no field has that name.
local function demoted()
  local answer = redis.pcall('HDEL', key, '__')
  return type(answer) == 'table' and answer.err and string.find(answer.err, 'READONLY') and answer or nil
end

local function secret(fields)
  return string.sub(fields.__key, 1, 32)
end

-- The nearer of both stored deadlines.
local function ends(fields)
  return math.min(tonumber(fields.__idle), tonumber(fields.__absolute))
end

-- Lua passes only so many values to one call.
local function write(fields)
  for from = 1, #fields, 2000 do
    redis.call('HSET', key, unpack(fields, from, math.min(from + 1999, #fields)))
  end
end

-- An owner's index is a sorted set of the names of sessions, by when the server will have dropped their keys at the latest. It goes
-- by the server's clock, as their expiry does.
local function list(into, member, lasts)
  local now = tonumber(redis.call('TIME')[1]) * 1000
  -- An entry never ends earlier than it was said to: where the session lies on another node, the commit that this belongs to may fail.
  local known = tonumber(redis.call('ZSCORE', into, member) or 0)
  -- First, since a full memory refuses this and not the other.
  redis.call('ZADD', into, string.format('%.0f', math.max(now + lasts, known)), member)
  -- Only some at once, since there may be very many.
  local over = redis.call('ZRANGEBYSCORE', into, '-inf', now, 'LIMIT', 0, 100)
  if #over > 0 then redis.call('ZREM', into, unpack(over)) end
  local last = redis.call('ZRANGE', into, -1, -1, 'WITHSCORES')[2]
  redis.call('PEXPIRE', into, string.format('%.0f', last - now))
end

-- In a cluster an entry comes before its session. The mark of a name, a member of the index too, says until when the commit that the
-- entry belongs to may be under way. Names never begin with its first character.
local MARK = '+'

-- The next members of an index: where to go on, and the names among them. A member that is there from the first step to the last is
-- among them at least once, whatever comes and goes meanwhile.
local function page(cursor, count)
  local answer, names = redis.call('ZSCAN', key, cursor, 'COUNT', count), {}
  local members = answer[2]
  for i = 1, #members, 2 do
    if string.sub(members[i], 1, 1) ~= MARK then names[#names + 1] = members[i] end
  end
  return answer[1], names
end

-- Owners are stored as their hash in 43 characters of base64url, and the schema's name.
local function hash(owner)
  return owner and string.sub(owner, 1, 43)
end

-- A session's key is '<prefix>{<name>}', its owner's index is '<prefix>owner:<hash>'.
local function name(session)
  return string.sub(session, -23, -2)
end

local function index(session, owner)
  return string.sub(session, 1, -25) .. 'owner:' .. owner
end

-- What the sessions of the index KEYS[1] begin with, and whose they are.
local function indexed()
  return string.sub(key, 1, -50), string.sub(key, -43)
end

-- Deletes a session, and its index entry where that is here and not on another node.
local function drop(session, here)
  local owner = here and hash(redis.call('HGET', session, '__owner'))
  if owner then redis.call('ZREM', index(session, owner), name(session)) end
  return redis.call('DEL', session)
end
