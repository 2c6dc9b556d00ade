-- Publishes one item whatever the stream's epoch is, and begins a new one where that may not go on. Or
-- makes sure, without an item, that there is a stream.
--
-- KEYS: the stream; what notes its numbering, beyond its own life; what notes the item's idempotency
--   key, if it has one; what notes the version of the last publication, if the item has one.
-- ARGV: entries that the stream keeps, seconds for which it does (0: for ever), milliseconds for which
--   a key is noted, seconds for which a numbering is, the floor, below which an epoch must not go on;
--   what a new epoch is, if nothing is above it; a position (0-0: none) that the stream has reached
--   before, so that one that has not reached it has lost its end; the block, if there is an item; its
--   version and the epoch of that, if it has one.
-- Returns the id that the item got, `=ID` if its key was carried out before or the last publication has
--   a version that is as new, without an item the stream's last id; or an error. Each call is protected.
local call = redis.pcall
local size, ttl, note_ms, numbering_s = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local floor, candidate, block = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[8]
local version, version_epoch = ARGV[9], ARGV[10]
local stream, numbering = KEYS[1], KEYS[2]
local versions = version and KEYS[#KEYS]
local note = #KEYS > (version and 3 or 2) and KEYS[3]

local function position(id)
  local epoch, offset = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(epoch), tonumber(offset)
end

local done = note and call('GET', note)
if type(done) == 'table' then return done end
if done then return '=' .. done end

local last = '0-0'
local info = call('XINFO', 'STREAM', stream)
local is_there = not info.err
if is_there then
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then last = info[i + 1] end
  end
else
  if not string.find(info.err, 'no such key', 1, true) then return info end
  -- What it kept has expired, and its numbering may not have.
  local noted = call('GET', numbering)
  if type(noted) == 'table' then return noted end
  last = string.match(noted or '', '^%d+%-%d+$') or last
end
local epoch, top = position(last)
local low_epoch, low_offset = position(ARGV[7])
local reached = epoch > low_epoch or epoch == low_epoch and top >= low_offset
local goes_on = last ~= '0-0' and epoch >= floor and reached
if goes_on and is_there and not block then return last end
if version and goes_on then
  -- That of a publication that is not the last any more compares with nothing.
  local noted = call('GET', versions)
  if type(noted) == 'table' then return noted end
  local id, newest, of = string.match(noted or '', '^(%S+) (%d+) (.*)$')
  if id == last and (version_epoch == '' or version_epoch == of) and
    (#version < #newest or #version == #newest and version <= newest) then
    return '=' .. last
  end
end

local keeps = size
if not goes_on then
  -- One that may not go on is below the floor, or not above the position.
  epoch, top = math.max(candidate, floor, low_epoch + 1), 0
  -- What is kept of the epoch before goes with it.
  keeps = math.min(tonumber(size), 1)
end
local id = string.format('%.0f-%.0f', epoch, top + 1)
local reply = call('XADD', stream, 'MAXLEN', keeps, id, 'b', block or '')
if type(reply) == 'table' then return reply end
if not block then
  reply = string.format('%.0f-%.0f', epoch, top)
  call('XTRIM', stream, 'MAXLEN', 0)
  call('XSETID', stream, reply)
end
if ttl ~= '0' then
  call('EXPIRE', stream, ttl)
  -- Whoever only reads does not shorten its life.
  local left_s = block and 0 or call('TTL', numbering)
  call('SET', numbering, reply, 'EX', string.format('%.0f', math.max(left_s, tonumber(numbering_s))))
end
if block then call('PUBLISH', stream, reply .. ' ' .. block) end
if version then call('SET', versions, reply .. ' ' .. version .. ' ' .. version_epoch, 'EX', numbering_s) end
if note and block then call('SET', note, reply, 'PX', note_ms) end
return reply
