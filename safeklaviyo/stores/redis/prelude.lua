-- The check of the map's generation, the time, and how values are packed. Followed by reads.lua or writes.lua.
--
-- KEYS: the map, the bindings in order, the leases by expiry, the journal: all of one account, in one slot. An
-- operation that needs the map alone gets only that key. ARGV: the generation that the client has seen ('' for none),
-- the operation, its arguments. The reply is the generation, a RECORD byte and the answer; or, without that byte, one
-- word with which it refuses.

local map, order, expiries, journal = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local FIELD, NONE, RECORD = '\255', '\254', '\253' -- bytes that no UTF-8 text has
local SCHEMA = '1'
local OWNED = {'x', 'e', 'p'} -- the external id, the email and the profile id, as they stand in a binding
local VERIFIED_AT, VERSION = 5, 6

-- A map that vanished must not be taken for an empty one (P6), so a client that has seen a map names its generation.
local schema, generation = unpack(redis.call('HMGET', map, '@schema', '@generation'))
if schema == false then
  if redis.call('EXISTS', map) == 1 then return 'foreign' end
  if ARGV[1] ~= '' then return 'gone' end
  generation = ''
elseif schema ~= SCHEMA then
  return 'version'
elseif ARGV[1] ~= '' and ARGV[1] ~= generation then
  return 'replaced'
end

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2] -- microseconds: a whole number that a double holds exactly

local function whole(number)
  return string.format('%.0f', number) -- tostring would round
end

local function split(packed)
  local parts = {}
  for part in string.gmatch(packed .. FIELD, '([^\255]*)\255') do
    parts[#parts + 1] = part
  end
  return parts
end

local function get(field)
  return redis.call('HGET', map, field)
end

-- The owner of an identifier: a binding's key, and since when the identifier is retired from it ('' while it is
-- current).
local function parse_owner(packed)
  return string.match(packed, '^(%d+)\255?(%d*)$')
end

local function owned(binding)
  local identifiers = {}
  for each, kind in ipairs(OWNED) do
    if binding[each] ~= NONE then identifiers[#identifiers + 1] = kind .. binding[each] end
  end
  return identifiers
end

-- As numbers, because as texts '10' comes before '9'.
local function by_number(one, other)
  return tonumber(one) < tonumber(other)
end
