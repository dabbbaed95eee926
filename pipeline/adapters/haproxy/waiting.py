"""Requests that wait in the proxy while a release is exchanged for another one that must not run beside it.

``active.map`` then has the value ``wait-60000`` instead of a slot: for how many milliseconds a request may wait. An
action in Lua holds the request until the map names a slot; nothing of its body is read meanwhile. An HAProxy that was
built without Lua answers 503 at once.
"""

from __future__ import annotations

LONGEST = 1000  # requests of one environment that wait at once, of 8192 connections for all environments
BACKEND = "waiting"
FILE = "wait.lua"
_CAN = "can-wait"  # a backend that is there only if requests can wait

SCRIPT = """\
-- Written by Pushlive. Holds a request until its environment has a slot that serves.
local active = Map.new("/proxy/active.map", Map._str)

core.register_action("wait", {"http-req"}, function(txn)
  local environment, slot = txn:get_var("txn.env"), txn:get_var("txn.slot")
  local left = tonumber(slot:sub(6)) or 0
  while left > 0 and slot and slot:sub(1, 5) == "wait-" do
    core.msleep(50)
    left = left - 50
    slot = active:lookup(environment)
  end
  if slot then txn:set_var("txn.slot", slot) end
end)
"""


def loaded(file: str) -> str:
    """The lines of ``global`` that load a script, in a HAProxy that has Lua."""
    return f".if feature(LUA)\n    lua-load /proxy/{file}\n.endif\n"


LOAD = loaded(FILE)

# Among the defaults of the public frontends: their rules then see that a client is gone, and it gives its place back.
# HAProxy 2.6 takes it nowhere else. The rest has defaults of its own, where it would do more. They are written out
# twice: with one section that takes over another's (`defaults … from …`), HAProxy 2.6.12 crashed in our tests.
GONE = "option abortonclose"

# In the public frontends, after the slot was read from the map. How many wait is counted, and ends with the client.
RULES = f"""
    http-request track-sc1 var(txn.env) table {BACKEND} if {{ var(txn.slot) -m beg wait- }}
.if feature(LUA)
    http-request lua.wait if {{ var(txn.slot) -m beg wait- }} {{ sc1_conn_cur({BACKEND}) le {LONGEST} }}
.endif
    http-request set-var(txn.slot) str({BACKEND}) if {{ var(txn.slot) -m beg wait- }}
""".strip()

SECTION = f"""\
.if feature(LUA)
backend {_CAN}
.endif

backend {BACKEND}
    stick-table type string len 8 size 2k expire 1d store conn_cur,conn_cnt
    http-request return status 503 {{text}} {{later}} lf-string "{{exchanged}}\\n"
"""

CAN_WAIT = f"show stat {_CAN} 2 -1"


def value(seconds: float) -> str:
    """What ``active.map`` has meanwhile."""
    return f"wait-{seconds * 1000:.0f}"


def can_wait(answer: str) -> bool:
    """From the answer to ``CAN_WAIT``."""
    return any(line.startswith(f"{_CAN},") for line in answer.splitlines())


def counted(answer: str) -> int:
    """How many requests have waited so far, from the answer to ``asked_count``; 0 if none has."""
    fields = dict(field.split("=", 1) for field in answer.split() if "=" in field)
    return int(fields.get("conn_cnt", 0))


def open_now(answer: str) -> int:
    """How many that have waited are still there, from the same answer."""
    fields = dict(field.split("=", 1) for field in answer.split() if "=" in field)
    return int(fields.get("conn_cur", 0))


def asked_count(index: int) -> str:
    """The command that tells how many requests of that environment have waited."""
    return f"show table {BACKEND} key e{index}"
