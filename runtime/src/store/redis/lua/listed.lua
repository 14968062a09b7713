-- The entries of the index KEYS[1], and the server's time in seconds.
local refusal = demoted()
if refusal then return refusal end
return { redis.call('TIME')[1], redis.call('ZRANGE', key, 0, -1) }
