-- The rule of rotation, as `decide` has it. Gives the row (the sub-rows of 1: 0 no session, 1 another secret; 10 more
-- for an end that is told again), the time, and the session as it was; for row 5 only the session as it is, which says
-- all of that.
--
-- This part is what nearly every call is. It makes no function and calls few; rotate_end.lua, behind the prelude, is
-- the rest.
local call, key, id = redis.call, KEYS[1], ARGV[1]
local p, secret, attempt, retry, hold, idle, all, now = struct.unpack('>I4c32c16dddBd', ARGV[2])
if now ~= now then
  local time = call('TIME')
  local micros = time[2] + 0
  now = time[1] * 1000 + (micros - micros % 1000) / 1000
end
local session = call('HGET', key, 's' .. id)
local row = 0
if session then
  local version, g, issue, minted, handed, used, last_used, idle_end, by, _, absolute_end, digest =
    struct.unpack('>BI4I4dddddc16ddc32', session)
  if version ~= 1 then return redis.error_reply('VERSION of the session is unknown') end
  local expires, new_end = idle_end, idle_end
  if absolute_end < expires then expires = absolute_end end
  local since_handed = now - handed
  if now >= expires + 86400000 then
    session = false
  elseif digest ~= secret then
    row = 1
  elseif now >= expires then
    row = 2
  elseif p > g then
    row, g, minted, handed, used, last_used = 3, p, now, now, now, now
  elseif p == g then
    if since_handed < hold and -since_handed < hold then
      row = 4
    elseif g == 4294967295 then
      row = 2
    else
      row, g, minted, handed, used, last_used, by = 5, g + 1, now, now, -9223372036854775808, now, attempt
      new_end = now + idle
      if absolute_end < new_end then new_end = absolute_end end
    end
  elseif p == g - 1 and (math.abs(now - minted) < retry or by == attempt) then
    row, handed = 6, now
  else
    row = p == g - 1 and 7 or 8
  end

  if row == 3 or row == 5 or row == 6 then
    local state = struct.pack('>BI4I4dddddc16', version, g, issue, minted, handed, used, last_used, new_end, by)
    state = state .. session:sub(66)
    call('HSET', key, 's' .. id, state)
    -- The hash lives to the end of the hour in which its last session is forgotten, and so need not be told each time.
    local hour = new_end - new_end % 3600000
    if hour ~= idle_end - idle_end % 3600000 then
      call('PEXPIRE', key, math.min(hour + 25 * 3600000 - now, 28401840000000), 'GT')
    end
    if row == 5 then return state end
  end
  if session and row < 7 then return { row, now, session } end
end

