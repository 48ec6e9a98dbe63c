-- Notes that a generation and an issue were seen in use, if they are the newest and no use was seen before.
local field = 's' .. ARGV[1]
local generation, of_issue, given = struct.unpack('>I4I4d', ARGV[2])
local now = clock(given)
local session = redis.call('HGET', KEYS[1], field)
if not session then return 0 end
local expires = end_of(session)
local version, g, issue, minted, handed, used, last_used, idle_end, by = struct.unpack(STATE, session)
if g ~= generation or issue ~= of_issue or used ~= NEVER or now >= expires + DAY then return 0 end
local state = struct.pack(STATE, version, g, issue, minted, handed, now, last_used, idle_end, by)
redis.call('HSET', KEYS[1], field, state .. session:sub(STATE_END))
return 1
