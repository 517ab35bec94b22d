-- The operations that write, step by step as `safeklaviyo.stores.semantics` has them.

-- A key of another type stops the script here, before it has written anything: Redis undoes nothing.
for _, key in ipairs({order, expiries, diary}) do redis.call('ZCARD', key) end

local operations = {}

local function set(...)
  redis.call('HSET', map, ...)
end

local function forget(...)
  redis.call('HDEL', map, ...)
end

-- Make the map with what is written to it first.
local function begin()
  if generation == '' then
    generation = whole(now)
    set('@schema', SCHEMA, '@generation', generation)
  end
end

-- Return a number higher than all before it, and than all that a server with an older copy of the map has given.
local function serial()
  begin()
  local number = whole(math.max(tonumber(get('@serial') or '0') + 1, now))
  set('@serial', number)
  return number
end

local function list(packed)
  return packed == '' and {} or split(packed)
end

local function binding_of(key)
  local packed = get('b' .. key)
  return packed and split(packed)
end

local function place_of(identifier)
  local place = get('i' .. identifier)
  if place then return parse_place(place) end
end

local function owner_of(identifier)
  local key, retired_at = place_of(identifier)
  return retired_at == '' and key or nil
end

-- What is retired from a binding. Its list may name what has found another place since.
local function retired_from(key)
  local former = {}
  for _, identifier in ipairs(list(get('f' .. key) or '')) do
    local place, retired_at = place_of(identifier)
    if place == key and retired_at ~= '' then former[identifier] = retired_at end
  end
  return former
end

