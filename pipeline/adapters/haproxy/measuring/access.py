"""A line about each request, sent to the service over UDP on the loopback interface.

Its port is the number of the preview's, which is this installation's alone; TCP and UDP do not share ports. HAProxy
waits for no one: if nothing listens, a line is gone. Over UDP with a large buffer none is lost at 25,000 a second; a
Unix socket for datagrams loses some from 6,800 on.

The line is JSON, whatever the client sends: each of its texts is cut, and then passes through HAProxy's own converter.
"""

from __future__ import annotations

from pipeline.config.settings import Settings

LONGEST = 16384  # bytes of a line; a longer one is cut, and so is no line
_PATH, _SHORT = 2000, 250  # bytes of a text

_FIELDS = (
    '"at":%Ts.%ms,"env":"%[var(txn.env)]","slot":"%[var(txn.slot)]","server":"%[var(txn.server)]",'
    '"client":"%[var(txn.visitor)]","method":"%[var(txn.log_method),json(utf8ps)]",'
    '"host":"%[var(txn.log_host),json(utf8ps)]","path":"%[var(txn.log_path),json(utf8ps)]","status":%ST,"bytes":%B,'
    '"ms":%Ta,"first":%[var(txn.log_first)],"agent":"%[var(txn.log_agent),json(utf8ps)]"'
)


def rules(settings: Settings) -> str:
    """For a public frontend, once the environment's name is known and before anything is answered; "" without an access
    log. The service's own checks are not in it, nor requests to no environment."""
    if settings.access_log == "off":
        return ""
    path = "pathq" if settings.access_log == "urls" else "path"
    return f"""
    no option dontlog-normal
    log 127.0.0.1:{settings.preview_port} len {LONGEST} format raw local0 info
    log-format '{{{_FIELDS}}}'
    http-request set-log-level silent unless {{ var(txn.name) -m found }} !{{ var(txn.probe) -m bool }}
    http-request set-var(txn.log_began) date(0,ms)
    http-request set-var(txn.log_first) int(-1)
    http-request set-var(txn.log_method) method,bytes(0,{_SHORT})
    http-request set-var(txn.log_host) req.hdr(Host),bytes(0,{_SHORT})
    http-request set-var(txn.log_path) {path},bytes(0,{_PATH})
    http-request set-var(txn.log_agent) req.fhdr(User-Agent),bytes(0,{_SHORT})
    http-response set-var(txn.log_first) date(0,ms),sub(txn.log_began)
    """.strip()
