-- Takes a turn in one even stream of calls that all replicas share (GCRA), or says when there may be one.
-- KEYS: when the next is due, the last 20 outcomes.
-- ARGV: interval and tolerance in us, the same while most are refused, patience in us, then outcomes not told yet (0 or 1).
for i = 6, #ARGV do
  redis.call('LPUSH', KEYS[2], ARGV[i])
end
if #ARGV >= 6 then
  redis.call('LTRIM', KEYS[2], 0, 19)
  redis.call('PEXPIRE', KEYS[2], 60000)
end
local refused = 0
for _, outcome in ipairs(redis.call('LRANGE', KEYS[2], 0, 19)) do
  if outcome == '1' then refused = refused + 1 end
end
local interval, tolerance = tonumber(ARGV[1]), tonumber(ARGV[2])
if refused > 10 then interval, tolerance = tonumber(ARGV[3]), tonumber(ARGV[4]) end
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local due = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
local wait = math.max(due - now - tolerance, 0)
if wait > tonumber(ARGV[5]) then return {0, wait} end
-- a clock of Redis that was set back must not shut the gate: the key ends soon after the stream would be idle
redis.call('SET', KEYS[1], string.format('%.0f', due + interval), 'PX', math.ceil((due + interval - now) / 1000) + 1000)
return {1, wait}
