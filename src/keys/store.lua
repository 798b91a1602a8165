-- Keeps the first answer, if the claim is still the owner's. Nobody owns it afterwards: the first answer stays.
-- KEYS: the claim.  ARGV: owner, status, body, location or nothing, time to live in ms.
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'status', ARGV[2], 'body', ARGV[3], 'location', ARGV[4])
redis.call('HDEL', KEYS[1], 'owner')
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return 1
