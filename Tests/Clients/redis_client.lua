-- lua-redis against the server: CL.THROTTLE until denied, a pipeline of 1000, reconnect after CLIENT KILL.
-- Prints "ok", or the error and exits 1. Usage: lua redis_client.lua PORT. Its keys begin with "lua:".

local redis = require "redis"
redis.commands.throttle = redis.command("CL.THROTTLE")
redis.commands.client = redis.command("CLIENT")

local function check(got, expected, what)
  local function text(value) return type(value) == "table" and table.concat(value, ",") or tostring(value) end
  if text(got) ~= text(expected) then
    io.stderr:write(what, ": got ", text(got), ", expected ", text(expected), "\n")
    os.exit(1)
  end
end

local began = os.time()

-- The last two numbers of a limit are times in seconds, which count down: they may be lower by the number of seconds
-- begun since the program started.
local function check_limit(got, expected, what)
  local passed, shown = os.time() - began, {}
  for i, value in ipairs(got) do
    local missing = expected[i] - value
    local may_be_missing = (i >= 4 and expected[i] > 0) and passed or 0
    shown[i] = (missing >= 0 and missing <= may_be_missing) and expected[i] or value
  end
  check(shown, expected, what)
end

local port = assert(tonumber(arg[1]), "usage: lua redis_client.lua PORT")
local client = redis.connect("127.0.0.1", port)

for i = 0, 4 do
  check_limit(client:throttle("lua:k", 4, 1, 1000), {0, 5, 4 - i, -1, 1000 * (i + 1)}, "call " .. i)
end
check_limit(client:throttle("lua:k", 4, 1, 1000), {1, 5, 0, 1000, 5000}, "denied call")

local replies = client:pipeline(function(p)
  for _ = 1, 1000 do p:throttle("lua:pipe", 1999, 1, 1000) end
end)
check(#replies, 1000, "replies of the pipeline")
for i, reply in ipairs(replies) do
  check_limit(reply, {0, 2000, 2000 - i, -1, 1000 * i}, "pipeline, reply " .. i)
end

local before = client:client("ID")
local killer = redis.connect("127.0.0.1", port)
check(killer:client("KILL", "ID", before), 1, "CLIENT KILL")
-- The library reports the broken connection; the program reconnects.
check(pcall(client.ping, client), false, "a killed connection that answers")
client = redis.connect("127.0.0.1", port)
check_limit(client:throttle("lua:k", 4, 1, 1000), {1, 5, 0, 1000, 5000}, "after CLIENT KILL")
check(client:client("ID") ~= before, true, "a new connection")

local fine, message = pcall(client.throttle, client, "lua:k", 4, 0, 1000)
check(fine, false, "count 0")
check(message:find("ERR zero rates are not supported", 1, true) ~= nil, true, "error")
print("ok")
