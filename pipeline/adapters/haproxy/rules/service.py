"""The service itself behind its own proxy: its host leads to the web process as others lead to an environment.

The web process listens on a Unix socket in the proxy's folder, which no one else can reach: what comes over it is from
this proxy, so it is believed what the proxy says of its visitor. Nothing is buffered, and an answer may be silent for
an hour. Each request has a connection of its own, so that none meets one that the service has just closed.

While the service is started again, its requests wait. HAProxy repeats an attempt at a Unix socket without a pause, so a
second attempt goes to HAProxy itself, where an action in Lua holds it until the socket accepts connections.
"""

from __future__ import annotations

from pipeline.adapters.haproxy.waiting import loaded
from pipeline.config.address.public import own_hosts
from pipeline.config.settings import Settings

NAME = "service"  # the backend; in the maps it stands where environments have e3
SOCKET = "web.sock"  # in the proxy's folder; the web process listens there
FILE = "service.lua"
PATIENCE = 30  # seconds that a request waits; a service on a busy machine takes more than ten to start
LONGEST = 1000  # requests that wait at once

SCRIPT = f"""\
-- Written by Pushlive. Holds a request until the service accepts connections.
core.register_action("await_service", {{"http-req"}}, function()
  for _ = 1, {PATIENCE * 10} do
    local socket = core.tcp()
    socket:settimeout(1)
    local there = socket:connect("unix@/proxy/{SOCKET}")
    socket:close()
    if there then return end
    core.msleep(100)
  end
end)
"""

LOAD = loaded(FILE)

SECTION = f"""\
backend {NAME}
    http-request del-header X-Forwarded-For
    http-request set-header X-Pushlive-Visitor %[var(txn.visitor)]
    http-request set-header X-Pushlive-Scheme %[var(txn.scheme)]
    option http-server-close
    retries 1
    retry-on conn-failure
    timeout server 1h
    http-error status 502 {{text}} {{later}} string "{{lost}}\\n"
    http-error status 503 {{text}} {{later}} string "{{not_running}}\\n"
    http-error status 504 {{text}} string "{{late}}\\n"
    use-server web if TRUE
    server web unix@/proxy/{SOCKET} no-check
    server again unix@/proxy/again.sock no-check

frontend again
    bind unix@/proxy/again.sock mode 600{{owner}}
    timeout client 1d
.if feature(LUA)
    http-request lua.await_service if {{{{ fe_conn le {LONGEST} }}}}
.endif
    default_backend again

backend again
    option http-server-close
    option abortonclose
    retries 0
    timeout server 1d
    http-error status 503 {{text}} {{later}} string "{{not_running}}\\n"
    server web unix@/proxy/{SOCKET} no-check
"""


def maps(settings: Settings) -> dict[str, dict[str, str]]:
    """What the maps have for it, beside what is theirs."""
    hosts = own_hosts(settings)
    if not hosts:
        return {}
    return {
        "hosts.map": dict.fromkeys(hosts, NAME),
        "names.map": {NAME: "Pushlive"},
        "active.map": {NAME: NAME},
    }
