-- The operations of a store, each run by Redis as one: nothing else happens meanwhile.
--
-- KEYS[1]  the prefix of every key; its {braces} keep all of them together in a cluster
-- ARGV     the operation, the limits (JSON), who calls, the time (integer milliseconds, like all times here), and what
--          the operation takes
--
-- Keys, each after the prefix:
--   numbered, named   sorted sets of live rooms, by when they are over
--   cooling           sorted set of the others, by when they are forgotten
--   room:NAME         hash: opened, crowded, reason; and for each side S (0, 1) Sdigest, Sseen, Slast, Sread,
--                     Scount and Ssize (messages in its mailbox, and their bytes)
--   mail:NAME:S       stream, the mailbox of a side: entry N has the id N-0, and a field `body` or `notice`
--   size              hash: bytes of messages, by room
--   total             bytes of all messages
--   changed           channel, told "CALLER ROOM"
--
-- Which rooms there are is what the sorted sets say. They and all else expire by themselves, long after everything in
-- them is over, when no server is there any more to forget it: the sets first, so that they never name what is gone.
--
-- Answers {"ok", ...}, or {kind of refusal, reason or limit}.

local prefix = KEYS[1]
local limits = cjson.decode(ARGV[2])
local caller = ARGV[3]
local now = tonumber(ARGV[4])
local last_will = limits.ttl + limits.cooldown + 24 * 3600 * 1000

local function key(...)
  return prefix .. ':' .. table.concat({...}, ':')
end

local numbered, named, cooling = key('numbered'), key('named'), key('cooling')
local sizes, total = key('size'), key('total')

local function is_numbered(name)
  return #name < limits.name_length
end

local function live_set(name)
  return is_numbered(name) and numbered or named
end

local function room_count()
  return redis.call('ZCARD', numbered) + redis.call('ZCARD', named) + redis.call('ZCARD', cooling)
end

local function byte_count()
  return tonumber(redis.call('GET', total) or '0')
end

local function get(name, field)
  return redis.call('HGET', key('room', name), field)
end

local function get_number(name, field)
  return tonumber(get(name, field) or '0')
end

local function set(name, ...)
  redis.call('HSET', key('room', name), ...)
end

local function mailbox(name, side)
  return key('mail', name, side)
end

-- Keep books of the messages in a mailbox.
local function add_load(name, side, count, size)
  if count == 0 then
    return
  end
  redis.call('HINCRBY', key('room', name), side .. 'count', count)
  redis.call('HINCRBY', key('room', name), side .. 'size', size)
  redis.call('HINCRBY', sizes, name, size)
  redis.call('INCRBY', total, size)
end

local function forget_content(name)
  local size = redis.call('HGET', sizes, name)
  if size then
    redis.call('DECRBY', total, size)
    redis.call('HDEL', sizes, name)
  end
  redis.call('DEL', key('room', name), mailbox(name, 0), mailbox(name, 1))
end

-- Forget all of a room but why it was burnt, if it was.
local function cool(name, at, reason)
  forget_content(name)
  redis.call('ZREM', live_set(name), name)
  redis.call('ZADD', cooling, at + limits.cooldown, name)
  if reason then
    set(name, 'reason', reason)
    redis.call('PEXPIRE', key('room', name), 2 * last_will)
  end
end

-- Find a room as it has become by now: 'live', 'cooling', or nil.
local function settled(name)
  local due = redis.call('ZSCORE', live_set(name), name)
  if due then
    if now < tonumber(due) then
      return 'live'
    end
    if not is_numbered(name) then
      forget_content(name)
      redis.call('ZREM', named, name)
      return nil
    end
    cool(name, tonumber(due))
  end
  due = redis.call('ZSCORE', cooling, name)
  if due and now < tonumber(due) then
    return 'cooling'
  end
  if due then
    forget_content(name)
    redis.call('ZREM', cooling, name)
  end
  return nil
end

