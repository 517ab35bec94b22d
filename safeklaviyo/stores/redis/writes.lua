-- The operations that write. Their steps are those of safeklaviyo/stores/semantics.py, which says why each stands where
-- it does.

-- A key of another type fails here, before the script has written anything: Redis would not undo the writes.
for _, key in ipairs({order, expiries, journal}) do redis.call('ZCARD', key) end

local operations = {}

local function set(...)
  redis.call('HSET', map, ...)
end

local function forget(...)
  redis.call('HDEL', map, ...)
end

-- Make the map, if there is none. Only called before a write, so that a map always has its schema and generation.
local function begin()
  if generation == '' then
    generation = whole(now)
    set('@schema', SCHEMA, '@generation', generation)
  end
end

-- Return a number higher than all before it. It is not below the time either, so that a server that goes on from an
-- older copy of the map, and with it an older @serial, gives no number twice.
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

-- The binding that an identifier belongs to, current or retired.
local function any_owner_of(identifier)
  local packed = get('i' .. identifier)
  if packed then return parse_owner(packed) end
end

-- The binding on which an identifier is current.
local function owner_of(identifier)
  local key, retired_at = any_owner_of(identifier)
  return retired_at == '' and key or nil
end

-- The identifiers that are retired from a binding. Its list may name some that have another owner by now.
local function retired_from(key)
  local former = {}
  for _, identifier in ipairs(list(get('f' .. key) or '')) do
    local owner, retired_at = any_owner_of(identifier)
    if owner == key and retired_at ~= '' then former[identifier] = retired_at end
  end
  return former
end

-- Retire identifiers from a binding, except those that are current somewhere.
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
local function save_current(key, binding)
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

-- Remove a binding and its current and retired identifiers; return these, with the times of retirement.
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

-- Whether a token is given and no longer valid: its lease was released, or another call took it over.
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
  -- An expired lease is handed over with its own identifiers and intent, the lowest token first (H6).
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

-- The binding that has the same external id and the same email, if there is one.
local function same_pair(wanted)
  for each = 1, 2 do
    local key = wanted[each] ~= NONE and owner_of(OWNED[each] .. wanted[each])
    local current = key and binding_of(key)
    if current and current[1] == wanted[1] and current[2] == wanted[2] then return key, current end
  end
end

-- Add to the numbers of the journal's rows about a binding, by which the rows are found.
local function note_rows(key, numbers)
  local noted = get('j' .. key)
  set('j' .. key, noted and noted .. FIELD .. numbers or numbers)
end

local function write_down(row)
  local number = serial()
  redis.call('ZADD', journal, number, number .. FIELD .. row)
  return number
end

-- Change the journal's rows about one binding into rows about another, its heir.
local function inherit(key, heir)
  local numbers = get('j' .. key)
  if not numbers then return end
  for _, number in ipairs(split(numbers)) do
    local row = redis.call('ZRANGEBYSCORE', journal, number, number)[1]
    local parts = split(row)
    parts[3] = heir
    redis.call('ZREM', journal, row)
    redis.call('ZADD', journal, number, table.concat(parts, FIELD))
  end
  note_rows(heir, numbers)
  forget('j' .. key)
end

