-- Notes who is in a channel on one node.
--
-- KEYS: the members: a hash of client ids; and what counts them: a hash with "n", how many presence
--   lists, and, for each user of theirs, "u" and the user, how many of them that user is.
-- ARGV: seconds for which both are kept; 1 if what they held is forgotten first; how many members
--   follow, each with its client id and what is kept of it (whose first byte is odd if presence lists
--   it, and whose next are the length of the user, low byte first, and the user); then client ids of
--   those that are gone.
-- Returns the number of members; or an error, and then what is noted may be wrong until it is
--   forgotten.
local call = redis.pcall
local members, counts, ttl = KEYS[1], KEYS[2], ARGV[1]
local count = function(value, by)
  if string.byte(value, 1) % 2 == 0 then return {} end
  local length = string.byte(value, 2) + 256 * string.byte(value, 3)
  for _, field in ipairs({ 'n', 'u' .. string.sub(value, 4, 3 + length) }) do
    local now = call('HINCRBY', counts, field, by)
    if type(now) == 'table' then return now end
    if now <= 0 then call('HDEL', counts, field) end
  end
  return {}
end
if ARGV[2] == '1' then
  local gone = call('DEL', members, counts)
  if type(gone) == 'table' then return gone end
end
local last = 3 + 2 * tonumber(ARGV[3])
local i = 4
while i <= #ARGV do
  local held = call('HGET', members, ARGV[i])
  if type(held) == 'table' then return held end
  local reply = {}
  if i > last then
    if held then
      call('HDEL', members, ARGV[i])
      reply = count(held, -1)
    end
    i = i + 1
  else
    local set = call('HSET', members, ARGV[i], ARGV[i + 1])
    if type(set) == 'table' then return set end
    if held ~= ARGV[i + 1] then
      if held then reply = count(held, -1) end
      if not reply.err then reply = count(ARGV[i + 1], 1) end
    end
    i = i + 2
  end
  if reply.err then return reply end
end
call('EXPIRE', members, ttl)
call('EXPIRE', counts, ttl)
return call('HLEN', members)
