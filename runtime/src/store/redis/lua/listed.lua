-- The entries of the index KEYS[1], and the server's time in seconds.
return { redis.call('TIME')[1], redis.call('ZRANGE', key, 0, -1) }
