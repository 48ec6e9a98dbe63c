-- Ends one session; with a proof only if its secret is that one. Gives 1 if there was one to end.
local id, proof = ARGV[1], ARGV[2]
local attempt, given = struct.unpack('>c16d', ARGV[3])
local now = clock(given)
local session = redis.call('HGET', KEYS[1], 's' .. id)
if not session then
  local ended = redis.call('HGET', KEYS[1], 'e' .. id)
  if not ended then return 0 end
  touch()
  local at, row, by = struct.unpack(ENDED, ended)
  return (row == 0 and by == attempt and is_recent(at, now)) and 1 or 0
end
if now >= end_of(session) + DAY then return 0 end
local _, _, digest = struct.unpack(FIXED, session, STATE_END)
if proof ~= '' and proof ~= digest then return 0 end
end_session(id, now, 0, attempt, '')
return 1
