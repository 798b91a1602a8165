-- Does what a claim does, on a key of its own: a Redis that can't run scripts or can't write is of no use here.
-- KEYS: the probe.
redis.call('SET', KEYS[1], '1', 'PX', 1000)
return 1
