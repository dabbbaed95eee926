"""For how long an application may send nothing: ``timeout`` in ``pipelines.yaml``. HAProxy has no timeout that ends
with the head of an answer, so one serves for the wait before it and for pauses within it. Event streams have another.

Not every client asks for an event stream by its type: a path that once answered with one is remembered.
"""

from __future__ import annotations

TIMEOUT = 60.0  # seconds, unless an environment has its own
STREAM = 3600.0  # seconds, for event streams


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f}"


# In the frontends. Each backend sets the timeout by ``txn.timeout``.
RULES = f"""
    http-request set-var(txn.timeout) var(txn.slot),map_str_int(/proxy/timeouts.map,{milliseconds(TIMEOUT)})
    http-request set-var-fmt(txn.place) %[var(txn.slot)]%[path]
    http-request set-var(txn.timeout) int({milliseconds(STREAM)}) if {{ req.hdr(Accept) -m sub text/event-stream }}
    http-request set-var(txn.timeout) int({milliseconds(STREAM)}) if {{ var(txn.place),in_table(streams) }}
    http-response track-sc0 var(txn.place) table streams if {{ res.hdr(Content-Type) -m beg text/event-stream }}
""".strip()
TABLE = """\
backend streams
    stick-table type string len 128 size 10k expire 1d
"""
