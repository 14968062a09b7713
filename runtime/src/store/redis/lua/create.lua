-- Stores a new session. ARGV: how long its key lasts; whether indexes are here, owner's hash or '', how long its entry lasts; all
-- fields.
local lasts, here, owner, listed = take(), take_here(), take(), take()
if redis.call('EXISTS', key) == 1 then return 0 end
local fields = {}
for i = at + 1, #ARGV do fields[#fields + 1] = ARGV[i] end
-- The entry comes first: one without a session harms nobody, and the other way round somebody would be missing.
if here and owner ~= '' then list(index(key, owner), name(key), listed) end
write(fields)
redis.call('PEXPIRE', key, lasts)
return 1
