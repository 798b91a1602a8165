-- Gives the key back, if the claim is still the owner's.
-- KEYS: the claim.  ARGV: owner.
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
