-- Does to two keys of its own what the other scripts do to theirs, so that a server that refuses part of it is found out before a
-- session is.
redis.call('HSET', key, '__probe', '1')
redis.call('PEXPIRE', key, 1000)
for _, look in ipairs({ 'HGETALL', 'HKEYS', 'EXISTS' }) do redis.call(look, key) end
redis.call('HMGET', key, '__probe')
redis.call('HGET', key, '__probe')
redis.call('HDEL', key, '__probe')
redis.call('DEL', key)
local owners = index(key, 'probe')
list(owners, 'probe', 1000)
redis.call('ZSCORE', owners, 'probe')
redis.call('ZSCAN', owners, '0')
redis.call('ZREM', owners, 'probe')
return 1