-- Make a change that passed all checks. The order is that of `_carry_out` in semantics.py.
local function carry_out(key, wanted, before, absorb, further)
  local former, absorbed = {}, {}
  for _, other in ipairs(absorb) do
    if other ~= key then absorbed[#absorbed + 1] = other end
  end
  for _, other in ipairs(absorbed) do
    for identifier, retired_at in pairs(dissolve(other)) do former[identifier] = retired_at end
  end
  if before then
    for _, identifier in ipairs(owned(before)) do
      forget('i' .. identifier)
      -- Not a profile id: a former one must not lead to this customer.
      if string.sub(identifier, 1, 1) ~= 'p' then former[identifier] = whole(now) end
    end
  end
  for _, identifier in ipairs(further) do former[identifier] = whole(now) end
  key = save_current(key, wanted)
  for _, other in ipairs(absorbed) do inherit(other, key) end
  retire(key, former)
  return key
end

function operations.bind()
  local token, verified, key, version, wanted = ARGV[3], ARGV[4], ARGV[5], ARGV[6], split(ARGV[7])
  local further, absorb, entry = list(ARGV[8]), list(ARGV[9]), ARGV[10]
  if is_fenced(token) then return 'fenced' end
  local current, current_key = nil, key
  if key == '' then
    current_key, current = same_pair(wanted)
    if current then return outcome('stale', current_key, current) end
  else
    current = binding_of(key)
    if not current or current[VERSION] ~= version then return outcome('stale', key, current) end
  end
  local is_own = {[key] = true}
  for _, other in ipairs(absorb) do is_own[other] = true end
  for _, identifier in ipairs(owned(wanted)) do
    local other = owner_of(identifier)
    if other and not is_own[other] then return outcome('conflict', other, binding_of(other)) end
  end
  wanted[VERSION] = current and whole(tonumber(version) + 1) or '1'
  if verified == '1' then wanted[VERIFIED_AT] = string.format('%.6f', now / 1000000) end
  key = carry_out(key, wanted, current, absorb, further)
  if token ~= '' then revoke(token) end
  if entry ~= '' then note_rows(key, write_down(table.concat({whole(now), key, wanted[3], wanted[1], entry}, FIELD))) end
  return outcome('bound', key, wanted)
end

-- The binding, its missing values filled in from the row, and whether there were any; nil if the row contradicts it.
local function completed(current, row)
  local result, is_new = {unpack(current)}, false
  for each = 1, 4 do
    if row[each] ~= NONE and row[each] ~= current[each] then
      if current[each] ~= NONE then return nil end
      result[each] = row[each]
      is_new = true
    end
  end
  return result, is_new
end

-- What rows that are added find in the map, read for all of them at once, and what they change in it, written at once:
-- most of the time of a script is that of its commands. `owners` and `tokens` have an entry for each identifier that was
-- asked for; what a row changes, later rows see there. `next` is the number for the next new binding.
local adding

-- The values of fields that begin with a letter, by what comes after it.
local function read_all(letter, names)
  local values = {}
  for first = 1, #names, 500 do
    local fields, last = {}, math.min(first + 499, #names)
    for each = first, last do fields[#fields + 1] = letter .. names[each] end
    for at, value in ipairs(redis.call('HMGET', map, unpack(fields))) do values[names[first + at - 1]] = value end
  end
  return values
end

local function begin_adding(rows)
  local names = {}
  for _, row in ipairs(rows) do
    for _, identifier in ipairs(owned(row)) do names[#names + 1] = identifier end
  end
  adding = {
    owners = read_all('i', names), bindings = {}, fields = {}, keys = {},
    -- Without a lease in the account there is none to look for.
    tokens = redis.call('EXISTS', expiries) == 1 and read_all('c', names) or nil,
    next = math.max(tonumber(get('@serial') or '0') + 1, now),
  }
end

-- The binding on which an identifier is current: as `owner_of`.
local function added_owner_of(identifier)
  local packed = adding.owners[identifier]
  if not packed then return nil end
  local key, retired_at = parse_owner(packed)
  return retired_at == '' and key or nil
end

-- Whether a lease covers an identifier. A binding that is filled in may have some that no row names.
local function is_covered(identifier)
  if not adding.tokens then return false end
  local token = adding.tokens[identifier]
  if token == nil then token = get('c' .. identifier) end
  return token
end

-- Write what the rows so far have changed; first the number given last, which must never be given again.
local function flush()
  if #adding.keys > 0 then
    begin()
    set('@serial', whole(adding.next - 1))
    redis.call('ZADD', order, unpack(adding.keys))
  end
  if #adding.fields > 0 then set(unpack(adding.fields)) end
  adding.keys, adding.fields = {}, {}
end

local function save_added(key, binding)
  local fields, keys = adding.fields, adding.keys
  if not key then
    key = whole(adding.next)
    adding.next = adding.next + 1
    keys[#keys + 1], keys[#keys + 2] = key, key
  end
  adding.bindings[key] = binding
  fields[#fields + 1] = 'b' .. key
  fields[#fields + 1] = table.concat(binding, FIELD)
  for _, identifier in ipairs(owned(binding)) do
    adding.owners[identifier] = key
    fields[#fields + 1] = 'i' .. identifier
    fields[#fields + 1] = key
  end
  -- Whole rows only, so that a binding is never there without its identifiers.
  if #fields > 1000 then flush() end
end

local function add(row)
  local key = nil
  local identifiers = owned(row)
  for _, identifier in ipairs(identifiers) do
    local owner = added_owner_of(identifier)
    if owner and key and owner ~= key then return 'c' end
    key = key or owner
  end
  local result, is_new = row, true
  if key then
    result, is_new = completed(adding.bindings[key] or binding_of(key), row)
    if not result then return 'c' end
    if not is_new then return 'u' end
    identifiers = owned(result)
  end
  -- A lease means that a call is writing about this customer; an import must not change what that call relies on.
  for _, identifier in ipairs(identifiers) do
    if is_covered(identifier) then return 'c' end
  end
  result[VERIFIED_AT] = row[VERIFIED_AT]
  result[VERSION] = whole(tonumber(result[VERSION] or '0') + 1)
  save_added(key, result)
  return 'a'
end

function operations.add()
  local rows, statuses = {}, {}
  for each = 3, #ARGV do rows[each - 2] = split(ARGV[each]) end
  begin_adding(rows)
  for each, row in ipairs(rows) do statuses[each] = add(row) end
  flush()
  return table.concat(statuses)
end

function operations.remove()
  local key = owner_of(ARGV[3])
  if not key or is_fenced(ARGV[4]) then return '0' end
  dissolve(key)
  return '1'
end

function operations.release_identifier()
  local key, retired_at = any_owner_of(ARGV[3])
  if not key or retired_at == '' then return '0' end
  forget('i' .. ARGV[3])
  return '1'
end

-- Collected for each binding first, so that its list of retired identifiers is written once. `seen` has the identifiers
-- that earlier rows of this call retire.
function operations.restore()
  local former, seen, restored = {}, {}, 0
  for each = 3, #ARGV do
    local owner, identifier, retired_at = unpack(split(ARGV[each]))
    local key = owner_of(owner)
    if key and not seen[identifier] and not any_owner_of(identifier) then
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
    for _, row in ipairs(redis.call('ZRANGEBYSCORE', journal, number, number)) do
      rows[string.sub(row, #number + 2)] = true
    end
  end
  return rows
end

-- Copy a row of another map's journal; return its number, or nil if the journal has the row already.
local function restore_row(key, at, rest, rows)
  local row = table.concat({at, key, rest}, FIELD)
  if rows[row] then return nil end
  rows[row] = true
  local number = write_down(row)
  -- The other map's clock was ahead, so this row's number is below its time: see `journal` in reads.lua.
  if tonumber(at) > tonumber(number) and not get('@ahead') then set('@ahead', number) end
  return number
end

function operations.restore_journal()
  local written, numbers, restored = {}, {}, 0
  for each = 3, #ARGV do
    local names, at, rest = string.match(ARGV[each], '^([^\253]*)\253([^\253]*)\253(.*)$')
    local key = owner_of_all(list(names))
    if key then
      written[key] = written[key] or rows_about(key)
      local number = restore_row(key, at, rest, written[key])
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
  for _, number in ipairs(numbers) do redis.call('ZREMRANGEBYSCORE', journal, number, number) end
  forget('j' .. ARGV[3])
  return tostring(#numbers)
end

function operations.remember()
  local name, value = ARGV[3], ARGV[4]
  if is_fenced(ARGV[5]) or (ARGV[6] == '1' and get('n' .. name)) then return '0' end
  if value == NONE then
    forget('n' .. name)
  else
    begin()
    set('n' .. name, value)
  end
  return '1'
end

local answer = operations[ARGV[2]]() -- not in the line below: the operation may make the map and set the generation
return generation .. RECORD .. answer
