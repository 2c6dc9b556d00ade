-- Publishes items, each into the stream of its channel, if that is of the epoch that is wanted.
--
-- KEYS: the stream of each item; what notes the numbering of each stream, beyond its own life; then
--   what notes idempotency keys, for the items that have one.
-- ARGV: entries that a stream keeps, seconds for which it does (0: for ever), milliseconds for which
--   a key is noted, seconds for which a numbering is; then three for each item: `EPOCH-*`, the place in
--   KEYS of its note or "", block.
-- Returns for each item the id that it got, `=ID` if its key was carried out before, nil if there is
--   no stream of that epoch, or an error. An error is the item's own: each call is protected.
local call = redis.pcall
local size, ttl, note_ms, numbering_s = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local replies, items = {}, (#ARGV - 4) / 3
for i = 1, items do
  local at = 3 * i + 2
  local stream, note, block = KEYS[i], KEYS[tonumber(ARGV[at + 1])], ARGV[at + 2]
  local reply = note and call('GET', note)
  if not reply then
    reply = call('XADD', stream, 'NOMKSTREAM', 'MAXLEN', size, ARGV[at], 'b', block)
    if type(reply) == 'table' then
      -- Another epoch, above the wanted one, has begun.
      if string.find(reply.err, 'equal or smaller', 1, true) then reply = false end
    elseif reply and string.sub(reply, -2) == '-0' then
      -- The stream was of an epoch below the wanted one: it has lost that one, whose offsets must not
      -- be given again. It becomes an empty one of an epoch that nobody has seen.
      local epoch = tonumber(string.match(reply, '^%d+')) + 1
      call('XTRIM', stream, 'MAXLEN', 0)
      call('XSETID', stream, string.format('%.0f-0', epoch))
      reply = false
    elseif reply then
      if ttl ~= '0' then
        call('EXPIRE', stream, ttl)
        call('SET', KEYS[items + i], reply, 'EX', numbering_s)
      end
      call('PUBLISH', stream, reply .. ' ' .. block)
      if note then call('SET', note, reply, 'PX', note_ms) end
    end
  elseif type(reply) == 'string' then
    reply = '=' .. reply
  end
  replies[i] = reply
end
return replies
