-- Admits a request if each of its limits does, and charges all of them or none.
-- KEYS: one for each limit, then the failures of an account if the last emission is 0
-- ARGV: now in microseconds; then for each key its emission (microseconds between
-- two requests at the steady rate) and its burst
-- Answers, refused: the number of the key that refuses for longest, and milliseconds
-- until it would not. Admitted: 0; of the first key what remains and the milliseconds
-- until it is whole again; 1 if the account has failures
--
-- A key holds the instant at which its limit is whole again. An instant further
-- ahead than a burst takes was written by a clock that runs ahead of this one.
local call, ceil = redis.call, math.ceil
local now, last = tonumber(ARGV[1]), #KEYS
local held = last == 1 and {call('GET', KEYS[1])} or call('MGET', unpack(KEYS))
local whole, longest, refusing, remaining = {}, 0, 0, 0
for i = 1, last do
  local emission, burst = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local wait
  if emission == 0 then
    wait = held[i] and tonumber(string.match(held[i], ':(%d+)')) - now or 0
    if wait > burst then wait = burst end
  else
    local at, most = tonumber(held[i] or now), now + emission * burst
    if at < now then at = now elseif at > most then at = most end
    at = at + emission
    whole[i], wait = at, at - most
    if i == 1 then remaining = math.floor(-wait / emission) end
  end
  if wait > longest then longest, refusing = wait, i end
end
if refusing > 0 then return {refusing, ceil(longest / 1000)} end
for i = 1, #whole do
  call('SET', KEYS[i], string.format('%.0f', whole[i]), 'PX', ceil((whole[i] - now) / 1000))
end
return {0, remaining, ceil((whole[1] - now) / 1000), #whole < last and held[last] and 1 or 0}
