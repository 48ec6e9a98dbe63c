-- What the scripts share. KEYS[1] is the one hash of a subject. Its fields:
--   's' + session id   a session: STATE, then FIXED, then the facts and the claims, which no script looks into; STATE
--                      begins with the version of all this
--   'e' + session id   a session that ended within the last minute: ENDED, then the session if a rotation ended it
--   'm'                when all sessions were ended: MARK
-- Numbers are packed as doubles and never printed: milliseconds stay whole up to 2^53.
local STATE = '>BI4I4dddddc16' -- version, generation, issue, minted, handed, used, last used, idle end, attempt
local STATE_END = 66
local FIXED = '>ddc32' -- created, absolute end, secret digest
local ENDED = '>dBc16' -- at, row of the rule or 0, attempt
local ENDED_END = 26
local MARK = '>dddc16d' -- before, forget at, at, attempt, sessions ended
local NEVER = -9223372036854775808 -- no such time
local DAY = 86400000
local MINUTE = 60000
local HOUR = 3600000
local LONGEST = 28401840000000 -- 900 years: Redis refuses times to live beyond its own range

-- The server's time, but in tests, which give one.
local function clock(given)
  if given == given then return given end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- When a session ends unless it is refreshed. A day later it is forgotten. What is no session raises an error.
local function end_of(session)
  assert(session:byte() == 1, 'the version of the session is unknown')
  local _, _, _, _, _, _, _, idle_end = struct.unpack(STATE, session)
  local _, absolute_end = struct.unpack(FIXED, session, STATE_END)
  return math.min(idle_end, absolute_end)
end

local function is_recent(at, now)
  return math.abs(now - at) < MINUTE
end

-- How long the hash must live for a session: to the end of the hour in which it is forgotten.
local function life_for(expires, now)
  return (math.floor(expires / HOUR) + 1) * HOUR + DAY - now
end

-- Keeps the hash for this long at least. GT alone does nothing on a key without a time to live.
local function keep_for(milliseconds)
  local ttl = math.ceil(math.min(milliseconds, LONGEST))
  redis.call('PEXPIRE', KEYS[1], ttl, 'NX')
  redis.call('PEXPIRE', KEYS[1], ttl, 'GT')
end

-- Writes, and changes nothing: WAIT waits for what its own connection has written, so one that only found an end made by
-- another connection would wait for nothing.
local function touch()
  local ttl = redis.call('PTTL', KEYS[1])
  if ttl > 0 then redis.call('PEXPIRE', KEYS[1], ttl) end
end

-- Without a session the hash need only outlive its marks.
local function shorten(now)
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    if field:byte() == 115 then return end
  end
  local ttl = MINUTE
  local mark = redis.call('HGET', KEYS[1], 'm')
  if mark then
    local is_mark, _, forget = pcall(struct.unpack, MARK, mark)
    if not is_mark then return end
    ttl = math.max(ttl, math.min(forget - now, LONGEST))
  end
  redis.call('PEXPIRE', KEYS[1], math.ceil(ttl))
end

-- Tells other nodes what has ended, which they hear on the channel PREFIX:ended. An account that may not is no failure.
local function tell(kind, id)
  local message = kind .. ' ' .. KEYS[1]:sub(-22)
  if id ~= '' then
    message = message .. ' ' .. ('%02x'):rep(#id):format(id:byte(1, -1))
  end
  redis.pcall('PUBLISH', KEYS[1]:sub(1, -23) .. 'ended', message)
end

-- Notes that a session has ended. The session is removed first: then Redis lets this pass even when its memory is full.
local function end_session(id, now, row, attempt, session)
  redis.call('HDEL', KEYS[1], 's' .. id)
  redis.call('HSET', KEYS[1], 'e' .. id, struct.pack(ENDED, now, row, attempt) .. session)
  shorten(now)
  tell('ended', id)
end
