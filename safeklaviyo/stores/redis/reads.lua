-- The operations that only read.

local operations = {}

local function prefixed(letter, identifiers)
  local fields = {}
  for each, identifier in ipairs(identifiers) do fields[each] = letter .. identifier end
  return fields
end

-- A hundred fields at a time, because `unpack` fails beyond some thousands.
local function get_all(fields)
  local values = {}
  for first = 1, #fields, 100 do
    local part = redis.call('HMGET', map, unpack(fields, first, math.min(first + 99, #fields)))
    for _, value in ipairs(part) do values[#values + 1] = value end
  end
  return values
end

-- The answer has each binding once. Behind its fields are pairs: the number of an identifier that leads to it, and
-- since when that identifier is retired.
function operations.find()
  local asked, listed, answer = {}, {}, {whole(now), ''}
  for each = 3, #ARGV do asked[each - 2] = ARGV[each] end
  local tokens = get_all(prefixed('c', asked))
  for each, owner in ipairs(get_all(prefixed('i', asked))) do
    if owner then
      local key, retired_at = parse_owner(owner)
      local parts = listed[key]
      if not parts then
        local binding = get('b' .. key)
        parts = {key, binding}
        listed[key] = parts
        answer[#answer + 1] = parts
        -- A lease on any identifier of the binding counts: its holder may be about to change them all (H6).
        for _, token in ipairs(get_all(prefixed('c', owned(split(binding))))) do tokens[#tokens + 1] = token end
      end
      parts[#parts + 1] = each - 1
      parts[#parts + 1] = retired_at
    end
  end
  for each = 3, #answer do answer[each] = table.concat(answer[each], FIELD) end
  local lowest = nil
  for _, token in ipairs(tokens) do
    if token and (not lowest or by_number(token, lowest)) then lowest = token end
  end
  if lowest then answer[2] = lowest .. FIELD .. get('l' .. lowest) end
  return table.concat(answer, RECORD)
end

-- The leases that expire by a time, lowest token first.
local function leases_by(time)
  local tokens = redis.call('ZRANGEBYSCORE', expiries, '-inf', time)
  table.sort(tokens, by_number)
  local leases = {whole(now)}
  for each = 1, math.min(#tokens, tonumber(ARGV[3])) do
    leases[each + 1] = tokens[each] .. FIELD .. get('l' .. tokens[each])
  end
  return table.concat(leases, RECORD)
end

function operations.expired()
  return leases_by(whole(now))
end

function operations.leases()
  return leases_by('+inf')
end

-- A row's number is its time in microseconds or more, so rows written at `since` or later have no lower number, and the
-- reading can begin there. The exception are rows that were copied from a map with its clock ahead: their numbers are
-- below their times. From the first of these on (@ahead) every row is read.
function operations.journal()
  local after, since, limit = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
  local ahead = tonumber(get('@ahead') or since)
  local from, rows, part = math.max(after + 1, math.min(since, ahead)), {}, nil
  repeat
    part = redis.call('ZRANGEBYSCORE', journal, whole(from), '+inf', 'LIMIT', 0, limit)
    for _, row in ipairs(part) do
      local number, at = string.match(row, '^(%d+)\255(%d+)')
      from = tonumber(number) + 1
      if tonumber(at) >= since and #rows < limit then rows[#rows + 1] = row end
    end
  until #part < limit or #rows >= limit
  return table.concat(rows, RECORD)
end

function operations.page()
  local limit = tonumber(ARGV[4])
  local keys = redis.call('ZRANGEBYSCORE', order, '(' .. ARGV[3], '+inf', 'LIMIT', 0, limit + 1)
  local bindings = {#keys > limit and keys[limit] or ''}
  for each = 1, math.min(#keys, limit) do
    bindings[each + 1] = keys[each] .. FIELD .. get('b' .. keys[each])
  end
  return table.concat(bindings, RECORD)
end

function operations.bindings()
  local keys, bindings = {}, {}
  for each = 3, #ARGV do keys[each - 2] = ARGV[each] end
  for each, binding in ipairs(get_all(prefixed('b', keys))) do
    if binding then bindings[#bindings + 1] = keys[each] .. FIELD .. binding end
  end
  return table.concat(bindings, RECORD)
end

-- A binding's list of retired identifiers may name some that have another owner by now; these are left out.
function operations.former()
  local answer = {}
  for each = 3, #ARGV do
    local names = split(get('f' .. ARGV[each]) or '')
    for number, owner in ipairs(get_all(prefixed('i', names))) do
      local key, retired_at = parse_owner(owner or '')
      if key == ARGV[each] and retired_at ~= '' then
        answer[#answer + 1] = table.concat({key, names[number], retired_at}, FIELD)
      end
    end
  end
  return table.concat(answer, RECORD)
end

-- HSCAN, because notes are few among the many fields of the map, and only a note's field begins with 'n'.
function operations.notes()
  local following, fields = unpack(redis.call('HSCAN', map, ARGV[3], 'MATCH', 'n*', 'COUNT', ARGV[4]))
  local answer = {following == '0' and '' or following}
  for each = 1, #fields, 2 do
    answer[#answer + 1] = string.sub(fields[each], 2) .. FIELD .. fields[each + 1]
  end
  return table.concat(answer, RECORD)
end

function operations.count()
  return tostring(redis.call('ZCARD', order))
end

function operations.recall()
  return get('n' .. ARGV[3]) or NONE
end

return generation .. RECORD .. operations[ARGV[2]]()
