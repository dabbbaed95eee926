"""How long applications take to answer, counted by HAProxy itself.

Each backend has a table with a counter for each bucket of times. The key of a bucket is the time in microseconds as
the number of its digits and the first two of them: ``5.23`` has what took 23 to 24 ms. So nothing is logged, nothing is
lost while no one reads, and the tables are read through the control socket.

The time is that from the end of a request's head to the end of the head of its answer, with what the proxy waits for a
connection and tries again. Left out are checks, errors of the application (they are judged by themselves), and what
takes long for reasons of its own: WebSockets, event streams, long polls that say so, and uploads, which take as long as
the client sends.
"""

from __future__ import annotations

import re
from collections import Counter

from pipeline.domain.judging.latency.times import Timed, bucket

UPLOAD = 64 << 10  # bytes of a request's body, beyond which it counts as an upload

# In the public frontends, once it is known which slot serves. A time without a begin is not counted.
RULES = f"""
    http-request set-var(txn.began) date(0,us)
    http-request unset-var(txn.began) if {{ var(txn.probe) -m bool }}
    http-request unset-var(txn.began) if {{ req.hdr(Upgrade) -m found }}
    http-request unset-var(txn.began) if {{ req.hdr(Accept) -m sub text/event-stream }}
    http-request unset-var(txn.began) if {{ url_param(transport) -i polling longpolling }}
    http-request unset-var(txn.began) if {{ req.hdr(Prefer) -i -m sub wait= }}
    http-request unset-var(txn.began) if {{ req.hdr_val(Content-Length) gt {UPLOAD} }}
    http-request unset-var(txn.began) if {{ req.hdr(Transfer-Encoding) -m found }}
""".strip()

# In each backend of a slot. There are fewer than 1000 keys.
BACKEND = """
    stick-table type string len 8 size 1k expire 1d store http_req_cnt
    http-response set-var(txn.took) date(0,us),sub(txn.began) if { var(txn.began) -m found } { status lt 500 }
    http-response unset-var(txn.took) if { res.hdr(Content-Type) -m beg text/event-stream }
    http-response set-var(txn.digits) var(txn.took),concat(),bytes(0,2) if { var(txn.took) -m found }
    http-response set-var-fmt(txn.key) %[var(txn.took),length].%[var(txn.digits)] if { var(txn.digits) -m found }
    http-response track-sc2 var(txn.key) if { var(txn.key) -m found }
""".strip("\n")

_STARTED = re.compile(r"^Start_time_sec: ([0-9]+)$", re.MULTILINE)
_ENTRY = re.compile(r" key=([0-9]{1,2})\.([0-9]{1,2}) .*\bhttp_req_cnt=([0-9]+)")


def asked(backend: str) -> str:
    """The commands whose answer ``timed`` reads."""
    return f"show info;show table {backend}"


def timed(answer: str, backend: str) -> Timed | None:
    """What was counted; None if the backend has no table: another version started the proxy."""
    if f"# table: {backend}," not in answer:
        return None
    started, found = _STARTED.search(answer), Counter[int]()
    for digits, first, count in _ENTRY.findall(answer):
        found[bucket(int(digits), int(first))] += int(count)
    return Timed(int(started[1]) if started else 0, dict(sorted(found.items())))
