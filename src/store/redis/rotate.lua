-- The rule of rotation, as `decide` has it. Gives the row (the sub-rows of 1: 0 no session, 1 another secret; 10 more
-- for an end that is told again), the time, and the session as it was.
local id = ARGV[1]
local p, secret, attempt, retry, hold, idle, all, given = struct.unpack('>I4c32c16dddBd', ARGV[2])
local now = clock(given)
local session = redis.call('HGET', KEYS[1], 's' .. id)
if not session then
  local ended = redis.call('HGET', KEYS[1], 'e' .. id)
  if ended then
    local at, row, by = struct.unpack(ENDED, ended)
    if row > 0 and by == attempt and is_recent(at, now) then
      return { 10 + row, now, ended:sub(ENDED_END) }
    end
  end
  return { 0, now, false }
end

local version, g, issue, minted, handed, used, last_used, idle_end, by = struct.unpack(STATE, session)
if version ~= 1 then return redis.error_reply('VERSION of the session is unknown') end
local _, absolute_end, digest = struct.unpack(FIXED, session, STATE_END)
local expires = math.min(idle_end, absolute_end)
if now >= expires + DAY then return { 0, now, false } end
if digest ~= secret then return { 1, now, session } end
if now >= expires then return { 2, now, session } end

local row
if p > g then
  row, g, minted, handed, used, last_used = 3, p, now, now, now, now
elseif p == g then
  if math.abs(now - handed) < hold then return { 4, now, session } end
  if g == 4294967295 then return { 2, now, session } end
  row, g, minted, handed, used, last_used, by = 5, g + 1, now, now, NEVER, now, attempt
  idle_end = math.min(now + idle, absolute_end)
elseif p == g - 1 then
  if math.abs(now - minted) < retry or by == attempt then
    row, handed = 6, now
  else
    end_session(id, now, 7, attempt, session)
    return { 7, now, session }
  end
else
  if all == 1 then
    for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
      if field:byte() == 115 and field ~= 's' .. id then
        redis.call('HDEL', KEYS[1], field)
        redis.call('HSET', KEYS[1], 'e' .. field:sub(2), struct.pack(ENDED, now, 0, attempt))
      end
    end
  end
  end_session(id, now, 8, attempt, session)
  return { 8, now, session }
end

local state = struct.pack(STATE, version, g, issue, minted, handed, used, last_used, idle_end, by)
redis.call('HSET', KEYS[1], 's' .. id, state .. session:sub(STATE_END))
if row == 5 then
  -- The hash has a time to live since its first session.
  local ttl = math.min(math.min(idle_end, absolute_end) + DAY - now, LONGEST)
  redis.call('PEXPIRE', KEYS[1], math.ceil(ttl), 'GT')
end
return { row, now, session }
