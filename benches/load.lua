-- The requests of scripts/bench, for wrk:
--
--   wrk --script benches/load.lua URL -- WORK CODES TOKENS [ARGUMENT]
--
-- WORK is patch, patch-one, get, resolve, rent or path. CODES is the number of short codes. Short code n belongs
-- to partner n modulo the number of partners; line n of the file TOKENS is the token of partner n.
-- Both start at 0. ARGUMENT is the number of the one short code (patch-one), or the path.

local SHORT_CODES = "/core/v2/phonenumber/short_codes/00000000-0000-7000-8000-"
local RESOLVE = "/core/v2/phonenumber/resolve"
local DIDS = "/core/v2/phonenumber/dids"
local CHANGES = '{"attributes":{"limits":{"day":%d}},"name":"Name %08d"}'

local codes, heads, count
local rented = {}
local works = {}

local function head_of(host, token)
  return " HTTP/1.1\r\nHost: " .. host .. "\r\nAuthorization: Bearer " .. token .. "\r\n"
end

local function patch(number)
  -- A name that the short code does not have yet, so that the write is a change.
  count = (count + 1) % 100000000
  local body = CHANGES:format(math.random(999), count)
  return ("PATCH %s%012d"):format(SHORT_CODES, number) .. heads[number % #heads + 1]
    .. "Content-Type: application/json\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body
end

function works.patch()
  return function() return patch(math.random(codes) - 1) end
end

function works.get()
  return function()
    local number = math.random(codes) - 1
    return ("GET %s%012d"):format(SHORT_CODES, number) .. heads[number % #heads + 1] .. "\r\n"
  end
end

-- Each short code has a phone number, whose digits follow from its own.
function works.resolve()
  return function()
    local number = math.random(codes) - 1
    return ("GET %s?number=1201%07d"):format(RESOLVE, number) .. heads[number % #heads + 1] .. "\r\n"
  end
end

-- Rents the first available number of one partner, or releases a number that was rented.
function works.rent()
  function response(status, _, body)
    if status == 200 then rented[#rented + 1] = body:match('"did_sid":"([^"]+)"') end
  end
  return function()
    local sid = table.remove(rented)
    if sid then return ("DELETE %s/%s"):format(DIDS, sid) .. heads[1] .. "\r\n" end
    return "POST " .. DIDS .. heads[1]
      .. "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
  end
end

works["patch-one"] = function(number)
  return function() return patch(tonumber(number)) end
end

function works.path(path)
  local whole = "GET " .. path .. heads[1] .. "\r\n"
  return function() return whole end
end

function init(arguments)
  codes, heads = tonumber(arguments[2]), {}
  for token in io.lines(arguments[3]) do
    heads[#heads + 1] = head_of(wrk.host .. ":" .. wrk.port, token)
  end
  math.randomseed(os.time())
  count = math.random(99999999)
  request = works[arguments[1]](arguments[4])
end

-- Prints the results as the last line, in JSON.
function done(summary, latency)
  local errors = summary.errors
  local milliseconds = function(percentile) return latency:percentile(percentile) / 1000 end
  local broken = errors.connect + errors.read + errors.write + errors.timeout
  local result = '{"answers":%d,"seconds":%f,"rejected":%d,"broken":%d,'
    .. '"p50":%f,"p99":%f,"max":%f}'
  print(result:format(
    summary.requests, summary.duration / 1e6, errors.status, broken,
    milliseconds(50), milliseconds(99), latency.max / 1000))
end
