-- Counts who is in a channel on other nodes.
--
-- KEYS: what counts the members on this node, and on each of the others, as `note.lua` keeps it.
-- Returns how many presence lists there, and how many users these are that this node has not; or an
--   error.
local call = redis.pcall
local clients, users, held, known = 0, 0, {}, {}
for i = 2, #KEYS do
  local here = call('HGET', KEYS[i], 'n')
  if type(here) == 'table' then return here end
  if here then
    clients = clients + tonumber(here)
    held[#held + 1] = KEYS[i]
  end
end
if #held > 0 then
  for _, user in ipairs(call('HKEYS', KEYS[1])) do known[user] = true end
  -- One node has each user once, and "n" besides.
  if next(known) == nil and #held == 1 then return { clients, call('HLEN', held[1]) - 1 } end
end
for i = 1, #held do
  for _, user in ipairs(call('HKEYS', held[i])) do
    if user ~= 'n' and not known[user] then
      known[user] = true
      users = users + 1
    end
  end
end
return { clients, users }
