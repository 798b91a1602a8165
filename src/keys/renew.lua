-- Begins the lease anew, if the claim is still the owner's.
-- KEYS: the claim.  ARGV: owner, lease in ms.
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
