-- Notes that a node lives, and what it says of itself; and reads this of all nodes.
--
-- KEYS: the nodes: a hash of their names, each with the milliseconds of its last beat, a space, and its
--   record.
-- ARGV: the node's name and record; milliseconds without a beat after which a node is dead, and after
--   which it is forgotten; nodes that are kept, at most.
-- Returns the milliseconds since this node's last beat (-1: none is known), then of every other node
--   its name, the milliseconds since its last beat, and its record; or an error.
local call = redis.pcall
local node, record = ARGV[1], ARGV[2]
local dead_ms, forgotten_ms, most = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local held = call('HGETALL', KEYS[1])
if held.err then return held end
local replies, gone, dead = { -1 }, {}, {}
for i = 1, #held, 2 do
  local space = string.find(held[i + 1], ' ', 1, true) or 1
  local age = math.max(now - (tonumber(string.sub(held[i + 1], 1, space - 1)) or 0), 0)
  if held[i] == node then
    replies[1] = age
  elseif age >= forgotten_ms then
    gone[#gone + 1] = held[i]
  else
    if age >= dead_ms then dead[#dead + 1] = held[i] end
    replies[#replies + 1] = held[i]
    replies[#replies + 1] = age
    replies[#replies + 1] = string.sub(held[i + 1], space + 1)
  end
end
local rest = #held / 2 - #gone
if replies[1] < 0 and rest >= most then
  for i = 1, #dead do gone[#gone + 1] = dead[i] end
  if rest - #dead >= most then return redis.error_reply('ERR too many nodes') end
end
for i = 1, #gone do call('HDEL', KEYS[1], gone[i]) end
local set = call('HSET', KEYS[1], node, string.format('%.0f', now) .. ' ' .. record)
if type(set) == 'table' then return set end
call('PEXPIRE', KEYS[1], forgotten_ms)
return replies
