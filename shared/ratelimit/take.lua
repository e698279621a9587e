-- Admits a request if each of its limits does, and charges all of them or none.
-- KEYS: one for each limit, then the failures of an account if the last emission is 0
-- ARGV: now in microseconds; then for each key its emission (microseconds between
-- two requests at the steady rate) and its burst; for an account 0 and the longest
-- wait, then how many failures cost nothing, the first wait, and how long an attempt
-- may take
-- Answers, refused: the number of the key that refuses for longest, and microseconds
-- until it would not. Admitted: 0; of the first key what remains; 1 if the account has
-- failures; of each limit the microseconds until it is whole again
--
-- A key holds the instant at which its limit is whole again. An instant further
-- ahead than a burst takes was written by a clock that runs ahead of this one.
local call = redis.call
local now, last = tonumber(ARGV[1]), #KEYS
local held = last == 1 and {call('GET', KEYS[1])} or call('MGET', unpack(KEYS))
local whole, longest, refusing, remaining, failures = {}, 0, 0, 0, 0
for i = 1, last do
  local emission, burst = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local wait = 0
  if emission == 0 then
    if held[i] then
      local count, ends = string.match(held[i], '^(%d+):(%d+)')
      failures, wait = tonumber(count), math.min(burst, tonumber(ends) - now)
    end
  else
    local at, most = tonumber(held[i] or now), now + emission * burst
    if at < now then at = now elseif at > most then at = most end
    at = at + emission
    whole[i], wait = at, at - most
    if i == 1 then remaining = math.floor(-wait / emission) end
  end
  if wait > longest then longest, refusing = wait, i end
end
if refusing > 0 then return {refusing, longest} end
local answer = {0, remaining, failures > 0 and 1 or 0}
for i = 1, #whole do
  answer[i + 3] = whole[i] - now
  call('SET', KEYS[i], string.format('%.0f', whole[i]), 'PX', math.ceil(answer[i + 3] / 1000))
end
-- Who fails now would have the next wait: the next has to wait meanwhile, or any
-- number could try at once; no longer than the outcome may take, if it is never told.
local over = failures + 1 - tonumber(ARGV[2 * last + 2] or 0)
if failures > 0 and over >= 0 then
  local wait = math.min(tonumber(ARGV[2 * last + 4]), tonumber(ARGV[2 * last + 3]) * 2 ^ math.min(over, 40))
  call('SET', KEYS[last], string.format('%d:%.0f', failures, now + wait), 'KEEPTTL')
end
return answer
