-- Keeps a new session. Gives whether it is kept, the time, the session, and the ids that had to go for it.
local id = ARGV[1]
local secret, attempt, authenticated, idle, absolute, cap, given = struct.unpack('>c32c16dddI4d', ARGV[2])
local now = clock(given)
local kept, stale, ended, before = {}, {}, false, NEVER
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
  local field, value = fields[i], fields[i + 1]
  local kind, of = field:byte(), field:sub(2)
  local forget = false
  if kind == 115 then
    local expires = end_of(value)
    if now >= expires + DAY then
      forget = true
    elseif of == id then
      local _, _, digest = struct.unpack(FIXED, value, STATE_END)
      if digest == secret then return { 1, now, value, {} } end
      return { 0, now, false, {} }
    else
      local _, _, _, _, _, _, last_used = struct.unpack(STATE, value)
      kept[#kept + 1] = { id = of, live = now < expires, last_used = last_used }
    end
  elseif kind == 101 then
    local at = struct.unpack(ENDED, value)
    forget = not is_recent(at, now)
    ended = ended or (of == id and not forget)
  elseif kind == 109 then
    local mark_before, forget_at = struct.unpack(MARK, value)
    forget = now >= forget_at
    if not forget then before = mark_before end
  end
  if forget then stale[#stale + 1] = field end
end
-- Not before all was read: what cannot be read must not end in the middle.
for _, field in ipairs(stale) do redis.call('HDEL', KEYS[1], field) end
if ended or authenticated <= before then return { 0, now, false, {} } end

-- Expired sessions go first, then the one that was not used for the longest time.
table.sort(kept, function(a, b)
  if a.live ~= b.live then return b.live end
  if a.last_used ~= b.last_used then return a.last_used < b.last_used end
  return a.id < b.id
end)
local evicted = {}
for i = 1, #kept - cap + 1 do
  redis.call('HDEL', KEYS[1], 's' .. kept[i].id)
  redis.call('HSET', KEYS[1], 'e' .. kept[i].id, struct.pack(ENDED, now, 0, attempt))
  tell('ended', kept[i].id)
  if kept[i].live then evicted[#evicted + 1] = kept[i].id end
end

local absolute_end = now + absolute
local idle_end = math.min(now + idle, absolute_end)
local session = struct.pack(STATE, 1, 0, 0, now, now, NEVER, now, idle_end, attempt)
  .. struct.pack(FIXED, now, absolute_end, secret)
  .. ARGV[3]
redis.call('HSET', KEYS[1], 's' .. id, session)
keep_for(life_for(idle_end, now))
return { 1, now, session, evicted }
