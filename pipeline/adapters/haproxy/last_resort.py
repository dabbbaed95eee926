"""Where a slot's requests go once the checks have taken out all of its servers.

The backup server of each backend, ``last``, is HAProxy itself. It tries one of the slot's containers, and another one
if that accepts no connection: each learns its address from the PROXY protocol, as if the client had connected to that,
or from the connection's id. Nothing is checked, and nothing else is repeated.
"""

from __future__ import annotations

LAST = "last"  # the server
SPARE: tuple[str, int] = (
    "127.0.0.1",
    1,
)  # the address of a server without a container: nothing listens there
SOCKETS = ("last.sock", "other.sock")
FRONTENDS = ("last", "other")
_NOWHERE = f"{SPARE[0]}:{SPARE[1]}"

# In the frontends. A slot without containers leads nowhere. 27720 can be divided by every number up to 12. A
# visitor who stays with a container gets that one first, see ``rules.sticky``.
RULES = f"""
    http-request set-var(txn.count) var(txn.slot),map(/proxy/last.map,1)
    http-request set-var(txn.number) rand(27720),mod(txn.count)
    http-request set-var(txn.number) var(txn.stuck),sub(1) if {{ var(txn.stuck) -m found }}
    http-request set-var-fmt(txn.last) %[var(txn.slot)].%[var(txn.number)]
    http-request set-var(txn.number) var(txn.number),add(1),mod(txn.count)
    http-request set-var-fmt(txn.other) %[var(txn.slot)].%[var(txn.number)]
    http-request set-var(txn.last) var(txn.last),map(/proxy/last.map,{_NOWHERE})
    http-request set-var(txn.other) var(txn.other),map(/proxy/last.map,{_NOWHERE})
    http-request set-var(txn.other) str({_NOWHERE}) if {{ var(txn.count) -m str 1 }}
    http-request set-dst var(txn.last),field(1,:)
    http-request set-dst-port var(txn.last),field(2,:)
    unique-id-format %[var(txn.other)]
    http-response set-var-fmt(txn.server) %[bc_dst]:%[bc_dst_port]
    http-response set-var(txn.server) res.hdr(X-Pushlive-Last) if {{ srv_name {LAST} }}
    http-response set-var(txn.own) bool(true) if {{ srv_name {LAST} }} {{ res.hdr(X-Pushlive-Own) -m found }}
""".strip()

# The end of each backend's line for ``last``.
OPTIONS = "send-proxy-v2 proxy-v2-options unique-id"

# How long an answer may take is decided by the backend that leads here, which ends the connection.
# If nothing listens, people get the explained 503 at once. The time is enough for one more attempt by the kernel, after
# a second, at a container whose queue of connections is full. Both servers of ``last`` count as active: beside fewer,
# HAProxy waits a second before it tries another one.
SECTIONS = """\
frontend last
    bind unix@/proxy/last.sock mode 600{owner} accept-proxy
    timeout client 1d
    unique-id-format %[fc_pp_unique_id]
    http-response set-header X-Pushlive-Last %[bc_dst]:%[bc_dst_port] if {{ srv_name any }}
    default_backend last

frontend other
    bind unix@/proxy/other.sock mode 600{owner} accept-proxy
    timeout client 1d
    http-request set-dst fc_pp_unique_id,field(1,:)
    http-request set-dst-port fc_pp_unique_id,field(2,:)
    http-response set-header X-Pushlive-Last %[bc_dst]:%[bc_dst_port]
    default_backend other

backend last
    option http-server-close
    retries 1
    retry-on conn-failure
    timeout connect 2s
    timeout server 1d
    option abortonclose
    # Ours, and no container's: a check must not take it for the application's.
    http-error status 503 {text} {later} hdr X-Pushlive-Own 1 string "{silent}\\n"
    use-server any if TRUE
    server any 0.0.0.0:0 no-check
    server other unix@/proxy/other.sock send-proxy-v2 proxy-v2-options unique-id no-check

backend other
    option http-server-close
    retries 0
    timeout connect 2s
    timeout server 1d
    option abortonclose
    http-error status 503 {text} {later} hdr X-Pushlive-Own 1 string "{silent}\\n"
    server any 0.0.0.0:0 no-check
"""
