-- The floor of the epochs: one that began before this server's incarnation may have lost its end, and
-- must not go on.
--
-- KEYS: what holds the replication id of the incarnation for which the floor was raised last, and it.
-- ARGV: the replication id of the server that is spoken to, and what the floor becomes if that is
--   another and the floor is not above it.
-- Returns the floor, and 1 if it was raised; or an error.
local held = redis.pcall('GET', KEYS[1])
if type(held) == 'table' then return held end
local incarnation, floor = string.match(held or '', '^(%S+) (%d+)$')
if incarnation == ARGV[1] then return { tonumber(floor), 0 } end
floor = math.max(tonumber(ARGV[2]), (tonumber(floor) or 0) + 1)
local set = redis.pcall('SET', KEYS[1], ARGV[1] .. ' ' .. string.format('%.0f', floor))
if set.err then return set end
return { floor, 1 }
