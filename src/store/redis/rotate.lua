-- The rule of rotation, as `decide` has it. Gives the row (the sub-rows of 1: 0 no session, 1 another secret; 10 more
-- for an end that is told again), the time, and the session as it was; for row 5 only the session as it is, which says
-- all of that.
--
-- This part is what nearly every call is. It makes no function and calls few; rotate_end.lua, behind the prelude, is
-- the rest.
local call, key, id = redis.call, KEYS[1], ARGV[1]
local p, secret, attempt, retry, hold, idle, all, until_used, now = struct.unpack('>I4c32c16dddBBd', ARGV[2])
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
  local expires, new_end, is_written, is_replaced = idle_end, idle_end, false, false
  if absolute_end < expires then expires = absolute_end end
  local since_handed = now - handed
  if now >= expires + 86400000 then
    session = false
  elseif digest ~= secret then
    row = 1
  elseif now >= expires then
    row = 2
  elseif p > g then
    row, g, minted, handed, used, last_used, is_written = 3, p, now, now, now, now, true
  elseif p == g then
    if until_used == 1 and used == -9223372036854775808 then
      row, used, is_written = 4, now, true
    elseif since_handed < hold and -since_handed < hold then
      row = 4
    elseif g == 4294967295 then
      row = 2
    else
      row, g, minted, handed, used, last_used, by = 5, g + 1, now, now, -9223372036854775808, now, attempt
      new_end, is_written = now + idle, true
      if absolute_end < new_end then new_end = absolute_end end
    end
  elseif p == g - 1 then
    local in_time = math.abs(now - minted) < retry or by == attempt
    if until_used == 1 and used == -9223372036854775808 then
      if not in_time and issue < 4294967295 then issue, is_replaced = issue + 1, true end
      row, minted, handed, is_written = 6, now, now, true
    elseif in_time then
      row, handed, is_written = 6, now, true
    else
      row = 7
    end
  else
    row = 8
  end

  if is_written then
    local state = struct.pack('>BI4I4dddddc16', version, g, issue, minted, handed, used, last_used, new_end, by)
    state = state .. session:sub(66)
    call('HSET', key, 's' .. id, state)
    -- The hash lives to the end of the hour in which its last session is forgotten, and so need not be told each time.
    local hour = new_end - new_end % 3600000
    if hour ~= idle_end - idle_end % 3600000 then
      call('PEXPIRE', key, math.min(hour + 25 * 3600000 - now, 28401840000000), 'GT')
    end
    if row == 5 then return state end
    if is_replaced then
      local message = 'replaced ' .. key:sub(-22) .. ' ' .. ('%02x'):rep(16):format(id:byte(1, 16))
      redis.pcall('PUBLISH', key:sub(1, -23) .. 'ended', message)
    end
  end
  if session and row < 7 then return { row, now, session } end
end

