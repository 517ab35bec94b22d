-- Who may go on, what time it is, and how values are packed. Followed by reads.lua or writes.lua.
--
-- KEYS: the map, the bindings in order, the leases by expiry, the journal: all of one account, in one slot. What needs
-- the map alone is given no other.
-- ARGV: the generation that the asker knows ('' for none), the operation, its arguments.
-- The reply is the generation and the answer; or, without a RECORD byte, one word that says why there is none.

local map, order, expiries, diary = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local FIELD, NONE, RECORD = '\255', '\254', '\253' -- bytes that no UTF-8 text has
local SCHEMA = '1'
local OWNED = {'x', 'e', 'p'} -- the external id, the email and the profile id, as they stand in a binding
local VERIFIED_AT, VERSION = 5, 6

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

-- The key of the binding that an identifier belongs to, and since when it is retired from it ('' while it is current).
local function parse_place(place)
  return string.match(place, '^(%d+)\255?(%d*)$')
end

local function owned(binding)
  local identifiers = {}
  for each, kind in ipairs(OWNED) do
    if binding[each] ~= NONE then identifiers[#identifiers + 1] = kind .. binding[each] end
  end
  return identifiers
end

local function by_number(one, other)
  return tonumber(one) < tonumber(other)
end