-- Forget the first that are over; tell how many there were.
local function sweep()
  local seen = 0
  for _, set_of_rooms in ipairs({numbered, named, cooling}) do
    local due = redis.call('ZRANGEBYSCORE', set_of_rooms, '-inf', now, 'LIMIT', 0, limits.sweep_size)
    for _, name in ipairs(due) do
      settled(name)
    end
    seen = math.max(seen, #due)
  end
  return seen
end

-- Tell whether two digests are the same, so that the time it takes says nothing about them: what is compared is a hash
-- with a key that nobody knows: each process draws who it is at random.
local function is_same(known, digest)
  if not known then
    return false
  end
  return redis.sha1hex(caller .. known) == redis.sha1hex(caller .. digest)
end

local function find(name, digest)
  local found = nil
  for side = 0, 1 do
    if is_same(get(name, side .. 'digest'), digest) then
      found = side
    end
  end
  return found
end

-- Forget the entries of a mailbox of which `is_gone(id, field, value)`.
local function trim(name, side, is_gone)
  local count, size = 0, 0
  for _, entry in ipairs(redis.call('XRANGE', mailbox(name, side), '-', '+')) do
    local fields = entry[2]
    if is_gone(entry[1], fields[1], fields[2]) then
      redis.call('XDEL', mailbox(name, side), entry[1])
      if fields[1] == 'body' then
        count, size = count + 1, size + #fields[2]
      end
    end
  end
  add_load(name, side, -count, -size)
end

local function forget_messages(name, side)
  trim(name, side, function(_, field) return field == 'body' end)
end

local function put(name, side, field, value)
  local sequence = redis.call('HINCRBY', key('room', name), side .. 'last', 1)
  redis.call('XADD', mailbox(name, side), sequence .. '-0', field, value)
  redis.call('PEXPIRE', mailbox(name, side), 2 * last_will)
  if field == 'body' then
    add_load(name, side, 1, #value)
  end
  return sequence
end

local function put_message(name, side, message)
  if #message > 0 then
    put(name, side, 'body', message)
  end
end

-- Add a notice in place of an older one of the same kind.
local function notice(name, side, value)
  trim(name, side, function(_, field, old) return field == 'notice' and old == value end)
  put(name, side, 'notice', value)
end

-- Note a sign of life.
local function touch(name, side)
  set(name, side .. 'seen', now)
  local due = now + limits.ttl
  if is_numbered(name) then
    due = math.min(due, get_number(name, 'opened') + limits.lifetime)
  end
  redis.call('ZADD', live_set(name), due, name)
  for _, each in ipairs({key('room', name), mailbox(name, 0), mailbox(name, 1)}) do
    redis.call('PEXPIRE', each, 2 * last_will)
  end
end

local function entries(name, side, after)
  local found = {}
  for _, entry in ipairs(redis.call('XRANGE', mailbox(name, side), string.format('%.0f-0', after + 1), '+')) do
    found[#found + 1] = {string.match(entry[1], '^%d+'), entry[2][1], entry[2][2]}
  end
  return found
end

-- End the operation with a kind of refusal, and its reason or limit. What was done before stays done.
local function refuse(...)
  error({refused = {...}})
end

local function tell(name)
  redis.call('PUBLISH', key('changed'), caller .. ' ' .. name)
end

-- Find a live room; in a named one forget the sides that have been silent.
local function check_live(name)
  local state = settled(name)
  local reason = state == 'cooling' and get(name, 'reason')
  if reason then
    refuse('burnt', reason)
  elseif state ~= 'live' then
    refuse('unknown')
  end
  if is_numbered(name) then
    return
  end
  for side = 0, 1 do
    if get(name, side .. 'digest') and get_number(name, side .. 'seen') + limits.ttl <= now then
      redis.call('HDEL', key('room', name), side .. 'digest', side .. 'read')
      forget_messages(name, 1 - side)
    end
  end
end

-- Find the side of a live room that a token is.
local function side_of(name, digest)
  check_live(name)
  return find(name, digest) or refuse('unauthorized')
end

-- Notice a third one.
local function crowd(name)
  if redis.call('HSETNX', key('room', name), 'crowded', 1) == 1 then
    notice(name, 0, 'crowded')
    notice(name, 1, 'crowded')
    tell(name)
  end
  refuse('crowded')
end

local function check_rooms()
  sweep()
  if room_count() >= limits.rooms then
    refuse('full', 'rooms')
  end
end

local function check_bytes(size)
  if byte_count() + size > limits.bytes then
    refuse('full', 'bytes')
  end
end

-- Tell how many bytes one mailbox may hold, as RoomLimits.share does.
local function share()
  if limits.crowd == 0 then
    return limits.side_bytes
  end
  local left = math.floor((limits.bytes - byte_count()) / limits.crowd)
  return math.min(limits.side_bytes, math.max(limits.message_bytes, left))
end

-- Tell which limit one more message in a mailbox would break.
local function shortage(name, side, size)
  if get_number(name, side .. 'count') >= limits.messages then
    return 'messages'
  elseif get_number(name, side .. 'size') + size > share() then
    return 'side-bytes'
  elseif byte_count() + size > limits.bytes then
    return 'bytes'
  end
  return nil
end

local operations = {}

function operations.claim(digest, ...)
  check_rooms()
  local span = math.max(limits.fewest_numbers, limits.numbers_per_room * room_count())
  for _, draw in ipairs({...}) do
    local name = string.format('%.0f', 1 + tonumber(draw) % span)
    if not settled(name) then
      set(name, 'opened', now, '0digest', digest)
      touch(name, 0)
      return {'ok', name}
    end
  end
  return {'ok'}
end

function operations.join(name, digest, message)
  check_live(name)
  local known = find(name, digest)
  if known == 0 then
    refuse('unauthorized')
  elseif known == 1 then
    touch(name, 1)
    return {'ok', entries(name, 1, 0)}
  elseif get(name, '1digest') then
    crowd(name)
  end
  check_bytes(#message)
  set(name, '1digest', digest)
  notice(name, 0, 'joined')
  put_message(name, 0, message)
  touch(name, 1)
  tell(name)
  return {'ok', entries(name, 1, 0)}
end

function operations.enter(name, digest, message)
  if settled(name) then
    check_live(name)
  else
    check_rooms()
  end
  local known = find(name, digest)
  local side = known or not get(name, '0digest') and 0 or not get(name, '1digest') and 1 or crowd(name)
  local other = 1 - side
  check_bytes(#message - get_number(name, other .. 'size'))
  forget_messages(name, other)
  if not known and get(name, other .. 'digest') then
    notice(name, other, 'joined')
  end
  set(name, side .. 'digest', digest, side .. 'read', 0)
  put_message(name, other, message)
  touch(name, side)
  tell(name)
  return {'ok', entries(name, side, 0)}
end

function operations.post(name, digest, message)
  local side = side_of(name, digest)
  local other = 1 - side
  if shortage(name, other, #message) then
    local read = get_number(name, other .. 'read')
    trim(name, other, function(id) return tonumber(string.match(id, '^%d+')) <= read end)
    local limit = shortage(name, other, #message)
    if limit then
      refuse('full', limit)
    end
  end
  local sequence = put(name, other, 'body', message)
  touch(name, side)
  tell(name)
  return {'ok', sequence}
end

function operations.read(name, digest, after)
  local side = side_of(name, digest)
  after = tonumber(after)
  local read = math.min(after, get_number(name, side .. 'last'))
  if read > get_number(name, side .. 'read') then
    set(name, side .. 'read', read)
  end
  touch(name, side)
  return {'ok', entries(name, side, after)}
end

function operations.touch(name, digest)
  touch(name, side_of(name, digest))
  return {'ok'}
end

function operations.burn(name, digest, reason)
  side_of(name, digest)
  cool(name, now, reason)
  tell(name)
  return {'ok'}
end

function operations.tally()
  local cards = {redis.call('ZCARD', numbered), redis.call('ZCARD', named), redis.call('ZCARD', cooling)}
  return {'ok', cards[1], cards[2], cards[3], byte_count()}
end

function operations.sweep()
  for _, name in ipairs({numbered, named, cooling, sizes, total}) do
    redis.call('PEXPIRE', name, last_will)
  end
  return {'ok', sweep()}
end

local is_done, answer = pcall(operations[ARGV[1]], unpack(ARGV, 5))
if is_done then
  return answer
end
if type(answer) == 'table' and answer.refused then
  return answer.refused
end
error(answer, 0)