-- Retire to a binding all that is not current somewhere: ownership beats retirement.
local function retire(key, former)
  local names = {}
  for identifier, retired_at in pairs(former) do
    if not owner_of(identifier) then
      set('i' .. identifier, key .. FIELD .. retired_at)
      names[identifier] = true
    end
  end
  if next(names) == nil then return end
  for identifier in pairs(retired_from(key)) do names[identifier] = true end
  local all = {}
  for identifier in pairs(names) do all[#all + 1] = identifier end
  set('f' .. key, table.concat(all, FIELD))
end

-- Write a binding, and make its identifiers current on it.
local function settle(key, binding)
  if key == '' then
    key = serial()
    redis.call('ZADD', order, key, key)
  end
  local fields = {'b' .. key, table.concat(binding, FIELD)}
  for _, identifier in ipairs(owned(binding)) do
    fields[#fields + 1] = 'i' .. identifier
    fields[#fields + 1] = key
  end
  set(unpack(fields))
  return key
end

-- Remove a binding with all that is or was its, and return that, with the times of retirement.
local function dissolve(key)
  local binding = binding_of(key)
  if not binding then return {} end
  local former = retired_from(key)
  for _, identifier in ipairs(owned(binding)) do former[identifier] = whole(now) end
  for identifier in pairs(former) do forget('i' .. identifier) end
  forget('b' .. key, 'f' .. key)
  redis.call('ZREM', order, key)
  return former
end

local function lease_of(token)
  local packed = get('l' .. token)
  if not packed then return end
  local expires, intent, identifiers = string.match(packed, '^([^\255]*)\255([^\255]*)\255(.*)$')
  return {expires = tonumber(expires), intent = intent, identifiers = identifiers}
end

local function save_lease(token, identifiers, intent, expires)
  local packed = whole(expires) .. FIELD .. intent .. FIELD .. identifiers
  set('l' .. token, packed)
  redis.call('ZADD', expiries, whole(expires), token)
  return token .. FIELD .. packed
end

-- Whether a token is given that is not valid any more.
local function is_fenced(token)
  return token ~= '' and not get('l' .. token)
end

local function grant(identifiers, intent, ttl)
  local token = serial()
  for _, identifier in ipairs(list(identifiers)) do set('c' .. identifier, token) end
  return save_lease(token, identifiers, intent, now + ttl)
end

local function revoke(token)
  for _, identifier in ipairs(list(lease_of(token).identifiers)) do forget('c' .. identifier) end
  forget('l' .. token)
  redis.call('ZREM', expiries, token)
end

local function outcome(status, key, binding)
  return binding and table.concat({status, key .. FIELD .. table.concat(binding, FIELD)}, RECORD) or status
end

function operations.acquire()
  local identifiers, intent, ttl = ARGV[3], ARGV[4], tonumber(ARGV[5])
  local tokens, seen = {}, {}
  for _, identifier in ipairs(list(identifiers)) do
    local token = get('c' .. identifier)
    if token and not seen[token] then
      tokens[#tokens + 1] = token
      seen[token] = true
    end
  end
  table.sort(tokens, by_number)
  for _, token in ipairs(tokens) do
    local lease = lease_of(token)
    if lease.expires <= now then
      revoke(token)
      return table.concat({whole(now), 'taken over', grant(lease.identifiers, lease.intent, ttl)}, RECORD)
    end
  end
  if #tokens > 0 then return '' end
  return table.concat({whole(now), 'new', grant(identifiers, intent, ttl)}, RECORD)
end

function operations.renew()
  local token, ttl, intent = ARGV[3], tonumber(ARGV[4]), ARGV[5]
  local lease = lease_of(token)
  if not lease then return '0' end
  save_lease(token, lease.identifiers, intent == NONE and lease.intent or intent, now + ttl)
  return '1'
end

function operations.release()
  if not lease_of(ARGV[3]) then return '0' end
  revoke(ARGV[3])
  return '1'
end

-- The binding that has the pair already, if there is a pair to speak of.
local function same_pair(wanted)
  for each = 1, 2 do
    local key = wanted[each] ~= NONE and owner_of(OWNED[each] .. wanted[each])
    local stands = key and binding_of(key)
    if stands and stands[1] == wanted[1] and stands[2] == wanted[2] then return key, stands end
  end
end

-- The journal's rows about a binding are found again by their numbers.
local function note_rows(key, numbers)
  local noted = get('j' .. key)
  set('j' .. key, noted and noted .. FIELD .. numbers or numbers)
end

local function write_down(row)
  local number = serial()
  redis.call('ZADD', diary, number, number .. FIELD .. row)
  return number
end

-- Let the rows about one binding become rows about another.
local function inherit(key, heir)
  local numbers = get('j' .. key)
  if not numbers then return end
  for _, number in ipairs(split(numbers)) do
    local row = redis.call('ZRANGEBYSCORE', diary, number, number)[1]
    local parts = split(row)
    parts[3] = heir
    redis.call('ZREM', diary, row)
    redis.call('ZADD', diary, number, table.concat(parts, FIELD))
  end
  note_rows(heir, numbers)
  forget('j' .. key)
end

local function carry_out(key, wanted, stands, absorb, further)
  local former, absorbed = {}, {}
  for _, other in ipairs(absorb) do
    if other ~= key then absorbed[#absorbed + 1] = other end
  end
  for _, other in ipairs(absorbed) do
    for identifier, retired_at in pairs(dissolve(other)) do former[identifier] = retired_at end
  end
  if stands then
    for _, identifier in ipairs(owned(stands)) do
      forget('i' .. identifier)
      if string.sub(identifier, 1, 1) ~= 'p' then former[identifier] = whole(now) end
    end
  end
  for _, identifier in ipairs(further) do former[identifier] = whole(now) end
  key = settle(key, wanted)
  for _, other in ipairs(absorbed) do inherit(other, key) end
  retire(key, former)
  return key
end

function operations.bind()
  local token, verified, key, version, wanted = ARGV[3], ARGV[4], ARGV[5], ARGV[6], split(ARGV[7])
  local further, absorb, entry = list(ARGV[8]), list(ARGV[9]), ARGV[10]
  if is_fenced(token) then return 'fenced' end
  local stands, stands_key = nil, key
  if key == '' then
    stands_key, stands = same_pair(wanted)
    if stands then return outcome('stale', stands_key, stands) end
  else
    stands = binding_of(key)
    if not stands or stands[VERSION] ~= version then return outcome('stale', key, stands) end
  end
  local is_own = {[key] = true}
  for _, other in ipairs(absorb) do is_own[other] = true end
  for _, identifier in ipairs(owned(wanted)) do
    local other = owner_of(identifier)
    if other and not is_own[other] then return outcome('conflict', other, binding_of(other)) end
  end
  wanted[VERSION] = stands and whole(tonumber(version) + 1) or '1'
  if verified == '1' then wanted[VERIFIED_AT] = string.format('%.6f', now / 1000000) end
  key = carry_out(key, wanted, stands, absorb, further)
  if token ~= '' then revoke(token) end
  if entry ~= '' then note_rows(key, write_down(table.concat({whole(now), key, wanted[3], wanted[1], entry}, FIELD))) end
  return outcome('bound', key, wanted)
end

-- What the row would make of the binding that it belongs to, nil where it contradicts it; and whether that is new.
local function completed(stands, row)
  local result, is_new = {unpack(stands)}, false
  for each = 1, 4 do
    if row[each] ~= NONE and row[each] ~= stands[each] then
      if stands[each] ~= NONE then return nil end
      result[each] = row[each]
      is_new = true
    end
  end
  return result, is_new
end

local function add(row)
  local key = nil
  for _, identifier in ipairs(owned(row)) do
    local owner = owner_of(identifier)
    if owner and key and owner ~= key then return 'c' end
    key = key or owner
  end
  local result, is_new = row, true
  if key then
    result, is_new = completed(binding_of(key), row)
    if not result then return 'c' end
    if not is_new then return 'u' end
  end
  for _, identifier in ipairs(owned(result)) do
    if get('c' .. identifier) then return 'c' end
  end
  result[VERIFIED_AT] = row[VERIFIED_AT]
  result[VERSION] = whole(tonumber(result[VERSION] or '0') + 1)
  settle(key or '', result)
  return 'a'
end

function operations.add()
  local statuses = {}
  for each = 3, #ARGV do statuses[each - 2] = add(split(ARGV[each])) end
  return table.concat(statuses)
end

function operations.remove()
  local key = owner_of(ARGV[3])
  if not key or is_fenced(ARGV[4]) then return '0' end
  dissolve(key)
  return '1'
end

function operations.release_identifier()
  local key, retired_at = place_of(ARGV[3])
  if not key or retired_at == '' then return '0' end
  forget('i' .. ARGV[3])
  return '1'
end

function operations.restore()
  local former, seen, restored = {}, {}, 0
  for each = 3, #ARGV do
    local owner, identifier, retired_at = unpack(split(ARGV[each]))
    local key = owner_of(owner)
    if key and not seen[identifier] and not place_of(identifier) then
      former[key] = former[key] or {}
      former[key][identifier] = retired_at
      seen[identifier] = true
      restored = restored + 1
    end
  end
  for key, identifiers in pairs(former) do retire(key, identifiers) end
  return tostring(restored)
end

-- The binding on which all these identifiers are current.
local function owner_of_all(identifiers)
  local key = nil
  for _, identifier in ipairs(identifiers) do
    local owner = owner_of(identifier)
    if not owner or key and owner ~= key then return nil end
    key = owner
  end
  return key
end

-- The journal's rows about a binding, without their numbers.
local function rows_about(key)
  local rows = {}
  for _, number in ipairs(list(get('j' .. key) or '')) do
    for _, row in ipairs(redis.call('ZRANGEBYSCORE', diary, number, number)) do
      rows[string.sub(row, #number + 2)] = true
    end
  end
  return rows
end

-- Write a row of another map down; return its number, nil where that is done already.
local function restore_row(key, at, said, rows)
  local row = table.concat({at, key, said}, FIELD)
  if rows[row] then return nil end
  rows[row] = true
  local number = write_down(row)
  if tonumber(at) > tonumber(number) and not get('@ahead') then set('@ahead', number) end
  return number
end

function operations.restore_journal()
  local known, numbers, restored = {}, {}, 0
  for each = 3, #ARGV do
    local names, at, said = string.match(ARGV[each], '^([^\253]*)\253([^\253]*)\253(.*)$')
    local key = owner_of_all(list(names))
    if key then
      known[key] = known[key] or rows_about(key)
      local number = restore_row(key, at, said, known[key])
      if number then
        numbers[key] = numbers[key] and numbers[key] .. FIELD .. number or number
        restored = restored + 1
      end
    end
  end
  for key, new in pairs(numbers) do note_rows(key, new) end
  return tostring(restored)
end

function operations.forget_journal()
  local numbers = list(get('j' .. ARGV[3]) or '')
  for _, number in ipairs(numbers) do redis.call('ZREMRANGEBYSCORE', diary, number, number) end
  forget('j' .. ARGV[3])
  return tostring(#numbers)
end

function operations.remember()
  local name, value = ARGV[3], ARGV[4]
  if is_fenced(ARGV[5]) then return '0' end
  if value == NONE then
    forget('n' .. name)
  else
    begin()
    set('n' .. name, value)
  end
  return '1'
end

local answer = operations[ARGV[2]]() -- first: it may make the map, and with it the generation
return generation .. RECORD .. answer
