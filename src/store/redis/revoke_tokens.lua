-- Refuses tokens that were issued before a time, in milliseconds as decimal text, and remembers it for some milliseconds
-- at least. KEYS[1] is the one text of a key, PREFIX:revoked:KEY, which is that time. Gives the time now in force.
--
-- Times are compared as text: they may be beyond 2^53.
local not_before, length, key = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local LONGEST = 28401840000000 -- 900 years: Redis refuses times to live beyond its own range

local function is_earlier(a, b)
  local negative = a:byte() == 45
  if negative ~= (b:byte() == 45) then return negative end
  if negative then a, b = b, a end
  if #a ~= #b then return #a < #b end
  return a < b
end

local kept = redis.call('GET', KEYS[1])
if kept then
  if not kept:find('^%-?%d+$') then return redis.error_reply('VERSION of the revocation is unknown') end
  if is_earlier(not_before, kept) then not_before = kept end
end
-- Without a time to live the answer is below 0.
local ttl = math.min(math.max(redis.call('PTTL', KEYS[1]), length, 1), LONGEST)
redis.call('SET', KEYS[1], not_before, 'PX', ('%.0f'):format(ttl))
-- To other nodes, on the channel PREFIX:ended. An account that may not is no failure.
local message = 'tokens ' .. ('%02x'):rep(#key):format(key:byte(1, -1)) .. ' ' .. not_before
redis.pcall('PUBLISH', KEYS[1]:sub(1, -31) .. 'ended', message)
return not_before
