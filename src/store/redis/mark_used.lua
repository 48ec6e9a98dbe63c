-- Notes that a generation was seen in use, if it is the newest and was not seen before.
local field = 's' .. ARGV[1]
local generation, given = struct.unpack('>I4d', ARGV[2])
local now = clock(given)
local session = redis.call('HGET', KEYS[1], field)
if not session then return 0 end
local expires = end_of(session)
local version, g, issue, minted, handed, used, last_used, idle_end, by = struct.unpack(STATE, session)
if g ~= generation or used ~= NEVER or now >= expires + DAY then return 0 end
local state = struct.pack(STATE, version, g, issue, minted, handed, now, last_used, idle_end, by)
redis.call('HSET', KEYS[1], field, state .. session:sub(STATE_END))
return 1
