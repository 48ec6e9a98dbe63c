-- There is no session, or it ends here.
if not session then
  local ended = redis.call('HGET', KEYS[1], 'e' .. id)
  if ended then
    local at, ended_row, ended_by = struct.unpack(ENDED, ended)
    if ended_row > 0 and ended_by == attempt and is_recent(at, now) then
      touch()
      return { 10 + ended_row, now, ended:sub(ENDED_END) }
    end
  end
  return { 0, now, false }
end
if row == 8 and all == 1 then
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    if field:byte() == 115 and field ~= 's' .. id then
      redis.call('HDEL', KEYS[1], field)
      redis.call('HSET', KEYS[1], 'e' .. field:sub(2), struct.pack(ENDED, now, 0, attempt))
    end
  end
  tell('all', '')
end
end_session(id, now, row, attempt, session)
return { row, now, session }
