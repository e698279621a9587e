-- Counts a failure of an account and has its next attempt wait, twice as long each
-- time.
-- KEYS: the account's failures, held as count:until
-- ARGV: now; how many failures cost nothing; the first wait and the longest, in
-- microseconds; milliseconds after which failures are forgotten
-- Answers: milliseconds to wait
local now, free, first, longest = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local held = redis.call('GET', KEYS[1])
local count = (held and tonumber(string.match(held, '^(%d+):')) or 0) + 1
local wait, ends = 0, 0 -- not now: a clock that is behind would wait for it
if count >= free then
  wait = math.min(longest, first * 2 ^ math.min(count - free, 40))
  ends = now + wait
end
redis.call('SET', KEYS[1], string.format('%d:%.0f', count, ends), 'PX', ARGV[5])
return math.ceil(wait / 1000)
