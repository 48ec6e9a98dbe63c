-- Ends all sessions but the one excepted, and marks a time, before which no login counts. Gives how many it ended.
local except = ARGV[1]
local attempt, memory, before, given = struct.unpack('>c16ddd', ARGV[2])
local now = clock(given)
local forget = now + memory
local mark = redis.call('HGET', KEYS[1], 'm')
if mark then
  local last_before, last_forget, at, by, ended = struct.unpack(MARK, mark)
  if by == attempt and is_recent(at, now) then
    touch()
    return ended
  end
  -- The clock may have stepped back: a mark never moves to an earlier time.
  before, forget = math.max(before, last_before), math.max(forget, last_forget)
end
local ended = 0
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
  local field = fields[i]
  if field:byte() == 115 and field:sub(2) ~= except then
    -- Whatever calls itself a session ends, also one that cannot be read.
    local is_session, expires = pcall(end_of, fields[i + 1])
    if is_session and now < expires + DAY then ended = ended + 1 end
    redis.call('HDEL', KEYS[1], field)
  end
end
redis.call('HSET', KEYS[1], 'm', struct.pack(MARK, before, forget, now, attempt, ended))
keep_for(forget - now)
shorten(now)
tell('all', except)
return ended
