-- Leaves a message for a node, and rings.
--
-- KEYS: the node's stream of messages; its name is also what is rung.
-- ARGV: entries that it keeps, seconds for which it does after the last, the message.
-- Returns the message's id; or an error.
local id = redis.pcall('XADD', KEYS[1], 'MAXLEN', ARGV[1], '*', 'm', ARGV[3])
if type(id) == 'table' then return id end
redis.pcall('EXPIRE', KEYS[1], ARGV[2])
redis.pcall('PUBLISH', KEYS[1], '')
return id
