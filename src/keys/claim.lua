-- Claims an idempotency key, or says why not. One step for Redis: nothing comes between the look and the claim.
-- KEYS: the claim, the merchant's fence.  ARGV: fingerprint, owner, lease in ms.
local held = redis.call('HMGET', KEYS[1], 'fingerprint', 'status', 'body', 'location')
if held[1] then
  if held[1] ~= ARGV[1] then return {'reused'} end
  if held[2] then return {'replay', held[2], held[3], held[4]} end
  return {'running'}
end
-- At least the clock in microseconds: a fence that started again at 1 after a loss of data would put a new owner behind
-- an old one. Below 2^53 for two centuries, so a Lua number holds it.
local now = redis.call('TIME')
local fence = math.max(tonumber(redis.call('GET', KEYS[2]) or 0) + 1, now[1] * 1000000 + now[2])
fence = string.format('%.0f', fence)
redis.call('SET', KEYS[2], fence)
redis.call('HSET', KEYS[1], 'fingerprint', ARGV[1], 'owner', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {'granted', fence}
