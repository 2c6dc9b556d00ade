-- Publishes one item whatever the stream's epoch is, and begins a new one where that may not go on. Or
-- makes sure, without an item, that there is a stream.
--
-- KEYS: the stream; what notes the item's idempotency key, if it has one.
-- ARGV: entries that the stream keeps, seconds for which it does (0: for ever), milliseconds for which
--   a key is noted, the floor, below which an epoch must not go on; what a new epoch is, if nothing is
--   above it; a position (0-0: none) that the stream has reached before, so that one that has not
--   reached it has lost its end; the block, if there is an item.
-- Returns the id that the item got, `=ID` if its key was carried out before, without an item the
--   stream's last id; or an error. Each call is protected.
local call = redis.pcall
local size, ttl, note_ms = ARGV[1], ARGV[2], ARGV[3]
local floor, candidate, block = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[7]
local stream, note = KEYS[1], KEYS[2]

local function position(id)
  local epoch, offset = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(epoch), tonumber(offset)
end

local done = note and call('GET', note)
if type(done) == 'table' then return done end
if done then return '=' .. done end

local last = '0-0'
local info = call('XINFO', 'STREAM', stream)
if info.err then
  if not string.find(info.err, 'no such key', 1, true) then return info end
else
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then last = info[i + 1] end
  end
end
local epoch, top = position(last)
local low_epoch, low_offset = position(ARGV[6])
local reached = epoch > low_epoch or epoch == low_epoch and top >= low_offset
local goes_on = not info.err and epoch >= floor and reached
if goes_on and not block then return last end

local id, keeps = string.format('%.0f-*', epoch), size
if not goes_on then
  -- One that may not go on is below the floor, or not above the position.
  epoch = math.max(candidate, floor, low_epoch + 1)
  -- What is kept of the epoch before goes with it.
  id, keeps = string.format('%.0f-1', epoch), math.min(tonumber(size), 1)
end
local reply = call('XADD', stream, 'MAXLEN', keeps, id, 'b', block or '')
if type(reply) == 'table' then return reply end
if not block then
  reply = string.format('%.0f-0', epoch)
  call('XTRIM', stream, 'MAXLEN', 0)
  call('XSETID', stream, reply)
end
if ttl ~= '0' then call('EXPIRE', stream, ttl) end
if block then call('PUBLISH', stream, reply .. ' ' .. block) end
if note and block then call('SET', note, reply, 'PX', note_ms) end
return reply
