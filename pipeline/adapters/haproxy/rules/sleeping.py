"""Requests to an environment that sleeps: they wake it and wait in the proxy.

``active.map`` then has the value ``sleep-50000`` instead of a slot: for how many milliseconds a request may wait. An
action in Lua tells the service, over a socket in the proxy's folder, and holds the request until the map names a slot;
nothing of its body is read meanwhile. A browser gets a page after ``PATIENCE``, which loads itself again. If the
service does not answer on its socket, all of them get a 503 at once that says so.
"""

from __future__ import annotations

from pipeline.adapters.haproxy.waiting import BACKEND as COUNTED
from pipeline.adapters.haproxy.waiting import LONGEST, loaded

SOCKET = "wake.sock"  # in the proxy's folder; the service listens there
FILE = "wake.lua"
BACKEND = "asleep"
PATIENCE = 3.0  # seconds
_CAN = "can-sleep"  # a backend that is there only if requests can wake what sleeps
_PREFIX = "sleep-"

SCRIPT = f"""\
-- Written by Pushlive. Tells the service that a request came for an environment that sleeps, and holds the request.
local active = Map.new("/proxy/active.map", Map._str)
local told = {{}}

local function waits(slot)
  return slot and (slot:sub(1, 6) == "{_PREFIX}" or slot:sub(1, 5) == "wait-")
end

local function tell(environment)
  local socket = core.tcp()
  socket:settimeout(2)
  if not socket:connect("unix@/proxy/{SOCKET}") then return false end
  socket:send(environment .. "\\n")
  local answer = socket:receive("*l")
  socket:close()
  return answer == "ok"
end

-- One of many requests tells it, twice a second at most.
local function is_told(environment)
  local now = core.now()
  now = now.sec + now.usec / 1000000
  local last = told[environment]
  if last and now >= last and now - last < 0.5 then return true end
  if not tell(environment) then return false end
  told[environment] = now
  return true
end

core.register_action("wake", {{"http-req"}}, function(txn)
  local environment, slot = txn:get_var("txn.env"), txn:get_var("txn.slot")
  local left = tonumber(slot:sub({len(_PREFIX) + 1})) or 0
  if txn:get_var("txn.page") and left > {PATIENCE * 1000:.0f} then left = {PATIENCE * 1000:.0f} end
  local until_told = 0
  while left > 0 and waits(slot) do
    if until_told <= 0 then
      if slot:sub(1, 6) == "{_PREFIX}" and not is_told(environment) then
        txn:set_var("txn.alone", true)
        return
      end
      until_told = 2000
    end
    core.msleep(10)
    left, until_told = left - 10, until_told - 10
    slot = active:lookup(environment)
  end
  if slot then txn:set_var("txn.slot", slot) end
end)
"""

LOAD = loaded(FILE)

# In the public frontends, after the rules of ``waiting``, whose counters it uses. Only a page that was asked for by
# its address can be asked for again.
_ASLEEP = f"{{ var(txn.slot) -m beg {_PREFIX} }}"
RULES = f"""
    http-request track-sc1 var(txn.env) table {COUNTED} if {_ASLEEP}
    http-request set-var(txn.page) bool(true) if {_ASLEEP} {{ method GET }} {{ req.fhdr(accept) -m sub text/html }}
.if feature(LUA)
    http-request lua.wake if {_ASLEEP} {{ sc1_conn_cur({COUNTED}) le {LONGEST} }}
.endif
    http-request set-var(txn.slot) str({BACKEND}) if {_ASLEEP}
    http-request set-var(txn.slot) str({COUNTED}) if {{ var(txn.slot) -m beg wait- }}
""".strip()


def _page(refresh: int, said: str) -> str:
    """A page that loads itself again, as a string of HAProxy's."""
    text = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="{refresh}">'
        '<meta name="viewport" content="width=device-width"><title>%[var(txn.name)]</title>'
        "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:20vh auto;padding:0 1rem}"
        "@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}}</style></head>"
        f"<body><h1>%[var(txn.name)]</h1><p>{said}</p></body></html>"
    )
    return '"' + text.replace('"', '\\"') + '"'


PAGE = _page(2, "It was asleep and is being woken. This page loads itself again.")
AWAY = _page(
    10, "It was asleep, and the service that wakes it does not run. This page tries again by itself."
)

SECTION = f"""\
.if feature(LUA)
backend {_CAN}
.endif

backend {BACKEND}
    acl alone var(txn.alone) -m bool
    acl page var(txn.page) -m bool
    http-request return status 503 content-type "text/html; charset=utf-8" hdr Retry-After 10 hdr Cache-Control no-store lf-string {{away}} if page alone
    http-request return status 503 content-type "text/html; charset=utf-8" hdr Retry-After 2 hdr Cache-Control no-store lf-string {{page}} if page
    http-request return status 503 {{text}} hdr Retry-After 30 lf-string "{{alone}}\\n" if alone
    http-request return status 503 {{text}} {{later}} lf-string "{{sleeps}}\\n"
"""  # noqa: E501

CAN_SLEEP = f"show stat {_CAN} 2 -1"


def value(seconds: float) -> str:
    """What ``active.map`` has meanwhile."""
    return f"{_PREFIX}{seconds * 1000:.0f}"


def is_asleep(value: str) -> bool:
    """From a value of ``active.map``."""
    return value.startswith(_PREFIX)


def can_sleep(answer: str) -> bool:
    """From the answer to ``CAN_SLEEP``."""
    return any(line.startswith(f"{_CAN},") for line in answer.splitlines())
