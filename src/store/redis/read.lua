-- Gives the time, and the sessions: with an id the one of it, expired or not; else those that have not expired, each
-- after its id.
local id = ARGV[1]
local now = clock(struct.unpack('>d', ARGV[2]))
local found = {}
if id ~= '' then
  local session = redis.call('HGET', KEYS[1], 's' .. id)
  if session and now < end_of(session) + DAY then found = { id, session } end
else
  local fields = redis.call('HGETALL', KEYS[1])
  for i = 1, #fields, 2 do
    if fields[i]:byte() == 115 and now < end_of(fields[i + 1]) then
      found[#found + 1] = fields[i]:sub(2)
      found[#found + 1] = fields[i + 1]
    end
  end
end
return { now, found }
